"""Supervised learning on samples that belong to devices, ready but for the data, the loss and the metric."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader

from mnet.toolchain.errors import UserError
from mnet.toolchain.metanetwork import MetaNetwork
from mnet.toolchain.settings import Part, Strict
from mnet.toolchain.tasks.answers import Seen
from mnet.toolchain.tasks.task import Outputs, Task
from mnet.toolchain.tasks.timeline import LONGEST, SHORTEST, Question, Timeline

# Which devices are tested belongs to the data, as a published split does: every run sees the same ones.
SEED = 0
# Deviations of the data: what is uploaded from farther away is a fault, and would be one in the weights too.
FARTHEST = 1e4

IntArray = NDArray[np.int64]


class Samples(NamedTuple):
    """Labelled samples of many devices.

    Attributes:
        inputs: what the device model takes, one tensor [N, ...] for each of `Task.input_names`.
        targets: [N, ...], what is right; int64 [N] classes, or numbers.
        device: int64 [N], whose each sample is. Those of one device are in the order of time.
    """

    inputs: tuple[Tensor, ...]
    targets: Tensor
    device: Tensor


class SampleBatch(NamedTuple):
    """M packs, each of which is made from n samples of a device and serves its next k.

    Attributes:
        context: fp32 [M, n, f], the inputs of a sample, flat, one after the other.
        inputs: one tensor [M, k, ...] for each input of the device model.
        target: [M, k, ...].
        device: int64 [M].
    """

    context: Tensor
    inputs: tuple[Tensor, ...]
    target: Tensor
    device: Tensor


class SupervisedSettings(Strict):
    """The `task` section.

    `context` is how many samples a device uploads, `serves` how many predictions one pack serves. `validation` and
    `test` are the parts of the devices that are held back; none of them is trained on.
    """

    context: int = Field(32, gt=0)
    serves: int = Field(8, gt=0)
    validation: float = Field(0.1, gt=0, lt=0.5)
    test: float = Field(0.2, gt=0, lt=0.5)


class SupervisedTask(Task[SampleBatch]):
    """A subclass gives `load` (a class method that returns `Samples`), `metrics`, `scores`, and `loss` where
    cross-entropy is not meant. The device model is any module that takes the inputs; a sample that a device uploads is
    the list of their numbers.
    """

    input_names: ClassVar[tuple[str, ...]] = ("input",)
    output_names: ClassVar[tuple[str, ...]] = ("output",)
    Settings: ClassVar[type[Strict]] = SupervisedSettings
    encoders: ClassVar[Mapping[str, str]] = {"samples": "mnet.toolchain.metanetwork.context_sets:SampleSet"}

    def __init__(self, settings: SupervisedSettings, facts: Mapping[str, Any]) -> None:
        self.settings = settings
        self.shapes = [tuple(shape) for shape in facts["shapes"]]
        self.dtypes = [getattr(torch, dtype) for dtype in facts["dtypes"]]
        # Of each number of a sample: its mean and its deviation in the data, and the values between which it lies.
        self.mean, self.spread, self.low, self.high = (
            torch.tensor(facts[key]) for key in ("mean", "spread", "low", "high")
        )

    @classmethod
    def create(
        cls, settings: SupervisedSettings, facts: Mapping[str, Any], model: Part, context: Part | None
    ) -> Self:
        return cls(settings, facts)

    @property
    def encoder_sizes(self) -> dict[str, Any]:
        return {"features": len(self.mean)}

    def example_inputs(self, generator: torch.Generator) -> tuple[Tensor, ...]:
        drawn = self.mean + self.spread * torch.randn(len(self.mean), generator=generator)
        return self._inputs(drawn.clamp(self.low, self.high))

    def device_inputs(self, sample: Sequence[float]) -> tuple[Tensor, ...]:
        """The numbers of a sample -> device inputs of batch 1. Raises ValueError."""
        return self._inputs(self.context([sample])[0, -1])

    def context(self, samples: Sequence[Sequence[float]]) -> Tensor:
        """What a device uploaded -> fp32 [1, n, f], the most recent, left-padded with 0."""
        recent, size = samples[-self.settings.context :], len(self.mean)
        if not all(
            isinstance(sample, list | tuple)
            and len(sample) == size
            and {type(x) for x in sample} <= {int, float}
            for sample in recent
        ):
            raise ValueError(f"a sample is a list of {size} numbers: {', '.join(self.input_names)}, flat")
        try:
            values = torch.tensor(recent, dtype=torch.float32).view(-1, size)
        except (OverflowError, RuntimeError):
            raise ValueError("a sample holds a number that is too large") from None
        if not bool((((values - self.mean) / self.spread).abs() <= FARTHEST).all()):
            raise ValueError(
                f"a sample holds a number that is over {FARTHEST:g} deviations from those of the data"
            )
        padded = torch.zeros(1, self.settings.context, size)
        padded[0, self.settings.context - len(values) :] = values
        return padded

    def prepared(self, network: MetaNetwork, context: Tensor) -> Tensor:
        """Each number of a sample less its mean in the data, over its deviation; padding stays 0."""
        present = (context != 0).any(dim=2, keepdim=True)
        mean, spread = self.mean.to(context.device), self.spread.to(context.device)
        return (context - mean) / spread * present

    def seen(self, network: MetaNetwork, batch: SampleBatch) -> Seen:
        """The samples as they are uploaded."""
        return Seen(batch.context)

    @classmethod
    def facts(cls, data: Samples) -> dict[str, Any]:
        flat = _flat(data.inputs)
        return {
            "shapes": [list(x.shape[1:]) for x in data.inputs],
            "dtypes": [str(x.dtype).removeprefix("torch.") for x in data.inputs],
            "mean": flat.mean(dim=0).tolist(),
            "spread": (flat.std(dim=0) + 1e-6).tolist(),
            "low": flat.amin(dim=0).tolist(),
            "high": flat.amax(dim=0).tolist(),
        }

    def splits(self, data: Samples, *models: nn.Module) -> "SampleSplits":
        return SampleSplits(data, self.settings)

    def outputs(self, model: nn.Module, batch: SampleBatch) -> Outputs:
        return self._named(model(*(x.flatten(0, 1) for x in batch.inputs)))

    def device_outputs(
        self, run: Callable[[int, Sequence[Tensor]], Sequence[Tensor]], batch: SampleBatch
    ) -> Outputs:
        answers = [
            run(pack, [x[pack, row][None].contiguous() for x in batch.inputs])
            for pack, targets in enumerate(batch.target)
            for row in range(len(targets))
        ]
        return self._named([torch.cat(column) for column in zip(*answers, strict=True)])

    def targets(self, batch: SampleBatch) -> Tensor:
        return batch.target.flatten(0, 1)

    @property
    def refresh(self) -> int:
        return self.settings.serves

    def timelines(self, data: Samples) -> list[Timeline]:
        """Of each test device: its first samples are its history, up to 60 after them are predicted."""
        splits, begins = self.splits(data), self.settings.context
        found = []
        for first, count in splits.tested.tolist():
            if count - begins < SHORTEST:
                continue
            rows = range(first, first + min(count, begins + LONGEST))
            samples = [(splits.context[row].tolist(), splits.targets[row].tolist()) for row in rows]
            found.append(Timeline(int(splits.device[first]), samples, begins, begins))
        return found

    def uploaded(self, samples: Sequence[Any]) -> list[Any]:
        return [numbers for numbers, _ in samples[-self.settings.context :]]

    def example_samples(self, count: int, rng: np.random.Generator) -> list[Any]:
        drawn = self.mean.numpy() + self.spread.numpy() * rng.standard_normal((count, len(self.mean)))
        samples: list[Any] = drawn.tolist()
        return samples

    def question(self, timeline: Timeline, turn: int) -> Question:
        numbers, target = timeline.items[timeline.start + turn]
        inputs = self._inputs(torch.tensor(numbers))
        wanted = torch.tensor([[target]])
        owner, nothing = torch.tensor([timeline.user]), torch.zeros(1, 1, len(self.mean))
        batch = SampleBatch(nothing, tuple(x[None] for x in inputs), wanted, owner)
        return Question(
            inputs, lambda outputs: float(self.scores(self._named(outputs), batch)[self.metrics[0]])
        )

    def _inputs(self, sample: Tensor) -> tuple[Tensor, ...]:
        parts = sample.split([int(np.prod(shape)) for shape in self.shapes])
        return tuple(
            part.view(1, *shape).to(dtype)
            for part, shape, dtype in zip(parts, self.shapes, self.dtypes, strict=True)
        )

    def _named(self, outputs: Any) -> Outputs:
        """One tensor by itself, several by their names."""
        leaves = tree_leaves(outputs)
        if len(leaves) != len(self.output_names):
            raise UserError(
                f"the model returns {len(leaves)} tensors, task {self.name} names {len(self.output_names)}: "
                f"{', '.join(self.output_names)}"
            )
        return leaves[0] if len(leaves) == 1 else dict(zip(self.output_names, leaves, strict=True))


class SampleSplits:
    """Cuts `SampleBatch` from samples. Other devices are trained, validated and tested on.

    Raises UserError where no device of a part has enough samples.
    """

    def __init__(self, data: Samples, settings: SupervisedSettings) -> None:
        if {len(x) for x in (*data.inputs, data.targets)} != {len(data.device)}:
            raise UserError("inputs, targets and device of the data differ in length")
        order = data.device.argsort(stable=True)
        self.inputs = tuple(x[order] for x in data.inputs)
        self.targets, self.device = data.targets[order], data.device[order]
        self.context, self.serves = _flat(self.inputs), settings.serves
        self.n_context, self.span = settings.context, settings.context + settings.serves
        counts = self.device.unique_consecutive(return_counts=True)[1].numpy()
        firsts = np.cumsum(counts) - counts
        devices = np.random.default_rng(SEED).permutation(np.flatnonzero(counts >= self.span))
        test, validation = (
            max(1, round(share * len(devices))) for share in (settings.test, settings.validation)
        )
        if len(devices) <= test + validation:
            raise UserError(
                f"{len(devices)} devices have the {self.span} samples that one pack takes (task.context + "
                f"task.serves); at least {test + validation + 1} are needed, to train, to validate and to test on"
            )
        # Of each part int64 [D, 2]: where a device's samples begin, and how many it has.
        self.tested, self.validated, self.trained = (
            np.stack([firsts[part], counts[part]], axis=1)
            for part in map(np.sort, np.split(devices, [test, test + validation]))
        )

    def training(self, batch_size: int, seed: int) -> DataLoader[SampleBatch]:
        """One epoch: every training device's samples, cut from a random phase on, in random order."""
        rng = np.random.default_rng(seed)
        return self._loader(rng.permutation(self._starts(self.trained, rng)), batch_size)

    def validation(self, batch_size: int) -> DataLoader[SampleBatch]:
        return self._loader(self._starts(self.validated), batch_size)

    def test(self, batch_size: int) -> DataLoader[SampleBatch]:
        return self._loader(self._starts(self.tested), batch_size)

    def _starts(self, part: IntArray, rng: np.random.Generator | None = None) -> IntArray:
        """The first sample of each pack, device by device: up to the newest of each device, or at a random phase."""
        starts = []
        for first, count in part:
            spare = count - self.span
            phase = rng.integers(min(spare + 1, self.serves)) if rng else spare % self.serves
            starts.append(np.arange(first + phase, first + spare + 1, self.serves))
        return np.concatenate(starts)

    def _loader(self, starts: IntArray, batch_size: int) -> DataLoader[SampleBatch]:
        def collate(batch: list[Tensor]) -> SampleBatch:
            first = torch.stack(batch)[:, None]
            context = first + torch.arange(self.n_context)
            served = first + torch.arange(self.n_context, self.span)
            return SampleBatch(
                self.context[context],
                tuple(x[served] for x in self.inputs),
                self.targets[served],
                self.device[first[:, 0]],
            )

        return DataLoader(torch.from_numpy(starts), batch_size, collate_fn=collate)  # type: ignore[arg-type]


def _flat(inputs: Sequence[Tensor]) -> Tensor:
    """[N, ...] each -> fp32 [N, f]."""
    return torch.cat([x.flatten(1).float() for x in inputs], dim=1)
