"""Replayed users: a push every few interactions, every item ranked by every version."""

from pathlib import Path
from typing import Any

import pytest

from export.bundle import Bundle
from toolchain.cloud.keys import read_key
from toolchain.fleet.processes import ServerProcess
from toolchain.fleet.replay import Replay, draw_timelines, recommender, shards
from toolchain.fleet.tally import Tally
from toolchain.training.run import load_run


def test_a_replay_pushes_on_time_and_ranks_every_item(
    server: ServerProcess, tiny_run: Path, tiny_bundle: Path
) -> None:
    run, events = load_run(tiny_run), list[dict[str, Any]]()
    timeline = draw_timelines(run)[0]
    key = read_key(server.enrolment_key)
    replay = Replay(
        run,
        Bundle.load(tiny_bundle),
        server.url,
        key,
        lambda event, **f: events.append({"event": event, **f}),
    )
    replay.run([timeline])
    swapped = [event["version"] for event in events if event["event"] == "swapped"]
    predicted = [event for event in events if event["event"] == "predicted"]
    refresh = recommender(run).settings.refresh
    ahead = len(timeline.items) - timeline.start
    assert swapped == list(range(1, -(-ahead // refresh) + 1))
    assert [event["step"] for event in predicted] == [
        timeline.start - timeline.origin + step for step in range(ahead)
    ]
    for event in predicted:
        assert event["rank"].keys() == {"static", "default", "first", "live"}
        assert all(0 <= rank < recommender(run).candidates for rank in event["rank"].values())
    # Until the second push the first one is the newest.
    for event in predicted[:refresh]:
        assert event["rank"]["first"] == event["rank"]["live"]
    assert events[-1] == {"event": "replayed", "user": timeline.user}


@pytest.mark.parametrize("policy", ["never", "shift"])
def test_a_phone_asks_only_when_its_policy_does(
    server: ServerProcess, tiny_run: Path, tiny_bundle: Path, policy: str
) -> None:
    run, tally = load_run(tiny_run), Tally(lambda event, **fields: None)
    timeline = min(draw_timelines(run), key=lambda line: len(line.items) - line.start)
    key = read_key(server.enrolment_key)
    Replay(run, Bundle.load(tiny_bundle), server.url, key, tally.hear, policy).run([timeline])
    result = tally.result()
    assert result["ndcg"].keys() == {"static", "default", "live"}
    if policy == "never":
        assert (result["requests"], result["bytes"]) == (0, 0)
        assert result["ndcg"]["live"] == result["ndcg"]["default"]
    else:
        assert result["bytes"] >= result["requests"] * Bundle.load(tiny_bundle).manifest.generated_bytes > 0


def test_timelines_are_the_same_at_every_call(tiny_run: Path) -> None:
    run = load_run(tiny_run)
    assert draw_timelines(run) == draw_timelines(run)


def test_shards_cover_everything_once() -> None:
    for count, parts in ((10, 3), (7, 7), (100, 2)):
        covered = [skip + k for skip, size in shards(count, parts) for k in range(size)]
        assert covered == list(range(count))
