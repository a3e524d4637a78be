"""Everything that a run can be tested as: each method maps a batch to logits."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from torch import Tensor

from mnet.toolchain.errors import UserError
from mnet.toolchain.metanetwork import MetaNetwork
from mnet.toolchain.training.build import (
    BOTH,
    DIRECT,
    FINE_TUNED,
    GENERATED,
    STATIC,
    WORLD,
    to_fine_tune,
)
from mnet.toolchain.training.cohorts import BATCH, COHORTS, CohortScorer
from mnet.toolchain.training.on_device import best_on_validation, on_device_rows, on_device_scorer
from mnet.toolchain.training.run import Run, read_metrics
from mnet.toolchain.training.scorers import FineTunedScorer, GeneratedScorer, StaticScorer, WorldScorer

DEFAULT = "default pack"
COHORT = "cohort"
# What everyone is pushed where a MetaNetwork's device model is exported: its default pack with the world's parameters.
DEFAULT_WORLD = "default pack + world"

Method = Callable[[Any], Tensor]


def run_methods(run: Run, data: Any) -> dict[str, Method]:
    """The methods that a run holds, by the name of their row; the static one first."""
    methods: dict[str, Method] = {}
    for name, module in run.modules.items():
        if name in (DIRECT, GENERATED):
            assert isinstance(module, MetaNetwork)
            methods[name] = GeneratedScorer(run.task, module)
        elif name == WORLD:
            methods[name] = WorldScorer(run.task, run.static, module)
            methods |= {
                baseline: BestOnValidation(run, data, trials)
                for baseline, trials in run.task.world_baselines(module).items()
            }
        else:
            methods[name] = StaticScorer(run.task, module)
    if GENERATED in run.modules:
        methods[DEFAULT] = StaticScorer(run.task, run.metanetwork.device_model)
        methods[COHORT] = CohortScorer(
            GeneratedScorer(run.task, run.metanetwork),
            lambda: run.task.splits(data, run.metanetwork).training(BATCH, seed=0),
            run.config.seed,
        ).eval()
        if WORLD in run.modules:
            personal = GeneratedScorer(run.task, run.metanetwork)
            model = run.metanetwork.device_model
            methods[DEFAULT_WORLD] = WorldScorer(run.task, model, run.modules[WORLD])
            methods[BOTH] = WorldScorer(run.task, model, run.modules[WORLD], personal)
    if run.config.fine_tuning:
        tuned = (read_metrics(run.path) or {})[FINE_TUNED]
        model, names = to_fine_tune(run.config, run.static)
        methods[FINE_TUNED] = FineTunedScorer(run.task, model, names, tuned["learning_rate"], tuned["steps"])
    rows = on_device_rows(run.config)
    if rows:
        splits, chosen = run.task.splits(data, run.static), read_metrics(run.path) or {}
        for name, row in rows.items():
            methods[name] = on_device_scorer(run.task, run.modules, row, splits, chosen[name]["settings"])
    return methods | run.task.baselines(data)


class BestOnValidation:
    """The best of some methods by the first metric on validation, chosen when the first batch is scored."""

    def __init__(self, run: Run, data: Any, trials: Sequence[Method]) -> None:
        self.run = run
        self.data = data
        self.trials = trials

    @cached_property
    def best(self) -> Method:
        task = self.run.task
        splits = task.splits(self.data, *self.run.modules.values())
        at, _ = best_on_validation(task, splits, lambda batch: [method(batch) for method in self.trials])
        return self.trials[at]

    def __call__(self, batch: Any) -> Tensor:
        return self.best(batch)


def choose(methods: dict[str, Method], wanted: str, run: Run) -> dict[str, Method]:
    """The `wanted` of them, a comma between two names, or `all`.

    The static and the equal-cost one are always there, to compare with, and the default pack where a generated one is.
    Raises UserError for a name that the run does
    not hold.
    """
    others = methods if wanted == "all" else (name.strip() for name in wanted.split(","))
    names = [STATIC, run.config.equal_cost, *others]
    if unknown := [name for name in names if name not in methods]:
        raise UserError(f"{run.path} holds no method {', '.join(unknown)}; it has {', '.join(methods)}")
    if DEFAULT in methods and {DIRECT, GENERATED} & {*names}:
        names.append(DEFAULT)
    return {name: methods[name] for name in dict.fromkeys(names)}


class PackKind(NamedTuple):
    """What a method pushes: the recipients of a pack, whether a device uploads for it, and its size in fp32 bytes."""

    made_for: str
    upload: bool
    bytes: int


def pack_kinds(run: Run) -> dict[str, PackKind]:
    """The methods of a run that are packs, by name: from one for everyone to one for each device."""
    of_world = run.task.world_parameters if WORLD in run.modules else ()
    world = 4 * sum(run.device_model.get_parameter(name).numel() for name in of_world)
    kinds = {WORLD: PackKind("everyone", False, world)} if world else {}
    if GENERATED in run.modules:
        own = 4 * sum(value.numel() for value in run.metanetwork.static().values())
        kinds |= {DEFAULT_WORLD: PackKind("everyone", False, world)} if world else {}
        kinds[COHORT] = PackKind(f"one of {COHORTS} cohorts", True, own)
        kinds[GENERATED] = PackKind("one device", True, own)
        kinds |= {BOTH: PackKind("one device", True, own + world)} if world else {}
    return kinds
