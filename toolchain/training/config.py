"""What a run is made from: one YAML file, checked key by key, with `--set a.b=c` on top. Imports no PyTorch, so that
a mistake is reported at once.
"""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from inspect import isclass
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from mnet.toolchain.errors import UserError
from mnet.toolchain.settings import Form, Part, Strict
from mnet.toolchain.training.fit_config import FitConfig, StaticConfig
from mnet.toolchain.training.known_parts import check_parts, did_you_mean, unknown_key

CONFIGS = Path(str(files("mnet.toolchain.training") / "configs"))
RUN_CONFIG = "config.yaml"


class DataConfig(Part):
    """The data set. Its other keys are settings of the data set itself, e.g. `columns` of a `table`."""

    name: str = Field(description="Built-in data set, or `package.module:function` of your own.")
    path: Path | None = Field(
        None, description="Where it lies; null: the cache, after a download if need be."
    )


class CloudConfig(Strict):
    """A larger model of the same task, which a cloud could run: the headroom above the device model."""

    model: Part = Field(description="The model; keys as in `model`.")
    task: dict[str, Any] = Field(
        default_factory=dict,
        description="Changes to the `task` section for the training of this model alone.",
    )
    fit: StaticConfig = Field(description="Its fit, or its `checkpoint`.")


class DistillationConfig(Strict):
    """The device model trained on the cloud model's outputs too."""

    share: float = Field(
        0.5, gt=0, le=1, description="Share of the loss that is the distance to the cloud model."
    )
    temperature: float = Field(2.0, gt=0, description="Softens both models' outputs.")
    fit: FitConfig = Field(description="Its fit.")


class FineTuningConfig(Strict):
    """Gradient steps on the device, on the user's own context; the best trial by validation is kept."""

    learning_rates: tuple[float, ...] = Field(min_length=1, description="Learning rates to try.")
    steps: tuple[int, ...] = Field(min_length=1, description="Numbers of steps to try.")


class DirectConfig(Strict):
    """Full weights from the context, without shared weights or stabilizer: the published baseline."""

    fit: FitConfig = Field(description="Its fit.")


class MetaNetworkConfig(Strict):
    """The MetaNetwork and its fit."""

    context: Part = Field(description="The context encoder.")
    generated: tuple[str, ...] | None = Field(
        None,
        description="Names of the parameters to generate, or patterns as `head.*`; null: those that the model names.",
    )
    freeze: tuple[str, ...] = Field(
        (),
        description="Parameters of its device model that keep the values they start with, or patterns as `encoder.*`.",
    )
    start: Literal["scratch", "static"] = Field(
        "scratch", description="Where its device model starts: fresh, or from the trained static one."
    )
    form: Form = Field(
        "residual", description="What is generated: a change, the full value, or a low-rank change."
    )
    rank: int | None = Field(None, gt=0, description="Of `form: low-rank`.")
    bound: float | None = Field(
        1.0, gt=0, description="How far a parameter may move from the shared one; null: any distance."
    )
    windows: int = Field(
        1, gt=0, description="Average the context vector over as many last cuts of the context."
    )
    auxiliary_loss: float = Field(
        1.0, ge=0, description="Weight of predicting the targets from the context vector alone."
    )
    default_share: float = Field(
        0.2, ge=0, lt=1, description="Share of packs trained with the default weights."
    )
    fit: FitConfig = Field(description="Its fit.")


class WorldConfig(Strict):
    """World packs: parameters from what everybody did of late, the same for all devices; they need no upload.

    They are taught by a device model that is fitted as `static` says, on an early part of the training time alone.
    """

    half_lives: tuple[float, ...] = Field(
        (100, 400, 1600, 6400, 25600),
        description="Of the trends that it reads, in interactions of all users.",
    )
    hidden: int = Field(16, gt=0, description="Width of its hidden layers.")
    fit: FitConfig = Field(description="Its fit.")


class Config(Strict):
    """A run; a method whose section is missing is not trained."""

    task: Part = Field(Part(name="recommendation"), description="The task.")
    data: DataConfig = Field(description="The data set.")
    model: Part = Field(
        description="The device model: a built-in name or `package.module:Class`, and its keys."
    )
    static: StaticConfig = Field(description="The fit of the device model alone, or its `checkpoint`.")
    cloud: CloudConfig | None = Field(None, description="The cloud model.")
    distillation: DistillationConfig | None = Field(None, description="The device model distilled from it.")
    fine_tuning: FineTuningConfig | None = Field(None, description="Fine-tuning on the device.")
    direct: DirectConfig | None = Field(None, description="Direct generation.")
    metanetwork: MetaNetworkConfig | None = Field(None, description="The MetaNetwork.")
    on_device: tuple[str, ...] = Field(
        (),
        description="What a device can do with its context by itself, as `statistics+label-prior`: steps of a method; "
        "with `cloud-prior` the cloud model finds the class prior, for comparison.",
    )
    equal_cost: str = Field(
        "static",
        description="The method that gains are over: the strongest one without generation that costs a device no more.",
    )
    world: WorldConfig | None = Field(None, description="World packs.")
    seed: int = Field(0, ge=0, description="Of weights, batches and everything else that is random.")

    @property
    def name(self) -> str:
        return f"{self.data.name}/{self.model.name}"

    @model_validator(mode="after")
    def _fits_together(self) -> "Config":
        if self.distillation and not self.cloud:
            raise ValueError("distillation: there is no cloud model to learn from; add a cloud section")
        if self.static.checkpoint and self.world:
            raise ValueError(
                "world: it is taught by a device model that is fitted as `static` says, not a checkpoint"
            )
        if self.direct and not self.metanetwork:
            raise ValueError(
                "direct: it takes its context encoder from the metanetwork section, which is missing"
            )
        return self


def builtin_configs() -> list[str]:
    """Names of the packaged configs, as `movielens-100k/sasrec`."""
    return sorted(path.relative_to(CONFIGS).with_suffix("").as_posix() for path in CONFIGS.glob("*/*.yaml"))


def load_config(name: str, overrides: Sequence[str] = ()) -> Config:
    """Read the built-in config `name`, or a YAML file, and apply `a.b=value` overrides. Raises UserError."""
    return parse_config(*config_values(name, overrides))


def config_values(name: str, overrides: Sequence[str] = ()) -> tuple[dict[str, Any], str]:
    """What `load_config` checks, unchecked, and where it comes from. Raises UserError."""
    known = builtin_configs()
    path = CONFIGS / f"{name}.yaml" if name in known else Path(name)
    if not path.is_file():
        raise UserError(
            f"no config {name!r}{did_you_mean(name, known)}; give a YAML file or one of {', '.join(known)}"
        )
    values = read_values(path)
    for override in overrides:
        _override(values, override)
    return values, str(path)


def read_values(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file, unchecked. Raises UserError."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise UserError(f"{path} is not a config: it is nested too deeply") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected a mapping of keys to values")
    return values


def parse_config(values: Mapping[str, Any], source: str) -> Config:
    """Check `values`; the UserError names every wrong key."""
    config = check_config_keys(values, source)
    task_settings(config)
    return config


def check_config_keys(values: Mapping[str, Any], source: str) -> Config:
    """What `parse_config` checks without PyTorch: all but the values of the task's own section. Raises UserError."""
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{source}: {_faults(error, Config)}") from None
    check_parts(config)
    return config


def find_run(path: Path) -> Path:
    """The config file of a run folder. Raises UserError where there is none."""
    file = path / RUN_CONFIG
    if not file.is_file():
        raise UserError(f"{path} is not a run: there is no {RUN_CONFIG} in it; make one with mnet train")
    return file


def task_settings(config: Config) -> Strict:
    """The `task` section, as the task itself reads it. Raises UserError."""
    from mnet.toolchain.tasks import find_task  # here, because it imports PyTorch

    settings = find_task(config.task.name).Settings
    try:
        return settings.model_validate(config.task.settings)
    except ValidationError as error:
        raise UserError(_faults(error, settings, "task")) from None


def _faults(error: ValidationError, model: type[BaseModel], *section: str) -> str:
    faults = []
    for fault in error.errors():
        message = fault["msg"]
        if fault["type"] == "extra_forbidden":
            *within, key = fault["loc"]
            message = unknown_key(str(key), list(_section(model, within).model_fields))
        faults.append(f"{'.'.join(map(str, (*section, *fault['loc']))) or 'config'}: {message}")
    return "; ".join(faults)


def _section(model: type[BaseModel], keys: Sequence[int | str]) -> type[BaseModel]:
    """The model of the section at `keys`."""
    for key in keys:
        annotation = model.model_fields[str(key)].annotation
        (model,) = (
            each
            for each in (annotation, *get_args(annotation))
            if isclass(each) and issubclass(each, BaseModel)
        )
    return model


def _override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not all(key.split(".")):
        raise UserError(f"--set {override}: expected key=value, as --set static.epochs=20")
    *parents, last = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise UserError(f"--set {override}: {parent} is a value, not a section")
    for other in {"epochs", "steps"} - {last} if last in ("epochs", "steps") else ():
        values.pop(other, None)  # a fit has one length
    try:
        values[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise UserError(f"--set {override}: {text!r} is not a YAML value") from None
