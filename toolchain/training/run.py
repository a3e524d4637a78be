"""The run folder: what training leaves behind, and how the rest of the toolchain reads it.

config.yaml              everything the run was made from
facts.json               what modules must know of the data, as the size of the catalogue
items.csv                of a catalogue: the number of each item on devices, and what the data calls it
checkpoint.safetensors   the weights of each method under its name: `static.*`, `metanetwork.*`, ...
metrics.json             validation metrics and seconds of each fit
curves.csv, curves.png   loss and validation metric by epoch
policy.safetensors       the request policy `shift`, where the task offers one
world.safetensors        the latest state of the world, where the config has a world
"""

import csv
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mnet.export.format.shift import Shift
from mnet.toolchain.durable import write_durably
from mnet.toolchain.errors import UserError
from mnet.toolchain.metanetwork import MetaNetwork, World
from mnet.toolchain.tasks import Task
from mnet.toolchain.training import trust
from mnet.toolchain.training.build import GENERATED, STATIC, WORLD, build_module, build_task, kept
from mnet.toolchain.training.config import RUN_CONFIG, Config, find_run, parse_config, read_values

CONFIG, FACTS, CHECKPOINT, METRICS = RUN_CONFIG, "facts.json", "checkpoint.safetensors", "metrics.json"
POLICY = "policy.safetensors"
WORLD_STATE = "world.safetensors"
ITEMS = "items.csv"


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        name: of the data set and model, as `movielens-100k/sasrec`.
        fingerprint: SHA-256 of the checkpoint, hex.
        facts: what modules must know of the data.
        modules: what each method of the config has trained, by its name, in eval mode and with averaged weights.
    """

    path: Path
    config: Config
    name: str
    fingerprint: str
    facts: dict[str, Any]
    task: Task[Any]
    modules: dict[str, nn.Module]

    @property
    def static(self) -> nn.Module:
        """The device model that was trained alone."""
        return self.modules[STATIC]

    @property
    def metanetwork(self) -> MetaNetwork:
        """The MetaNetwork. Raises UserError in a run that has none."""
        metanetwork = self.modules.get(GENERATED)
        if metanetwork is None:
            raise UserError(f"{self.path} trained no MetaNetwork; its config has no such section")
        assert isinstance(metanetwork, MetaNetwork)
        return metanetwork

    @property
    def device_model(self) -> nn.Module:
        """What is exported: the MetaNetwork's device model; the static one in a run that has world packs alone.

        Raises UserError where nothing is generated.
        """
        return self.static if self._world_alone else self.metanetwork.device_model

    @property
    def generated(self) -> tuple[str, ...]:
        """The parameters of `device_model` that packs carry: the MetaNetwork's, and the world's. Raises as it does."""
        own = () if self._world_alone else self.metanetwork.generated
        return tuple(dict.fromkeys((*own, *(self.task.world_parameters if WORLD in self.modules else ()))))

    @property
    def _world_alone(self) -> bool:
        return WORLD in self.modules and GENERATED not in self.modules

    @torch.inference_mode()
    def world_parameters(self, world: World | None = None) -> dict[str, Tensor]:
        """The parameters that carry the state of the world, fp32 of the model's shapes; none without world packs.

        `world` is of one moment; None for the latest that the run knows of.
        """
        if WORLD not in self.modules:
            return {}
        world = world or read_world(self.path)
        if world is None:
            return {name: self.device_model.get_parameter(name) for name in self.task.world_parameters}
        packs = self.task.world_pack(self.modules[WORLD], self.device_model, world)
        return {name: values[0] for name, values in packs.items()}


def load_run(path: str | Path) -> Run:
    """Read a finished run.

    Args:
        path: the run folder.

    Returns:
        Its config, task and trained modules, in eval mode.

    Raises:
        UserError: if there is no finished run, or its files do not fit each other.
    """
    path = Path(path)
    config, facts, tensors = read_config(path), _read_facts(path), _read_checkpoint(path)
    task = build_task(config, facts)
    modules = {name: build_module(name, task, config) for name in kept(config)}
    try:
        for name, module in modules.items():
            _load(module.eval(), tensors, f"{name}.")
    except (KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path / CHECKPOINT} does not fit {path / CONFIG}: {reason}") from None
    fingerprint = hashlib.sha256((path / CHECKPOINT).read_bytes()).hexdigest()
    return Run(path, config, config.name, fingerprint, facts, task, modules)


def read_config(path: Path) -> Config:
    """The config of a run folder. Raises UserError, also for one that names code of a stranger (see `trust`)."""
    file = find_run(path)
    values = read_values(file)
    trust.check(file, values)
    return parse_config(values, str(file))


def check_config(path: Path, config: Config) -> None:
    """Raises UserError when `path` holds a run of another config."""
    file = path / CONFIG
    if file.is_file() and parse_config(read_values(file), str(file)) != config:
        raise UserError(f"{path} holds a run of another config; choose another --out, or remove it")


def write_config(path: Path, config: Config) -> None:
    """Open a run folder. Raises UserError when it cannot be written."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the run folder {path}: {error.strerror}") from None
    _write(path / CONFIG, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
    trust.remember(path / CONFIG)


def write_facts(path: Path, facts: dict[str, Any]) -> None:
    write_json(path / FACTS, facts)


@rank_zero_only
def write_items(path: Path, item_ids: Sequence[str]) -> None:
    """Keep which number each item of the data has on devices: they count from 1 in the order of `item_ids`."""
    part = path / f"{ITEMS}.part"
    with part.open("w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(("number", "item"))
        rows.writerows(enumerate(item_ids, start=1))
    part.replace(path / ITEMS)


def read_items(path: Path) -> dict[str, int] | None:
    """The number of each item by what the data calls it; None where the numbers are all that there is."""
    file = path / ITEMS
    if not file.is_file():
        return None
    with file.open(encoding="utf-8", newline="") as stream:
        return {row["item"]: int(row["number"]) for row in csv.DictReader(stream)}


def write_metrics(path: Path, metrics: dict[str, Any]) -> None:
    """Written last: a folder with metrics is a finished run."""
    write_json(path / METRICS, metrics)


def write_json(file: Path, values: dict[str, Any] | list[dict[str, Any]]) -> None:
    _write(file, json.dumps(values, indent=2) + "\n")


def read_metrics(path: Path) -> dict[str, Any] | None:
    """What `write_metrics` wrote; None in a run that has not finished."""
    file = path / METRICS
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


@rank_zero_only
def save_modules(file: Path, **modules: nn.Module) -> None:
    """Write the weights of several modules into one safetensors file, each under its name, all or nothing.

    Of a tensor that stands in several places of a module, as a tied embedding, the first is written.
    """
    tensors = {
        f"{name}.{key}": value
        for name, module in modules.items()
        for key, value in _without_twins(module.state_dict()).items()
    }
    part = file.with_suffix(".part")
    save_file(tensors, part)
    part.replace(file)


@rank_zero_only
def write_policy(path: Path, policy: Shift) -> None:
    """Keep the request policy `shift` of a run."""
    write_durably(path / POLICY, policy.to_bytes())


def read_policy(path: Path) -> Shift | None:
    """The request policy `shift` of a run; None where it has none. Raises BundleError for a damaged one."""
    file = path / POLICY
    return Shift.from_bytes(file.read_bytes()) if file.is_file() else None


@rank_zero_only
def write_world(path: Path, world: World) -> None:
    """Keep the latest state of the world, for the packs that a service makes."""
    part = path / f"{WORLD_STATE}.part"
    save_file({name: value.contiguous() for name, value in world._asdict().items()}, part)
    part.replace(path / WORLD_STATE)


def read_world(path: Path) -> World | None:
    """The latest state of the world of a run; None where it has none. Raises UserError for a damaged one."""
    file = path / WORLD_STATE
    if not file.is_file():
        return None
    try:
        return World(**load_file(file))
    except (SafetensorError, TypeError) as error:
        raise UserError(f"{file} is damaged: {error}") from None


def load_module(file: Path, model: nn.Module) -> None:
    """Read back, in place, what `save_modules(file, model=model)` wrote."""
    _load(model, load_file(file), "model.")


def _load(module: nn.Module, tensors: dict[str, Tensor], prefix: str) -> None:
    own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    state = module.state_dict()
    written = {_place(state[key]): value for key, value in own.items() if key in state}
    twins = {key: written[_place(value)] for key, value in state.items() if _place(value) in written}
    module.load_state_dict(twins | own)


def _without_twins(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a state, each once and with memory of its own, as safetensors wants them."""
    first: dict[Any, str] = {}
    for key, value in state.items():
        first.setdefault(_place(value), key)
    return {key: state[key].clone(memory_format=torch.contiguous_format) for key in first.values()}


def _place(value: Tensor) -> Any:
    """Where a tensor lies; equal for two names of one tensor. One without a number in it lies by itself."""
    return (value.data_ptr(), value.shape, value.stride(), value.dtype) if value.numel() else id(value)


def _read_facts(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads((path / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path / FACTS}: {error}; train the run again") from None
    assert isinstance(facts, dict)
    return facts


def _read_checkpoint(path: Path) -> dict[str, Tensor]:
    file = path / CHECKPOINT
    if not file.is_file():
        raise UserError(
            f"{path} is not finished: there is no {CHECKPOINT}; rerun the same mnet train command to resume"
        )
    try:
        return load_file(file)
    except SafetensorError as error:
        raise UserError(f"{file} is damaged: {error}") from None


@rank_zero_only
def _write(file: Path, text: str) -> None:
    part = file.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)
