"""Which users are replayed, and what a phone sees when it changes hands."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mnet.toolchain.errors import UserError
from mnet.toolchain.fleet import timelines
from mnet.toolchain.fleet.timelines import change_hands, draw_timelines, shards
from mnet.toolchain.tasks.timeline import Timeline
from mnet.toolchain.training.build import load_data
from mnet.toolchain.training.run import load_run

AFTER = 3


def test_timelines_are_the_same_at_every_call_and_for_every_seed_others(tiny_run: Path) -> None:
    run = load_run(tiny_run)
    assert draw_timelines(run) == draw_timelines(run) == draw_timelines(run, run.config.seed)
    other = draw_timelines(run, 1)
    assert other != draw_timelines(run)
    assert sorted(line.user for line in other) == sorted(line.user for line in draw_timelines(run))


def test_a_user_who_is_new_is_predicted_from_the_second_item_on(
    tiny_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = load_run(tiny_run)
    known = max(draw_timelines(run), key=lambda line: line.turns)
    data = load_data(run.config)
    lengths = np.diff(data.offsets)
    keep = np.ones(len(data.items), dtype=bool)
    keep[data.offsets[known.user] : data.offsets[known.user] + known.start] = False
    lengths[known.user] -= known.start
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    cut = replace(data, items=data.items[keep], times=data.times[keep], offsets=offsets)
    monkeypatch.setattr(timelines, "load_data", lambda _config: cut)
    (found,) = (line for line in draw_timelines(run) if line.user == known.user)
    assert (found.start, found.items[0]) == (1, known.items[known.start])


def test_after_the_drift_the_phone_goes_on_as_another_user_does() -> None:
    before = [Timeline(user, [100 * user + k for k in range(10)], 4, 4) for user in range(1, 6)]
    short = Timeline(9, [900, 901, 902, 903, 904], 2, 2)
    after = change_hands([*before, short], AFTER, seed=0)
    assert after == change_hands([*before, short], AFTER, seed=0)
    assert len(after) == len(before), "a phone that is replayed for less is left out"
    owners = []
    for old, new in zip(before, after, strict=True):
        own, foreign = new.items[: new.start + AFTER], new.items[new.start + AFTER :]
        assert (new.user, new.start, own) == (old.user, old.start, old.items[: old.start + AFTER])
        (owner,) = {item // 100 for item in foreign}
        assert owner != old.user
        assert [item % 100 for item in foreign] == list(range(4 + AFTER, 10)), "it continues where they were"
        owners.append(owner)
    assert sorted(owners) == [line.user for line in before], "everyone's turns are predicted once"


def test_a_drift_that_nobody_reaches_is_refused() -> None:
    with pytest.raises(UserError, match="--drift 60: only 0 test users"):
        change_hands([Timeline(1, [1] * 10, 5, 5)] * 3, 60, seed=0)


def test_shards_cover_everything_once() -> None:
    for count, parts in ((10, 3), (7, 7), (100, 2)):
        covered = [skip + k for skip, size in shards(count, parts) for k in range(size)]
        assert covered == list(range(count))
