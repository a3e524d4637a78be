"""What training, export and the cloud ask of a task. A new task is one subclass, in a file of its own.

Most own tasks are supervised learning on samples that belong to devices: `SupervisedTask` in `supervised.py` has all
of that ready but the data, the loss and the metric.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from mnet.toolchain.errors import UserError
from mnet.toolchain.metanetwork import ContextEncoder, MetaNetwork, World
from mnet.toolchain.settings import Part, Strict, build_part
from mnet.toolchain.tasks.answers import Own, Seen, WorkingBytes
from mnet.toolchain.tasks.on_device import OnDevice
from mnet.toolchain.tasks.splits import Splits
from mnet.toolchain.tasks.timeline import Question, Timeline

Batch = TypeVar("Batch")

# What a device model returns: one tensor, or several by their names in `Task.output_names`.
Outputs = Tensor | dict[str, Tensor]


class Task(ABC, Generic[Batch]):
    """What a sample, a context, a loss and a metric are.

    A batch is a `NamedTuple` with the contexts in its field `context`, [M, n, ...] for M packs. Everything above "On
    data" needs no data set: it works in the cloud, from the run folder alone.

    Attributes:
        input_names, output_names: of the device model, in the order of its arguments and outputs.
        metrics: what `scores` gives; the first one selects epochs.
        lower_is_better: those of `metrics` that are errors: less is better.
        Settings: the keys of the config's `task` section.
        world_parameters: the parameters of a device model that world packs carry.
        models, encoders: built-in device models and context encoders, name -> `package.module:Class`.
    """

    input_names: ClassVar[tuple[str, ...]]
    output_names: ClassVar[tuple[str, ...]] = ("logits",)
    metrics: ClassVar[tuple[str, ...]]
    lower_is_better: ClassVar[tuple[str, ...]] = ()
    Settings: ClassVar[type[Strict]] = Strict
    world_parameters: ClassVar[tuple[str, ...]] = ()
    models: ClassVar[Mapping[str, str]] = {}
    encoders: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def create(cls, settings: Any, facts: Mapping[str, Any], model: Part, context: Part | None) -> Self:
        """The task of a config.

        Args:
            settings: a `Settings`, its section of the config.
            facts: what `facts` said of the data.
            model: the section of the device model.
            context: the section of the context encoder; None in a config without a MetaNetwork.

        Raises UserError where these do not fit together.
        """
        return cls()

    @property
    def name(self) -> str:
        """What messages call it."""
        return type(self).__name__.lower()

    @property
    def higher_is_better(self) -> bool:
        """Whether more of the first metric is better."""
        return self.metrics[0] not in self.lower_is_better

    @property
    def sizes(self) -> dict[str, Any]:
        """Arguments that every device model gets: what it must know of the data."""
        return {}

    @property
    def encoder_sizes(self) -> dict[str, Any]:
        """Arguments that every context encoder gets."""
        return {}

    @abstractmethod
    def example_inputs(self, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Random valid device inputs of batch 1, in the order of `input_names`."""

    @abstractmethod
    def context(self, samples: Sequence[Any]) -> Tensor:
        """What a device uploaded -> a context [1, n, ...]. Raises ValueError on what is no sample.

        A sample is whatever JSON can say: a number, a string, a list, an object.
        """

    def prepared(self, network: MetaNetwork, context: Tensor) -> Tensor:
        """What the context encoder reads of contexts [M, n, ...]: these, or what the device model makes of them."""
        return context

    def device_model(self, part: Part) -> nn.Module:
        """The device model of a section of the config. Raises UserError."""
        model = build_part(part, self.models, "model", **self.sizes)
        if not isinstance(model, nn.Module):
            raise UserError(f"model {part.name} is no torch.nn.Module")
        return model

    def context_encoder(self, part: Part) -> ContextEncoder:
        """The context encoder of a section of the config. Raises UserError."""
        encoder = build_part(part, self.encoders, "context encoder", **self.encoder_sizes)
        if not isinstance(encoder, ContextEncoder):
            raise UserError(f"context encoder {part.name} is no mnet.toolchain.metanetwork.ContextEncoder")
        return encoder

    def seen(self, network: MetaNetwork, batch: Batch) -> Seen | None:
        """What a request policy can tell a shift by; one context a pack. None: the task offers no such policy."""
        return None

    # For replays of a data set on phones: a task without them is refused there by name.

    @property
    def refresh(self) -> int:
        """How many predictions one pack serves."""
        return 1

    @property
    def questions(self) -> str:
        """What is predicted in a replay, as the object of a sentence."""
        return "each sample"

    def timelines(self, data: Any) -> list[Timeline]:
        """What the devices of the test saw over time. Raises UserError in a task that cannot be replayed."""
        raise UserError(f"runs of task {self.name} cannot be replayed on phones: it has no timelines")

    def uploaded(self, samples: Sequence[Any]) -> list[Any]:
        """What a device uploads of these samples of a timeline: the newest ones, as `context` reads them."""
        raise NotImplementedError(f"task {self.name} has no timelines")

    def example_samples(self, count: int, rng: np.random.Generator) -> list[Any]:
        """Random valid samples as devices upload them. Raises UserError in a task without."""
        raise UserError(f"task {self.name} has no example_samples: there is nothing that phones could upload")

    def question(self, timeline: Timeline, turn: int) -> Question:
        """What the device model is asked at this turn."""
        raise NotImplementedError(f"task {self.name} has no timelines")

    # On data.

    @classmethod
    @abstractmethod
    def load(cls, name: str, path: Path | None, **settings: Any) -> Any:
        """The data set `name`; `settings` are the further keys of the config's `data` section. Raises UserError."""

    @classmethod
    def facts(cls, data: Any) -> dict[str, Any]:
        """What modules must know of the data, as JSON: a run folder keeps it."""
        return {}

    @abstractmethod
    def splits(self, data: Any, *models: nn.Module) -> Splits[Batch]:
        """Batches for these device models. Raises UserError where a part of the split is empty."""

    def histories(
        self, splits: Splits[Batch], part: Literal["validation", "test"], batch_size: int
    ) -> DataLoader[Batch]:
        """Batches in which the packs of one device follow each other in time, each made from its latest samples."""
        return splits.test(batch_size) if part == "test" else splits.validation(batch_size)

    def own(self, splits: Splits[Batch], device: int, samples: int, judged: int) -> Own:
        """For an oracle: so many labelled samples of a test device, and so many to judge it by. Raises UserError."""
        raise UserError(
            f"task {self.name} has no labelled samples of a device's own: its room cannot be measured"
        )

    def baselines(self, data: Any) -> dict[str, Callable[[Batch], Tensor]]:
        """Methods that need no model, by name: a batch -> outputs as of `outputs`."""
        return {}

    def initialize(self, model: nn.Module, data: Any) -> None:
        """Start a fresh device model, in place, at what counting the training rows alone tells; most know nothing."""

    def on_device(self, steps: Sequence[str]) -> OnDevice:
        """What a device can do with its context by these steps, one after the other. Raises UserError."""
        raise UserError(
            f"task {self.name} knows nothing that a device could do by itself: leave out on_device"
        )

    # World packs: what everybody did of late, into parameters that are the same for all devices.

    def world_generator(self, **settings: Any) -> nn.Module:
        """From the state of the world to parameters, with fresh weights. Raises UserError in a task that has none."""
        raise UserError(f"task {self.name} knows no world: leave the section world out of the config")

    def earlier(self) -> Self:
        """The same task with its dates moved back: it trains on an early part of the training time alone."""
        raise NotImplementedError

    def world_baselines(self, generator: nn.Module) -> dict[str, list[Callable[[Batch], Tensor]]]:
        """Methods that need no model but the state of the world, as of `baselines`, each with all that is tried for it.

        `generator`: what `world_generator` made; it says what is known of the world.
        """
        return {}

    def world(self, generator: nn.Module, data: Any) -> World:
        """The state of the world at the end of `data`, of that one moment."""
        raise NotImplementedError

    def working_bytes(self, data: Any, batch_size: int, world: bool) -> WorkingBytes | None:
        """What data and batches take; None where that is small.

        `world`: with the state of the world, as world packs are trained and tested.
        """
        return None

    def recent(self, path: Path, numbers: Mapping[str, int] | None = None) -> tuple[Any, int]:
        """A table of what everybody did of late, and how many of its rows were left out: of items that devices lack.

        `numbers` has the number on devices of each item by its name in the table; None where the table has the numbers.
        Raises UserError.
        """
        raise UserError(f"task {self.name} knows no world: it reads no table of what everybody did of late")

    def world_later(self, generator: nn.Module, world: World, data: Any) -> World:
        """The state of the world of one moment, carried on to the end of `data`; what it knows already counts once."""
        raise NotImplementedError

    def world_pack(self, generator: nn.Module, model: nn.Module, world: World) -> dict[str, Tensor]:
        """For each of S states the parameters of the device model that carry it, fp32 [S, *shape]."""
        raise NotImplementedError

    @abstractmethod
    def outputs(self, model: nn.Module, batch: Batch) -> Any:
        """What a device model makes of every sample, [N, ...]; those of one pack follow each other, k of each.

        One tensor (fp32 [N, classes] in classification), or a dict of several by `output_names`.
        """

    def device_outputs(self, run: Callable[[int, Sequence[Tensor]], Sequence[Tensor]], batch: Batch) -> Any:
        """The same of an exported model, which answers one sample at a time; those without a target may be anything.

        `run(m, inputs)` gives its outputs for device inputs of batch 1 under the weights of pack m. Raises UserError
        in a task that does not say how.
        """
        raise UserError(f"task {self.name} has no device_outputs: it cannot be tested on an exported model")

    @abstractmethod
    def targets(self, batch: Batch) -> Tensor:
        """[N, ...]: what is right. In classification int64 [N], the class; -1 where there is nothing to predict."""

    def has_target(self, batch: Batch) -> Tensor:
        """bool [N]: which samples have a target."""
        targets = self.targets(batch)
        if targets.is_floating_point():
            return torch.ones(len(targets), dtype=torch.bool, device=targets.device)
        return targets >= 0

    def loss(self, outputs: Any, batch: Batch) -> Tensor:
        """Cross-entropy, averaged over the samples that have a target."""
        return functional.cross_entropy(outputs, self.targets(batch), ignore_index=-1)

    def vectors(self, network: MetaNetwork, batch: Batch) -> Tensor:
        """fp32 [M, width]: what the packs are generated from; zero where the device has uploaded nothing."""
        return network.context_encoder(self.prepared(network, cast(Any, batch).context))

    def context_loss(self, network: MetaNetwork, vectors: Tensor, batch: Batch) -> Tensor:
        """How badly the context vectors by themselves predict what a pack is for; 0 in a task that does not ask."""
        return vectors.new_zeros(())

    def own_loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """fp32 [M]: a loss on each pack's own context, without labels: what fine-tuning on a device would lower.

        Only a config with the section `fine_tuning` needs it.
        """
        raise NotImplementedError(f"task {self.name} has no own_loss")

    @abstractmethod
    def scores(self, outputs: Any, batch: Batch) -> dict[str, Tensor]:
        """Value of each metric for each sample that has a target, fp32."""

    def devices(self, batch: Batch) -> Tensor:
        """int64 [M]: whose each pack is. In a test the packs of one device follow each other in time."""
        return cast(Tensor, cast(Any, batch).device)

    def owners(self, batch: Batch) -> Tensor:
        """int64, as long as a value of `scores`: whose the samples are, for intervals over users."""
        wanted, devices = self.has_target(batch), self.devices(batch)
        return devices.repeat_interleave(len(wanted) // len(devices))[wanted]
