"""Windows: every target exactly once, nothing of the future in the past, packs as a device gets them."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from mnet.toolchain.data.interactions import Interactions, from_columns
from mnet.toolchain.tasks.protocols import Split, split_interactions
from mnet.toolchain.tasks.windows import PackWindows, Windows

K, T, L = 2, 6, 3


def windows(data: Interactions, split: Split, **options: Any) -> Windows:
    settings: dict[str, Any] = {"ranking": "all", "refresh": K, "context_length": T, "history": L, **options}
    return Windows(data, split, **settings)


def rolling(data: Interactions) -> Split:
    return split_interactions(data, "rolling", 0.6, 0.2)


def targets(loader: Any) -> Counter[int]:
    return Counter(int(item) for packs in loader for item in packs.target.flatten() if item)


@pytest.mark.parametrize("protocol", ["rolling", "leave-one-out"])
def test_every_row_is_a_target_once_in_its_own_part(data: Interactions, protocol: Any) -> None:
    split = split_interactions(data, protocol, 0.6, 0.2)
    cutter = windows(data, split)
    row = np.arange(len(data.items))
    validation, test = split.validation[data.users], split.test[data.users]
    for seed in range(3):
        assert targets(cutter.training(4, seed)) == Counter(data.items[row < validation].tolist())
    assert targets(cutter.validation(5)) == Counter(data.items[(row >= validation) & (row < test)].tolist())
    assert targets(cutter.test(5)) == Counter(data.items[row >= test].tolist())


def test_a_large_catalogue_is_ranked_by_fewer_packs_at_a_time(
    data: Interactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = rolling(data)
    whole = targets(windows(data, split).test(50))
    monkeypatch.setattr("mnet.toolchain.tasks.windows.SCORED", 3 * K * data.n_items)
    batches = list(windows(data, split).test(50))
    assert max(len(packs.target) for packs in batches) <= 3
    assert targets(batches) == whole


def past(data: Interactions, item: int) -> list[int]:
    """What the user of this (unique) item took before it."""
    row = int(np.flatnonzero(data.items == item)[0])
    return data.items[data.offsets[data.users[row]] : row].tolist()


def contexts(packs: PackWindows) -> list[list[int]]:
    """The items that each pack is generated from."""
    cuts = zip(packs.row.tolist(), packs.cut.tolist(), strict=True)
    return [[x for x in packs.context[row, : cut + 1].tolist() if x] for row, cut in cuts]


def check(data: Interactions, packs: PackWindows) -> None:
    """Histories end right before their targets; a pack's context right before the first of its targets."""
    for pack, context in enumerate(contexts(packs)):
        for j, item in enumerate(packs.target[pack].tolist()):
            if not item:
                continue
            before = past(data, item)
            seen = [x for x in packs.history[pack, j].tolist() if x]
            assert seen == before[-L:]
            known = before[: len(before) - j] if j <= len(before) else []
            assert context == known[len(known) - len(context) :]


def test_a_pack_knows_what_came_before_its_targets_and_no_more(data: Interactions) -> None:
    cutter = windows(data, rolling(data))
    for packs in cutter.test(5):
        check(data, packs)
        # In evaluation the context is as long as it can be.
        for context, item in zip(contexts(packs), packs.target[:, 0].tolist(), strict=True):
            assert context == past(data, item)[-T:]
    for packs in cutter.training(5, seed=1):
        check(data, packs)


def test_every_user_gets_a_new_pack_every_k_interactions(data: Interactions) -> None:
    split = rolling(data)
    (packs,) = windows(data, split).test(1000)
    served = (packs.target != 0).sum(dim=1)
    for user, count in enumerate(split.end - split.test):
        expected = [K] * (count // K) + ([int(count % K)] if count % K else [])
        assert served[packs.user[packs.row] == user].tolist() == expected


def test_a_shared_window_ends_before_the_last_target_of_its_pack(data: Interactions) -> None:
    cutter = windows(data, rolling(data), shared_windows=True, history=4)
    for packs in cutter.training(5, seed=0):
        assert packs.history.shape[1:] == (1, 4)
        for window, item in zip(packs.history[:, 0], packs.target[:, -1], strict=True):
            if item:
                assert [x for x in window.tolist() if x] == past(data, int(item))[-4:]
    assert next(iter(cutter.test(5))).history.shape[1] == K


def test_unseen_leaves_out_what_the_user_took_before(data: Interactions) -> None:
    users, items = np.zeros(6, dtype=np.int64), np.array([2, 3, 2, 1, 4, 3])
    again = from_columns("again", users, items, np.arange(6), n_items=5)
    split = Split(np.array([1]), np.array([3]), np.array([6]))
    (packs,) = windows(again, split, ranking="unseen", refresh=3).test(5)
    assert packs.target.tolist() == [[1, 4]], "the last one is no new item"
    seen = packs.first_seen[packs.row][:, None] < packs.position[..., None]
    assert seen[0, 0].tolist() == [False, True, True, False, False]
    assert seen[0, 1].tolist() == [True, True, True, False, False]
    (packs,) = windows(again, split, refresh=3).test(5)
    assert packs.target.tolist() == [[1, 4, 3]]
    assert not (packs.first_seen[packs.row][:, None] < packs.position[..., None]).any()


def test_an_epoch_follows_from_its_seed(data: Interactions) -> None:
    cutter = windows(data, rolling(data))
    one, same, other = (torch.cat([packs.context for packs in cutter.training(4, s)]) for s in (0, 0, 1))
    assert torch.equal(one, same)
    assert one.shape != other.shape or not torch.equal(one, other)
