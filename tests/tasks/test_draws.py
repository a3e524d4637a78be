"""What is drawn for a batch: negatives for the softmax in training, items never taken for the sampled metrics."""

from typing import Any

import numpy as np
import pytest
import torch

from mnet.toolchain.data.interactions import Interactions, from_columns
from mnet.toolchain.tasks.protocols import split_interactions
from mnet.toolchain.tasks.windows import Windows


@pytest.fixture
def data() -> Interactions:
    """20 users take 8 of 40 items each, some of them twice."""
    rng = np.random.default_rng(0)
    return from_columns(
        "made-up",
        np.repeat(np.arange(20), 8),
        rng.integers(1, 41, 160),
        np.tile(np.arange(8), 20),
        n_items=40,
    )


def windows(data: Interactions, **options: Any) -> Windows:
    settings: dict[str, Any] = {"ranking": "unseen", "refresh": 2, "context_length": 6, "history": 3}
    return Windows(data, split_interactions(data, "leave-one-out", 0.7, 0.1), **settings, **options)


def test_a_sample_holds_what_the_user_never_takes(data: Interactions) -> None:
    drawn = set()
    for packs in windows(data).test(7):
        assert packs.sample is not None
        for user, target, sample in zip(packs.user[packs.row], packs.target, packs.sample, strict=True):
            assert not set(sample[target != 0].flatten().tolist()) & {0, *data.sequence(int(user)).tolist()}
            assert (sample[target == 0] == 0).all()
            drawn |= set(sample[target != 0].flatten().tolist())
    assert drawn == set(range(1, 41))


def test_a_sample_is_the_same_in_every_batch(data: Interactions) -> None:
    one, other = ([packs.sample for packs in windows(data).test(size)] for size in (3, 20))
    assert torch.equal(torch.cat(one), torch.cat(other))


def test_who_took_everything_has_no_sample() -> None:
    data = from_columns("all", np.zeros(5, dtype=np.int64), np.arange(1, 6), np.arange(5), n_items=5)
    (packs,) = windows(data).test(4)
    assert packs.sample is not None
    assert not packs.sample.any()


def test_negatives_stand_for_the_catalogue_in_training_alone(data: Interactions) -> None:
    cutter, whole = windows(data, negatives=7), windows(data)
    for packs, full in zip(cutter.training(5, seed=1), whole.training(5, seed=1), strict=True):
        assert packs.negatives is not None
        assert len(set(packs.negatives.tolist())) == 7
        assert torch.equal(packs.first_seen, full.first_seen[:, packs.negatives - 1])
        assert torch.equal(packs.target, full.target)
    (packs,) = cutter.test(100)
    assert packs.negatives is None
    assert packs.first_seen.shape[1] == data.n_items


def test_negatives_follow_from_the_seed_of_the_epoch(data: Interactions) -> None:
    one, same, other = (
        torch.stack([packs.negatives for packs in windows(data, negatives=7).training(5, seed)])  # type: ignore[misc]
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_epochs_are_selected_on_a_fixed_part_of_many_users(
    data: Interactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    everyone = torch.cat([packs.user for packs in windows(data).validation(100)])
    monkeypatch.setattr("mnet.toolchain.tasks.windows.VALIDATION_USERS", 6)
    some, again = (torch.cat([packs.user for packs in windows(data).validation(100)]) for _ in range(2))
    assert torch.equal(some, again)
    assert set(some.tolist()) < set(everyone.tolist())
    assert len(torch.cat([packs.user for packs in windows(data).test(100)]).unique()) > 6
