"""Windows on a split data set: what the MetaNetwork and the device see when a run of items is to be predicted."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from mnet.toolchain.data.interactions import IntArray, Interactions
from mnet.toolchain.metanetwork import World
from mnet.toolchain.tasks.draws import SEED, draw_items, draw_not_taken
from mnet.toolchain.tasks.freshness import PackTimes
from mnet.toolchain.tasks.protocols import Split
from mnet.toolchain.tasks.ranking import SAMPLE
from mnet.toolchain.tasks.trends import Trends

# Epochs are selected on no more users than these; the code of SASRec's authors takes 10,000. All are tested.
VALIDATION_USERS = 5_000
# An evaluation scores so many pairs of target and item at a time, 256 MiB of fp32; it makes a handful of copies.
SCORED = 2**26

Ranking = Literal["unseen", "all"]


class PackWindows(NamedTuple):
    """M packs, cut from the rows of a few users; a pack serves k interactions. 0 stands for "no item".

    Attributes:
        context: int64 [B, T], a row of items for each of B stretches; pack m is generated from the items of its row
            up to its cut. In evaluation a row holds one pack, in training one after every k-th item.
        row: int64 [M], the row of each pack in `context`, `first_seen` and `user`.
        cut: int64 [M], the last item of the row that the pack is generated from.
        known: int64 [M], the row of the data set before which the context ends.
        history: int64 [M, k, L], what the device sees when it predicts; or [M, 1, L], what it sees at the last of the
            k, where one window is to train them all.
        target: int64 [M, k], the item that comes; at least one in each pack.
        position: int64 [M, k], the row of the target in the data set.
        first_seen: int64 [B, C], the row in which the user first takes each item that the target competes with; after
            every row where the user never does, or where seen items are ranked like any other. The items are those of
            `negatives`, or else the whole catalogue, item i in column i - 1.
        user: int64 [B].
        negatives: int64 [S], items drawn to stand for the catalogue in the softmax; in training alone.
        sample: int64 [M, k, 99], items that the user never takes, for the sampled metrics; 0 where there are none; in
            evaluation alone.
        world: what everybody had taken by each of S moments, where a world is read.
        moment: int64 [M], the moment in `world` at which each pack is made.
    """

    context: Tensor
    row: Tensor
    cut: Tensor
    known: Tensor
    history: Tensor
    target: Tensor
    position: Tensor
    first_seen: Tensor
    user: Tensor
    negatives: Tensor | None = None
    sample: Tensor | None = None
    world: World | None = None
    moment: Tensor | None = None


class Windows:
    """Cuts `PackWindows` out of a split data set.

    Args:
        ranking: "unseen" leaves out what the user has taken before, as a phone can, as candidate and as target; "all"
            ranks it too.
        refresh: k, interactions that one pack serves.
        context_length: T, a multiple of k.
        history: L.
        shared_windows: train the k targets of a pack on one window of the history; cheaper, where L is long.
        negatives: S, items that stand for the catalogue in a batch of training; None for the whole of it.
        times: the pack of each interaction; None for packs that are made right before the interactions they serve.
        since: int64 [U], the first row of each user to train on, where it is not the user's first.
        trains_packs: training needs packs as old as `times` has them, and not only their targets.
        trends: what everybody takes over time, for batches with the world's state; it needs `times`.
    """

    def __init__(
        self,
        interactions: Interactions,
        split: Split,
        *,
        ranking: Ranking,
        refresh: int,
        context_length: int,
        history: int,
        shared_windows: bool = False,
        negatives: int | None = None,
        times: PackTimes | None = None,
        since: IntArray | None = None,
        trains_packs: bool = True,
        trends: Trends | None = None,
    ) -> None:
        self.items = torch.from_numpy(interactions.items)
        self.n_items = interactions.n_items
        self.starts = interactions.offsets[:-1]
        self.rows_of = torch.from_numpy(np.stack([self.starts, interactions.offsets[1:]], axis=1))
        self.split = split
        self.ranking = ranking
        self.new = torch.from_numpy(first_takes(interactions))
        self.refresh, self.context_length, self.history = refresh, context_length, history
        self.shared_windows = shared_windows
        self.negatives = negatives
        self.times, self.trains_packs, self.trends = times, trains_packs, trends
        self.since = self.starts if since is None else since

    def training(self, batch_size: int, seed: int) -> DataLoader[PackWindows]:
        """One epoch: every user's training rows, tiled from a random phase into stretches of T targets.

        With `times` each pack is as old as at its first target. Those that read the world's state are cut one by one,
        as in evaluation, in another order each epoch.
        """
        rng = np.random.default_rng(seed)
        generator = torch.Generator().manual_seed(seed)
        if self.times and self.trends:
            rows = self._served(self.since, self.split.validation)
            # Batches in any order; neighbours in time stay in one and share the world's state.
            pieces = np.array_split(rows, max(1, len(rows) // batch_size))
            rows = np.concatenate([pieces[piece] for piece in rng.permutation(len(pieces))])
            return _loader(rows, batch_size, lambda rows: self._training(rows, self.refresh, generator))
        stretch = self.context_length
        firsts = self.starts - rng.integers(stretch, size=len(self.starts))
        counts = -(-(self.split.validation - firsts) // stretch)
        counts[self.split.validation == self.starts] = 0
        user = np.repeat(np.arange(len(counts)), counts)
        within = np.arange(len(user)) - np.repeat(np.cumsum(counts) - counts, counts)
        first = firsts[user] + within * stretch
        order = rng.permutation(len(first))
        # The last pack of a stretch knows all but its last k items, the others less, by their cuts.
        known = first + stretch - self.refresh
        if self.times and self.trains_packs:
            known = self.times.known[np.minimum(first + stretch, self.split.validation[user]) - 1]
        rows = np.stack([first, self.starts[user], self.split.validation[user], user, known], axis=1)[order]
        return _loader(rows, batch_size, lambda rows: self._training(rows, stretch, generator))

    def _training(self, rows: Tensor, targets: int, generator: torch.Generator) -> PackWindows:
        negatives = draw_items(self.n_items, self.negatives, generator) if self.negatives else None
        per_window = self.refresh if self.shared_windows else 1
        return self._cut(rows, targets, per_window, self.times if self.trains_packs else None, negatives)

    def validation(self, batch_size: int) -> DataLoader[PackWindows]:
        """Every user up to `VALIDATION_USERS`; of more, as many by chance, always the same."""
        users = np.random.default_rng(SEED).permutation(len(self.starts))[:VALIDATION_USERS]
        chosen = np.isin(np.arange(len(self.starts)), users)
        ends = np.where(chosen, self.split.test, self.split.validation)
        return self._serving(self.split.validation, ends, batch_size, alike=not self.trends)

    def test(self, batch_size: int) -> DataLoader[PackWindows]:
        return self._serving(self.split.test, self.split.end, batch_size)

    def _serving(
        self, begins: IntArray, ends: IntArray, batch_size: int, alike: bool = False
    ) -> DataLoader[PackWindows]:
        """Every user's rows from `begins` to `ends`, a new pack every k of them, or as `times` has it.

        A batch is as wide as its longest pack; with `alike`, packs that are as long as each other come together. It has
        fewer packs than `batch_size` where all items for all of their targets would be more than `SCORED`.
        """

        def cut(rows: Tensor) -> PackWindows:
            packs = self._cut(rows, self.refresh, 1, self.times)
            width = 1 + max((packs.target != 0).any(dim=0).nonzero().flatten().tolist(), default=0)
            packs = packs._replace(
                history=packs.history[:, :width],
                target=packs.target[:, :width],
                position=packs.position[:, :width],
            )
            return packs._replace(sample=self._sample(packs))

        served = self._served(begins, ends)
        if alike:
            length = np.minimum(served[:, 2] - served[:, 0], self.refresh)
            served = served[np.argsort(length, kind="stable")]
        most = max(1, SCORED // (self.refresh * self.n_items))
        return _loader(served, min(batch_size, most), cut)

    def _served(self, begins: IntArray, ends: IntArray) -> IntArray:
        """The rows of `_cut` for every user's rows from `begins` to `ends`; with the world's state, in time order.

        Packs that have `times` and serve nothing that is ranked are left out: a batch of them would have no loss.
        """
        rows: list[tuple[int, ...]] = []
        for user, (start, begin, end) in enumerate(zip(self.starts, begins, ends, strict=True)):
            if self.times is None:
                rows += [(first, start, end, user, first) for first in range(begin, end, self.refresh)]
            elif begin < end:
                packs = self.times.packs(int(begin), int(end), self.refresh)
                ranked = self.new if self.ranking == "unseen" else torch.ones_like(self.new)
                rows += [
                    (first, start, stop, user, self.times.known[first])
                    for first, stop in packs
                    if ranked[first:stop].any()
                ]
        served = np.array(rows, dtype=np.int64).reshape(-1, 5)
        if self.trends and self.times:
            served = served[np.argsort(self.times.made[served[:, 0]], kind="stable")]
        return served

    def _cut(
        self,
        rows: Tensor,
        targets: int,
        per_window: int,
        times: PackTimes | None,
        negatives: Tensor | None = None,
    ) -> PackWindows:
        """`rows` int64 [B, 5]: first target, the user's first row, one past the last that may be seen, user, and one
        past the last that the context may hold.
        """
        first, low, high, user, known = rows.unbind(1)
        position = (first[:, None] + torch.arange(targets)).view(len(rows), -1, self.refresh)
        target = self._items_at(position, low, high)
        if self.ranking == "unseen":
            target = target * self.new[position.clamp(0, len(self.new) - 1)]
        row, tile = (target != 0).any(dim=2).nonzero(as_tuple=True)
        begin = position[row, tile, 0]
        if times:
            begin = begin.clamp(low[row], high[row] - 1)
        own_known = torch.from_numpy(times.known)[begin] if times else begin
        # In training a row can hold many cuts, the last one at its end; in evaluation it holds just this.
        cut = self.context_length - 1 - (known[row] - own_known)
        # What knows less than its row reaches back is left out; other epochs begin their rows elsewhere.
        kept = cut >= 0
        row, tile, begin = row[kept], tile[kept], begin[kept]
        target, position = target[row, tile], position[row, tile]
        world, moment = (
            self.trends.before(times.made[begin.numpy()]) if self.trends and times else (None, None)
        )
        context = known[:, None] + torch.arange(-self.context_length, 0)
        history = position[:, per_window - 1 :: per_window, None] + torch.arange(-self.history, 0)
        return PackWindows(
            context=self._items_at(context, low, high),
            row=row,
            cut=cut[kept],
            known=own_known[kept],
            history=self._items_at(history, low[row], high[row]),
            target=target,
            position=position,
            first_seen=self._first_seen(user, negatives),
            user=user,
            negatives=negatives,
            world=world,
            moment=moment,
        )

    def _items_at(self, index: Tensor, low: Tensor, high: Tensor) -> Tensor:
        shape = (-1,) + (1,) * (index.dim() - 1)
        inside = (index >= low.view(shape)) & (index < high.view(shape))
        return self.items[index.clamp(0, len(self.items) - 1)] * inside

    def _first_seen(self, user: Tensor, negatives: Tensor | None) -> Tensor:
        column = torch.arange(-1, self.n_items)
        if negatives is not None:
            column = torch.full_like(column, -1).scatter(0, negatives, torch.arange(len(negatives)))
        first_seen = torch.full((len(user), int(column.max()) + 1), len(self.items))
        if self.ranking == "unseen":
            for row, (start, end) in zip(first_seen, self.rows_of[user].tolist(), strict=True):
                rows = start + self.new[start:end].nonzero()[:, 0]
                columns = column[self.items[rows]]
                row[columns[columns >= 0]] = rows[columns >= 0]
        return first_seen

    def _sample(self, packs: PackWindows) -> Tensor:
        """As `PackWindows.sample`; every method and every batch size has the same."""
        sample = torch.zeros(*packs.target.shape, SAMPLE, dtype=torch.int64)
        for pack, user in enumerate(packs.user[packs.row].tolist()):
            start, end = self.rows_of[user].tolist()
            taken = np.unique(self.items[start:end].numpy())
            for column in packs.target[pack].nonzero()[:, 0].tolist() if len(taken) < self.n_items else ():
                row = int(packs.position[pack, column])
                sample[pack, column] = draw_not_taken(taken, self.n_items, row)
        return sample


def _loader(rows: IntArray, batch_size: int, cut: Callable[[Tensor], PackWindows]) -> DataLoader[PackWindows]:
    def collate(batch: list[Tensor]) -> PackWindows:
        return cut(torch.stack(batch))

    return DataLoader(torch.from_numpy(rows), batch_size, collate_fn=collate)  # type: ignore[arg-type]


def first_takes(interactions: Interactions) -> NDArray[np.bool_]:
    """bool [N]: the rows in which a user takes an item for the first time."""
    _, rows = np.unique(
        interactions.users * (interactions.n_items + 1) + interactions.items, return_index=True
    )
    new = np.zeros(len(interactions.items), dtype=np.bool_)
    new[rows] = True
    return new
