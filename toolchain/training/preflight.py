"""What can be known in seconds, with random weights and one real batch, of whether training and serving will be right.

`mnet train` runs it before the first fit; `mnet check` prints it, with a trial export behind it.
"""

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mnet.export.format.golden import flattened
from mnet.toolchain.errors import UserError
from mnet.toolchain.metanetwork import MetaNetwork, check_generated, under
from mnet.toolchain.metanetwork.check import operations
from mnet.toolchain.metanetwork.factors import merged
from mnet.toolchain.tasks import Task
from mnet.toolchain.tasks.splits import Splits

# Packs enough to tell them apart, and so few that each can be run by itself.
BATCH = 2
# Sums in another order differ by some 1e-6 of a value.
TOLERANCE = 1e-3
# Less than this share of the outputs' size is no effect.
LEAST_EFFECT = 1e-6
# Logits that a task takes out of the running stand at some -1e9.
MASKED = 1e6


def preflight(
    task: Task[Any], network: MetaNetwork, splits: Splits[Any], note: Callable[[str, str], None]
) -> None:
    """Check a MetaNetwork and its task on one real batch; calls `note` with each check and what came of it.

    Raises UserError, with a way out, for what would train and then not be right.
    """
    model, names = network.device_model, network.generated
    inputs = task.example_inputs(torch.Generator().manual_seed(0))
    with _as_it_serves(network):
        batch = next(iter(splits.training(BATCH, seed=0)))
        try:
            check_generated(model, names, inputs)
            vectors = task.vectors(network, batch)
        except UserError:
            raise
        except ValueError as error:
            raise UserError(str(error)) from None
        found = flattened(model(*inputs))
        note("forward", ", ".join(str(list(output.shape)) for output in found))
        _same_twice(model, inputs)
        parameters = _moved(network.static(), len(vectors))
        ways = _both_ways(task, model, parameters, batch, operations(model, names, inputs))
        note("all packs at once", ways)
        _apart(task, model, parameters, batch)
        note("one pack's weights", "change nothing of another's outputs")
        note("each parameter moved alone", _effects(task, model, parameters, batch))
        if factored := [name for name in names if name not in network.whole]:
            note("factors", _as_weights(model, factored, parameters, inputs))
        note("trained and exported model", _as_exported(task, model, splits))


class _Forward:
    """A module as the checks take a task: its outputs are those of `forward`, for a batch of inputs."""

    def __init__(self, model: nn.Module) -> None:
        self.name = type(model).__name__

    def outputs(self, model: nn.Module, batch: Sequence[Tensor]) -> list[Tensor]:
        return flattened(model(*batch))


def preflight_module(
    model: nn.Module,
    generated: Sequence[str],
    examples: Sequence[Sequence[Tensor]],
    note: Callable[[str, str], None],
) -> None:
    """Check a module of any kind, without a task, on the first and the last example; otherwise as `preflight`."""
    first, last = examples[0], examples[-1]
    with _as_it_serves(model):
        try:
            check_generated(model, generated, first)
        except ValueError as error:
            raise UserError(str(error)) from None
        note("forward", ", ".join(str(list(output.shape)) for output in flattened(model(*first))))
        _same_twice(model, first)
        # Two rows for each of two packs.
        batch = [
            torch.cat([one, other] * BATCH) if one.dim() else one
            for one, other in zip(first, last, strict=True)
        ]
        task = _Forward(model)
        parameters = _moved({name: model.get_parameter(name) for name in generated}, BATCH)
        try:
            ways = _both_ways(task, model, parameters, batch, operations(model, generated, first))
        except UserError:
            raise
        except (ValueError, RuntimeError) as error:
            raise UserError(
                f"{task.name} does not run on a batch of two, as a MetaNetwork is trained: "
                f"{str(error).partition(chr(10))[0]}"
            ) from None
        note("all packs at once", ways)
        note("each parameter moved alone", _effects(task, model, parameters, batch))


@contextmanager
def _as_it_serves(network: nn.Module) -> Iterator[None]:
    """In eval mode, and afterwards as before: neither modes nor the state of the random generator are touched."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def _moved(shared: Mapping[str, Tensor], n_packs: int) -> dict[str, Tensor]:
    """Weights that differ well between packs, fp32 [M, *shape]: what is generated first is all but the shared ones."""
    moved = {}
    for name, value in shared.items():
        spread = float(value.detach().std(correction=0)) or 0.1
        moved[name] = value.detach() + 0.5 * spread * torch.randn(n_packs, *value.shape)
    return moved


@torch.no_grad()
def _same_twice(model: nn.Module, inputs: Sequence[Tensor]) -> None:
    first, second = (flattened(model(*inputs)) for _ in range(2))
    if not all(torch.equal(a, b) for a, b in zip(first, second, strict=True)):
        raise UserError(
            f"model {type(model).__name__} gives other outputs for the same input in eval mode: what is random, or "
            "remembered from the call before, must be there in training alone"
        )


def _both_ways(
    task: Task[Any] | _Forward,
    model: nn.Module,
    parameters: dict[str, Tensor],
    batch: Any,
    goes_into: dict[str, str],
) -> str:
    """Values and gradients of all packs at once, against those of each pack by itself."""
    results, slow = [], ""
    for one_by_one in (False, True):
        leaves = {name: value.clone().requires_grad_() for name, value in parameters.items()}
        with torch.enable_grad(), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            outputs = flattened(task.outputs(under(model, leaves, one_by_one), batch))
            sums = [_weighed(output) for output in outputs if output.requires_grad]
            gradients: Sequence[Tensor | None] = [None] * len(leaves)
            if sums:
                gradients = torch.autograd.grad(sum(sums), list(leaves.values()), allow_unused=True)  # type: ignore[arg-type]
        slow = slow or next((str(w.message) for w in caught if "all packs at once" in str(w.message)), "")
        results.append((outputs, gradients))
    (outputs, gradients), (expected, reference) = results
    worst = max(_difference(ours, theirs) for ours, theirs in zip(outputs, expected, strict=True))
    least = 1e-4 * max((float(g.abs().max()) for g in reference if g is not None), default=0.0)
    errors = {
        name: _difference(ours, theirs, least)
        for name, ours, theirs in zip(parameters, gradients, reference, strict=True)
        if ours is not None and theirs is not None
    }
    name = max(errors, key=lambda key: errors[key], default=next(iter(parameters)))
    if max(worst, errors.get(name, 0.0)) > TOLERANCE:
        raise UserError(
            f"{name} is generated and goes into {goes_into.get(name, 'the model')}: for all packs at once it gives "
            f"other outputs (off by {worst:.1e}) or gradients (by {errors.get(name, 0.0):.1e}) than for each by "
            "itself; generate other parameters, and please report this model"
        )
    if slow:
        return slow
    return f"as each by itself, to {max([worst, *errors.values()]):.0e} of the largest value and gradient"


def _weighed(output: Tensor) -> Tensor:
    """A sum of the outputs that tells each of them from the others."""
    weights = torch.cos(torch.arange(output.numel(), dtype=torch.float32)).view_as(output)
    return (torch.where(output.abs() < MASKED, output, 0.0) * weights).sum()


def _difference(ours: Tensor, theirs: Tensor, least: float = 0.0) -> float:
    """The largest, as a share of the largest value, at least of `least`; infinite where something is not finite."""
    if ours.shape != theirs.shape:
        return float("inf")
    ours, theirs = ours.detach().double(), theirs.detach().double()
    shown = theirs.abs() < MASKED
    ours, theirs = ours[shown], theirs[shown]
    if not ours.numel():
        return 0.0
    share = float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=max(least, 1e-12)))
    return share if share == share else float("inf")


@torch.no_grad()
def _apart(task: Task[Any], model: nn.Module, parameters: dict[str, Tensor], batch: Any) -> None:
    """The rows of all packs but the first stay as they are when the first one's weights move."""
    n_packs = len(next(iter(parameters.values())))
    if n_packs == 1:
        return
    first = torch.arange(n_packs) == 0
    others = {
        name: torch.where(first.view(-1, *[1] * (value.dim() - 1)), value.flip(0), value)
        for name, value in parameters.items()
    }
    before, after = (flattened(task.outputs(under(model, packs), batch)) for packs in (parameters, others))
    for old, new in zip(before, after, strict=True):
        own = len(old) // n_packs
        if len(old) % n_packs or _difference(new[own:], old[own:]) > TOLERANCE:
            raise UserError(
                f"task {task.name}: the weights of one pack change the outputs of another. `outputs` must keep the "
                "rows of a pack together, in the order of the packs, and mark what all packs share by "
                "mnet.toolchain.metanetwork.for_all"
            )


@torch.no_grad()
def _effects(task: Task[Any] | _Forward, model: nn.Module, parameters: dict[str, Tensor], batch: Any) -> str:
    before = flattened(task.outputs(under(model, parameters), batch))
    effects = {}
    for name, value in parameters.items():
        after = flattened(task.outputs(under(model, parameters | {name: 1.5 * value + 0.1}), batch))
        effects[name] = max(_difference(new, old) for new, old in zip(after, before, strict=True))
    if idle := [name for name, effect in effects.items() if effect < LEAST_EFFECT]:
        raise UserError(
            f"cannot generate {', '.join(idle)}: it changes no output of {task.name}; leave it out of `generated`"
        )
    least = min(effects, key=lambda name: effects[name])
    return f"changes the outputs; least of all {least}, by {effects[least]:.1%} of the largest"


@torch.no_grad()
def _as_weights(
    model: nn.Module, factored: Sequence[str], parameters: dict[str, Tensor], inputs: Sequence[Tensor]
) -> str:
    """Factors against the weight with their product in it: they differ where a weight is read past its layer."""
    moved = copy.deepcopy(model)
    for name in factored:
        moved.get_parameter(name).copy_(parameters[name][0])
    outputs = [flattened(each(*inputs)) for each in (moved, merged(moved))]
    error = max(_difference(ours, theirs) for ours, theirs in zip(*outputs, strict=True))
    if error > TOLERANCE:
        raise UserError(
            f"metanetwork.form: under low-rank factors {type(model).__name__} gives other outputs than under the "
            f"changed weights (off by {error:.1%}): it reads the weight of a layer itself, as a head that is tied to "
            "an embedding does; take form residual, or leave that weight out of `generated`"
        )
    return f"act as a change of the weights, to {error:.0e}"


@torch.no_grad()
def _as_exported(task: Task[Any], model: nn.Module, splits: Splits[Any]) -> str:
    """`Task.outputs`, which is trained, against the model's own `forward`, which is exported."""
    batch = next((each for each in splits.validation(1) if task.has_target(each).any()), None)
    if batch is None:
        return "not compared: validation has no target"

    def run(pack: int, inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        return flattened(model(*inputs))

    try:
        exported = flattened(task.device_outputs(run, batch))
    except UserError as error:
        return f"not compared: {error}"
    real = task.has_target(batch)
    errors = [
        _difference(ours[real], theirs[real])
        for ours, theirs in zip(flattened(task.outputs(model, batch)), exported, strict=True)
    ]
    if max(errors) > TOLERANCE:
        raise UserError(
            f"model {type(model).__name__} trains as one thing and ships as another: what task {task.name} trains "
            f"differs by {max(errors):.1%} from `forward`, which is exported; make `forward` the head of `encode`"
        )
    return f"agree, to {max(errors):.0e}"
