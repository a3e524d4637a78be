"""Next-item recommendation: a sample is an item id, a context the recent item ids of a user, oldest first."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mnet.toolchain import builtin
from mnet.toolchain.data import Interactions, load_interactions
from mnet.toolchain.errors import UserError
from mnet.toolchain.metanetwork import ItemContextEncoder, MetaNetwork, WorldGenerator, for_all
from mnet.toolchain.settings import Part, Strict
from mnet.toolchain.tasks.answers import Seen, WorkingBytes
from mnet.toolchain.tasks.candidates import MASKED, against_negatives, without_seen
from mnet.toolchain.tasks.draws import draw_items
from mnet.toolchain.tasks.freshness import pack_times
from mnet.toolchain.tasks.item_worlds import ItemWorlds
from mnet.toolchain.tasks.next_item_replay import NextItemReplay
from mnet.toolchain.tasks.protocols import split_interactions
from mnet.toolchain.tasks.ranking import METRICS, full_values, ranks, sampled_ranks, sampled_values
from mnet.toolchain.tasks.ranking_memory import ranking_bytes
from mnet.toolchain.tasks.recommendation_settings import RecommendationSettings
from mnet.toolchain.tasks.trends import Trends
from mnet.toolchain.tasks.windows import PackWindows, Windows

TASKS = {"recommendation": "Recommendation"}


@dataclass(frozen=True)
class Recommendation(NextItemReplay, ItemWorlds):
    """Next-item recommendation.

    A device model of it has `history`, the number of items that it looks back on, `encode(history, last)` and
    `head(hidden, candidates)`; see `mnet.device_models.sasrec.SASRec`.

    Attributes:
        n_items: size of the catalogue; ids are 1..n_items.
        history: items that the device model looks back on.
        context_length: items that the MetaNetwork looks back on.
        candidates: items that one inference on the device scores.
    """

    n_items: int
    history: int
    context_length: int
    candidates: int
    settings: RecommendationSettings = field(default_factory=RecommendationSettings)

    input_names: ClassVar[tuple[str, ...]] = ("history", "candidates")
    metrics: ClassVar[tuple[str, ...]] = METRICS
    Settings: ClassVar[type[Strict]] = RecommendationSettings
    models: ClassVar[Mapping[str, str]] = builtin.models("recommendation")
    encoders: ClassVar[Mapping[str, str]] = {
        "moving-averages": "mnet.toolchain.metanetwork:MovingAverages",
        "gru": "mnet.toolchain.metanetwork:GRUContext",
        "self-attention": "mnet.toolchain.metanetwork:SelfAttentionContext",
    }

    @classmethod
    def create(
        cls, settings: RecommendationSettings, facts: Mapping[str, Any], model: Part, context: Part | None
    ) -> Self:
        history = _length(model, "history", "model")
        length = _length(context, "length", "metanetwork.context") if context else 20 * settings.refresh
        if length % settings.refresh:
            raise UserError(
                f"metanetwork.context.length ({length}) must be a multiple of task.refresh ({settings.refresh})"
            )
        n_items = facts["n_items"]
        return cls(n_items, history, length, min(settings.candidates, n_items), settings)

    @property
    def sizes(self) -> dict[str, Any]:
        return {"n_items": self.n_items}

    @property
    def encoder_sizes(self) -> dict[str, Any]:
        return {"n_items": self.n_items}

    def example_inputs(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Random valid device inputs of batch 1: history int64 [1, L] (at least one item), candidates int64 [1, C]."""
        length = int(torch.randint(1, self.history + 1, (), generator=generator))
        samples = torch.randint(1, self.n_items + 1, (length,), generator=generator)
        candidates = torch.randperm(self.n_items, generator=generator)[: self.candidates] + 1
        return self.device_inputs(samples.tolist(), candidates.tolist())

    def context(self, samples: Sequence[int]) -> Tensor:
        """What a device uploaded -> int64 [1, context_length], the most recent items, left-padded with 0.

        Raises ValueError on an id outside 1..n_items.
        """
        return self._padded(samples, self.context_length)

    def device_inputs(self, samples: Sequence[int], candidates: Sequence[int]) -> tuple[Tensor, Tensor]:
        """A user's items, oldest first, and the items to score -> history int64 [1, L], candidates int64 [1, C].

        Raises ValueError on an id outside 1..n_items, or on another number of candidates than the model was made for.
        """
        if len(candidates) != self.candidates:
            raise ValueError(
                f"{len(candidates)} candidates, the device model scores {self.candidates} at a time"
            )
        return self._padded(samples, self.history), self._padded(candidates, self.candidates)

    def _padded(self, items: Sequence[int], length: int) -> Tensor:
        for item in items:
            if not isinstance(item, (int, Integral)):  # the plain type first: asking the ABC is slow
                raise ValueError(f"a sample is an item id, one of 1..{self.n_items}")
            if not 1 <= item <= self.n_items:
                raise ValueError(f"unknown item id {item}; the catalogue is 1..{self.n_items}")
        recent = items[-length:]
        padded = np.zeros((1, length), dtype=np.int64)  # through NumPy: a third of the time
        padded[0, length - len(recent) :] = recent
        return torch.from_numpy(padded)

    def seen(self, network: MetaNetwork, batch: PackWindows) -> Seen | None:
        """The contexts, with the embeddings that the context encoder has learnt; None where it has none."""
        encoder = network.context_encoder
        if not isinstance(encoder, ItemContextEncoder):
            return None
        return Seen(batch.context[batch.row], encoder.item_embedding.weight)

    @classmethod
    def load(cls, name: str, path: Path | None, **settings: Any) -> Interactions:
        return load_interactions(name, path, **settings).ties_by_chance()

    @classmethod
    def facts(cls, data: Interactions) -> dict[str, Any]:
        return {"n_items": data.n_items}

    def splits(self, data: Interactions, *models: nn.Module) -> Windows:
        """As `Task.splits`.

        With a `WorldGenerator` among the models, batches carry the state of the world, and those of training come
        from after the time that the early static model has seen.
        """
        settings, dates = self.settings, self.settings.rolling
        worlds = [model for model in models if isinstance(model, WorldGenerator)]
        histories = [_history(model) for model in models if not isinstance(model, WorldGenerator)]
        if settings.protocol == "rolling" and not data.dated:
            raise UserError(f"{data.name} has no dates to roll over; take task.protocol=leave-one-out")
        if settings.freshness != "latest" and not data.dated:
            raise UserError(f"{data.name} has no times to part sessions by; take task.freshness=latest")
        if worlds and settings.protocol != "rolling":
            raise UserError("world: the state of the world has a time; take task.protocol=rolling")
        split = split_interactions(data, settings.protocol, dates.train, dates.validation)
        for part, begins, ends in (
            ("train", data.offsets[:-1], split.validation),
            ("validate", split.validation, split.test),
            ("test", split.test, split.end),
        ):
            if (begins == ends).all():
                raise UserError(f"{data.name}: {settings.protocol} leaves nothing to {part} on")
        early = dates.moved_back()
        aged = settings.freshness != "latest" or bool(worlds)
        return Windows(
            data,
            split,
            ranking=settings.ranking,
            refresh=settings.refresh,
            context_length=self.context_length,
            history=max(histories, default=self.history),
            shared_windows=settings.shared_windows,
            negatives=None if worlds else settings.negatives_of(self.n_items),
            times=pack_times(data, settings.freshness, settings.pause) if aged else None,
            trains_packs=any(isinstance(model, MetaNetwork | WorldGenerator) for model in models),
            trends=Trends(data, worlds[0].half_lives.tolist()) if worlds else None,
            since=split_interactions(data, "rolling", early.train, early.validation).validation
            if worlds
            else None,
        )

    def working_bytes(self, data: Interactions, batch_size: int, world: bool) -> WorkingBytes:
        return ranking_bytes(data, self.settings, self.context_length, batch_size, world)

    def earlier(self) -> Self:
        dates = self.settings.rolling.moved_back()
        return replace(self, settings=self.settings.model_copy(update={"rolling": dates}))

    def outputs(self, model: nn.Module, batch: PackWindows) -> Tensor:
        """fp32 [M * k, n_items], item i in column i - 1, less what the user had seen before the target.

        Where negatives stand for the catalogue: [M * k, 1 + S], the target in column 0.
        """
        packs, k = batch.target.shape
        history = batch.history[..., -_history(model) :]
        hidden = model.encode(history.flatten(0, 1), last=k // history.shape[1])  # type: ignore[operator]
        shared = None if batch.negatives is None else for_all(batch.negatives)
        logits = model.head(hidden, shared)  # type: ignore[operator]
        logits = logits.view(packs, k, logits.shape[-1])
        if batch.negatives is None:
            return without_seen(logits, batch).flatten(0, 1)
        own = model.head(hidden.flatten(0, 1), batch.target.view(-1, 1))  # type: ignore[operator]
        return against_negatives(own, logits, batch, self.n_items)

    def device_outputs(
        self, run: Callable[[int, Sequence[Tensor]], Sequence[Tensor]], batch: PackWindows
    ) -> Tensor:
        """fp32 [M * k, n_items]: the catalogue goes through the device model in runs of its number of candidates."""
        items = torch.arange(1, self.n_items + 1)
        runs = functional.pad(items, (0, -self.n_items % self.candidates)).view(-1, 1, self.candidates)
        logits = torch.zeros(*batch.target.shape, self.n_items)
        for pack, column in batch.target.nonzero().tolist():
            history = batch.history[pack, column, -self.history :][None]
            scores = [run(pack, (history, candidates))[0] for candidates in runs]
            logits[pack, column] = torch.cat(scores, dim=1)[0, : self.n_items]
        return without_seen(logits, batch).flatten(0, 1)

    def targets(self, batch: PackWindows) -> Tensor:
        target = batch.target.flatten()
        return (target if batch.negatives is None else (target != 0).long()) - 1

    def vectors(self, network: MetaNetwork, batch: PackWindows) -> Tensor:
        """fp32 [M, width]: one causal pass over each row of items, read at every cut."""
        encoder, average = network.context_encoder, network.stabilizer
        if average.windows == 1:
            return encoder.at_cuts(batch.context, batch.row, batch.cut)
        at_end = bool((batch.cut == self.context_length - 1).all())
        vectors = encoder.at_every_item(batch.context, last=average.windows if at_end else None)
        return average.over_windows(vectors)[batch.row, batch.cut - self.context_length]

    def context_loss(self, network: MetaNetwork, vectors: Tensor, batch: PackWindows) -> Tensor:
        """What the vector by itself makes of the next items: one softmax a pack, for all of its targets."""
        encoder = cast(ItemContextEncoder, network.context_encoder)
        before = batch.position[:, :1]
        if batch.negatives is None:
            seen = batch.first_seen[batch.row] < before
            own = encoder.scores(vectors).masked_fill(seen, MASKED).log_softmax(dim=1)
            wanted = batch.target != 0
            return -(own.gather(1, (batch.target - 1).clamp(min=0)) * wanted).sum() / wanted.sum()
        negative = encoder.scores(vectors, batch.negatives)[:, None].expand(-1, batch.target.shape[1], -1)
        at_once = batch._replace(position=before.expand_as(batch.position))
        own = encoder.scores(vectors, batch.target)
        return self.loss(against_negatives(own, negative, at_once, self.n_items), batch)

    def own_loss(self, model: nn.Module, batch: PackWindows) -> Tensor:
        """Next-item loss on the items that the pack is generated from, averaged over each pack's own."""
        history, length = _history(model), batch.context.shape[1]
        age = batch.cut[:, None] - torch.arange(length - 1, -1, -1, device=batch.cut.device)
        items = batch.context[batch.row].gather(1, age.clamp(min=0)) * (age >= 0)
        position = batch.known[:, None] + torch.arange(-length, 0, device=batch.cut.device)
        first_seen = batch.first_seen[batch.row].gather(1, (items - 1).clamp(min=0))
        own = batch._replace(
            history=functional.pad(items, (history, 0)).unfold(1, history, 1)[:, :-1],
            target=items * (first_seen >= position),
            position=position,
        )
        if sampled := self.settings.negatives_of(self.n_items):
            generator = torch.Generator().manual_seed(int(batch.position[0, 0]))
            negatives = draw_items(self.n_items, sampled, generator)
            own = own._replace(negatives=negatives, first_seen=own.first_seen[:, negatives - 1])
        losses = functional.cross_entropy(
            self.outputs(model, own), self.targets(own), ignore_index=-1, reduction="none"
        )
        return losses.view(items.shape).sum(dim=1) / (own.target != 0).sum(dim=1).clamp(min=1)

    def scores(self, logits: Tensor, batch: PackWindows) -> dict[str, Tensor]:
        wanted = batch.target.flatten() != 0
        logits, target = logits[wanted], batch.target.flatten()[wanted]
        assert batch.sample is not None
        sample = batch.sample.flatten(0, 1)[wanted]
        return full_values(ranks(logits, target)) | sampled_values(sampled_ranks(logits, target, sample))

    def devices(self, batch: PackWindows) -> Tensor:
        return batch.user[batch.row]


def _length(part: Part, key: str, section: str) -> int:
    length = part.settings.get(key)
    if not isinstance(length, int) or length < 1:
        raise UserError(f"{section}.{key}: expected a number of items, got {length!r}")
    return length


def _history(model: nn.Module) -> int:
    """Items that a device model looks back on: fewer than the windows hold, where a larger model is about."""
    return cast(int, (model.device_model if isinstance(model, MetaNetwork) else model).history)
