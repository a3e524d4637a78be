"""What a run is made from: one YAML file, checked key by key, with `--set a.b=c` on top."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from mnet.toolchain.errors import UserError
from mnet.toolchain.metanetwork import Form
from mnet.toolchain.settings import Part, Strict
from mnet.toolchain.tasks import find_task

CONFIGS = Path(str(files("mnet.toolchain.training") / "configs"))


class DataConfig(Strict):
    name: str
    path: Path | None = None


class FitConfig(Strict):
    """One fit: at most `epochs`, the best of them by validation; `averaging` of the weights over steps, 0 is none."""

    epochs: int = Field(gt=0)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    batch_size: int = Field(32, gt=0)
    averaging: float = Field(0.99, ge=0, lt=1)


class CloudConfig(Strict):
    """A larger model of the same task, as a cloud could run it: the headroom above the device model.

    `task` changes the config's task section for the training of this model alone, as where a long window serves many
    targets at once.
    """

    model: Part
    task: dict[str, Any] = Field(default_factory=dict)
    fit: FitConfig


class DistillationConfig(Strict):
    """The device model taught by the cloud model: `share` of the loss is the distance to its softened outputs."""

    share: float = Field(0.5, gt=0, le=1)
    temperature: float = Field(2.0, gt=0)
    fit: FitConfig


class FineTuningConfig(Strict):
    """Gradient steps on the device, on the user's own context; the best of rates and steps by validation."""

    learning_rates: tuple[float, ...] = Field(min_length=1)
    steps: tuple[int, ...] = Field(min_length=1)


class DirectConfig(Strict):
    """Full weights from the context, with no shared weights to hold on to and no stabilizer: the published baseline."""

    fit: FitConfig


class MetaNetworkConfig(Strict):
    """The MetaNetwork and its fit.

    `context` is the encoder; `generated` are names of parameters, where they are not the model's own choice; its device
    model starts from scratch or as the finished static one. `bound` limits how far a generated parameter may move from
    the shared one; over the last `windows` cuts of the context the vector is averaged; `auxiliary_loss` weighs what
    the context vector by itself makes of the targets; `default_share` of the packs in training is the default pack.
    """

    context: Part
    generated: tuple[str, ...] | None = None
    start: Literal["scratch", "static"] = "scratch"
    form: Form = "residual"
    rank: int | None = Field(None, gt=0)
    bound: float | None = Field(1.0, gt=0)
    windows: int = Field(1, gt=0)
    auxiliary_loss: float = Field(1.0, ge=0)
    default_share: float = Field(0.2, ge=0, lt=1)
    fit: FitConfig


class Config(Strict):
    """A run; a method without its section is not trained."""

    task: Part = Part(name="recommendation")
    data: DataConfig
    model: Part
    static: FitConfig
    cloud: CloudConfig | None = None
    distillation: DistillationConfig | None = None
    fine_tuning: FineTuningConfig | None = None
    direct: DirectConfig | None = None
    metanetwork: MetaNetworkConfig | None = None
    seed: int = Field(0, ge=0)

    @property
    def name(self) -> str:
        return f"{self.data.name}/{self.model.name}"

    @model_validator(mode="after")
    def _fits_together(self) -> "Config":
        if self.distillation and not self.cloud:
            raise ValueError("distillation: there is no cloud model to learn from; add a cloud section")
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
    builtin = name in builtin_configs()
    path = CONFIGS / f"{name}.yaml" if builtin else Path(name)
    if not path.is_file():
        raise UserError(f"no config {name!r}: give a YAML file or one of {', '.join(builtin_configs())}")
    values = read_values(path)
    for override in overrides:
        _override(values, override)
    return parse_config(values, str(path))


def read_values(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file, unchecked. Raises UserError."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected a mapping of keys to values")
    return values


def parse_config(values: Mapping[str, Any], source: str) -> Config:
    """Check `values`; the UserError names every wrong key."""
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{source}: {_faults(error)}") from None
    task_settings(config)
    return config


def task_settings(config: Config) -> Strict:
    """The `task` section, as the task itself reads it. Raises UserError."""
    try:
        return find_task(config.task.name).Settings.model_validate(config.task.settings)
    except ValidationError as error:
        raise UserError(_faults(error, "task")) from None


def _faults(error: ValidationError, *section: str) -> str:
    return "; ".join(
        f"{'.'.join(map(str, (*section, *fault['loc']))) or 'config'}: {fault['msg']}"
        for fault in error.errors()
    )


def _override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not all(key.split(".")):
        raise UserError(f"--set {override}: expected key=value, as --set static.epochs=20")
    *parents, last = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise UserError(f"--set {override}: {parent} is a value, not a section")
    try:
        values[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise UserError(f"--set {override}: {text!r} is not a YAML value") from None
