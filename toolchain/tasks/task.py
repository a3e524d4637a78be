"""What training, export and the cloud ask of a task. A new task is one subclass, and one way to load its data."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, NamedTuple, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from mnet.toolchain.errors import UserError
from mnet.toolchain.metanetwork import ContextEncoder, MetaNetwork
from mnet.toolchain.settings import Part, Strict, build_part

Batch = TypeVar("Batch")
Loaded = TypeVar("Loaded", covariant=True)


class Splits(Protocol[Loaded]):
    """Loaders of batches; a batch holds M packs, each of which serves some samples."""

    def training(self, batch_size: int, seed: int) -> DataLoader[Loaded]: ...

    def validation(self, batch_size: int) -> DataLoader[Loaded]: ...

    def test(self, batch_size: int) -> DataLoader[Loaded]: ...


class Seen(NamedTuple):
    """What devices have seen: `context` int64 [M, n] of ids, with the vector `of_ids` fp32 [ids + 1, f] of each, or
    fp32 [M, n, f] of vectors. Left-padded with 0, the newest last.
    """

    context: Tensor
    of_ids: Tensor | None = None


class Task(ABC, Generic[Batch]):
    """What a sample, a context, a loss and a metric are.

    Everything above "on data" needs no data set: it works in the cloud, from the run folder alone.

    Attributes:
        input_names, output_names: of the device model.
        metrics: what `scores` gives; the first one selects epochs.
        Settings: the keys of the config's `task` section.
        models, encoders: built-in device models and context encoders, name -> `package.module:Class`.
        sizes: what every device model of the task is told about the data.
        encoder_sizes: what every context encoder is.
    """

    name: ClassVar[str]
    input_names: ClassVar[tuple[str, ...]]
    output_names: ClassVar[tuple[str, ...]] = ("logits",)
    metrics: ClassVar[tuple[str, ...]]
    Settings: ClassVar[type[Strict]]
    models: ClassVar[Mapping[str, str]]
    encoders: ClassVar[Mapping[str, str]]

    @classmethod
    @abstractmethod
    def create(cls, settings: Any, facts: Mapping[str, Any], model: Part, context: Part | None) -> Self:
        """The task of a config: its own settings, what is known of the data, device model, context encoder.

        Raises UserError where these do not fit together.
        """

    @property
    @abstractmethod
    def sizes(self) -> dict[str, Any]: ...

    @property
    @abstractmethod
    def encoder_sizes(self) -> dict[str, Any]: ...

    @abstractmethod
    def example_inputs(self, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Random valid device inputs of batch 1."""

    @abstractmethod
    def context(self, samples: Sequence[Any]) -> Tensor:
        """What a device uploaded -> a context, batch 1. Raises ValueError on what is no sample."""

    def prepared(self, network: MetaNetwork, context: Tensor) -> Tensor:
        """What the context encoder reads of contexts [M, ...]: these, or what the device model makes of them."""
        return context

    def device_model(self, part: Part) -> nn.Module:
        """Raises UserError."""
        model = build_part(part, self.models, "model", **self.sizes)
        if not isinstance(model, nn.Module):
            raise UserError(f"model {part.name} is no torch.nn.Module")
        return model

    def context_encoder(self, part: Part) -> ContextEncoder:
        """Raises UserError."""
        encoder = build_part(part, self.encoders, "context encoder", **self.encoder_sizes)
        if not isinstance(encoder, ContextEncoder):
            raise UserError(f"context encoder {part.name} is no mnet.toolchain.metanetwork.ContextEncoder")
        return encoder

    def seen(self, network: MetaNetwork, batch: Batch) -> Seen | None:
        """What a request policy can tell a shift by; one context a pack. None: the task offers no such policy."""
        return None

    # On data.

    @classmethod
    @abstractmethod
    def load(cls, name: str, path: Path | None) -> Any:
        """The data set `name`. Raises UserError."""

    @classmethod
    @abstractmethod
    def facts(cls, data: Any) -> dict[str, Any]:
        """What modules must know of the data, as JSON: a run folder keeps it."""

    @abstractmethod
    def splits(self, data: Any, *models: nn.Module) -> Splits[Batch]:
        """Batches for these device models. Raises UserError where a part of the split is empty."""

    def histories(
        self, splits: Splits[Batch], part: Literal["validation", "test"], batch_size: int
    ) -> DataLoader[Batch]:
        """Batches in which the packs of one device follow each other in time, each made from its latest samples."""
        return splits.test(batch_size) if part == "test" else splits.validation(batch_size)

    def baselines(self, data: Any) -> dict[str, Callable[[Batch], Tensor]]:
        """Methods that need no model, by name: a batch -> logits as of `logits`."""
        return {}

    @abstractmethod
    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """fp32 [N, classes]: what a device model makes of every sample; those of one pack together, k of each."""

    def device_logits(self, run: Callable[[int, Sequence[Tensor]], Tensor], batch: Batch) -> Tensor:
        """The same of an exported model, which answers one sample at a time; those without a target may be anything.

        `run(m, inputs)` is its first output for device inputs of batch 1 under the weights of pack m. Raises UserError
        in a task that does not say how.
        """
        raise UserError(f"task {self.name} has no device_logits: it cannot be tested on an exported model")

    @abstractmethod
    def targets(self, batch: Batch) -> Tensor:
        """int64 [N]: the right column of `logits`; -1 where there is nothing to predict."""

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy, averaged over the samples that have a target."""
        return functional.cross_entropy(logits, self.targets(batch), ignore_index=-1)

    @abstractmethod
    def vectors(self, network: MetaNetwork, batch: Batch) -> Tensor:
        """fp32 [M, width]: what the packs are generated from; zero where the device has uploaded nothing."""

    @abstractmethod
    def context_loss(self, network: MetaNetwork, vectors: Tensor, batch: Batch) -> Tensor:
        """How well the context vectors by themselves tell what a pack is for."""

    @abstractmethod
    def own_loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """fp32 [M]: a loss on each pack's own context, without labels: what fine-tuning on a device would lower."""

    @abstractmethod
    def scores(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Value of each metric for each sample that has a target, fp32."""

    @abstractmethod
    def devices(self, batch: Batch) -> Tensor:
        """int64 [M]: whose each pack is. In a test the packs of one device follow each other in time."""

    @abstractmethod
    def owners(self, batch: Batch) -> Tensor:
        """int64, as long as a value of `scores`: whose the samples are, for intervals over users."""
