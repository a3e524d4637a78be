"""What a run is made from: one YAML file, checked key by key, with `--set a.b=c` on top."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from toolchain.errors import UserError
from toolchain.tasks.protocols import Protocol
from toolchain.tasks.windows import Ranking

CONFIGS = Path(str(files("toolchain.training") / "configs"))


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(Strict):
    name: str
    path: Path | None = None


class RollingConfig(Strict):
    """Where the dates of the rolling protocol lie, in parts of all interactions by time."""

    train: float = Field(0.7, gt=0, lt=1)
    validation: float = Field(0.1, gt=0, lt=1)


class DeviceModelConfig(Strict):
    """Sizes of the device model; `candidates` is how many items one inference on the device scores."""

    width: int = Field(gt=0)
    blocks: int = Field(gt=0)
    heads: int = Field(1, gt=0)
    history: int = Field(gt=0)
    dropout: float = Field(0.2, ge=0, lt=1)
    candidates: int = Field(100, gt=0)


class FitConfig(Strict):
    """One fit: at most `epochs`, the best of them by validation."""

    epochs: int = Field(gt=0)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    batch_size: int = Field(32, gt=0)
    averaging: float = Field(0.99, ge=0, lt=1)


class ContextConfig(Strict):
    """Sizes of the context encoder; `length` is how many recent items it reads."""

    width: int = Field(64, gt=0)
    averages: int = Field(8, gt=0)
    blocks: int = Field(2, gt=0)
    length: int = Field(100, gt=0)
    dropout: float = Field(0.2, ge=0, lt=1)


class MetaNetworkConfig(Strict):
    """The MetaNetwork and its fit.

    `bound` limits how far a generated parameter may move from the shared one; `auxiliary_loss` weighs what the
    context vector by itself makes of the next items; `default_share` of the packs in training is the default pack.
    """

    context: ContextConfig
    bound: float = Field(1.0, gt=0)
    auxiliary_loss: float = Field(1.0, ge=0)
    default_share: float = Field(0.2, ge=0, lt=1)
    fit: FitConfig


class Config(Strict):
    task: Literal["recommendation"] = "recommendation"
    model: str = "sasrec"
    data: DataConfig
    protocol: Protocol = "rolling"
    rolling: RollingConfig = RollingConfig()
    ranking: Ranking = "unseen"
    refresh: int = Field(5, gt=0)
    shared_windows: bool = False
    device_model: DeviceModelConfig
    static: FitConfig
    metanetwork: MetaNetworkConfig | None = None
    seed: int = Field(0, ge=0)

    @property
    def name(self) -> str:
        return f"{self.data.name}/{self.model}"

    @model_validator(mode="after")
    def _fits_together(self) -> "Config":
        if self.rolling.train + self.rolling.validation >= 1:
            raise ValueError("rolling.train and rolling.validation leave nothing to test on")
        sizes = [
            ("device_model.width", self.device_model.width, "device_model.heads", self.device_model.heads)
        ]
        if self.metanetwork:
            context = self.metanetwork.context
            sizes += [
                ("metanetwork.context.length", context.length, "refresh", self.refresh),
                (
                    "metanetwork.context.width",
                    context.width,
                    "metanetwork.context.averages",
                    context.averages,
                ),
            ]
        for name, size, of, part in sizes:
            if size % part:
                raise ValueError(f"{name} ({size}) must be a multiple of {of} ({part})")
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
        return Config.model_validate(values)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'config'}: {fault['msg']}" for fault in error.errors()
        )
        raise UserError(f"{source}: {faults}") from None


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
