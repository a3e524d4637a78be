"""Replayed users: a push every few interactions, every item ranked by every version."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mnet.export.format.bundle import Bundle
from mnet.toolchain.fleet.processes import ServerProcess
from mnet.toolchain.fleet.simulation import Outcome, Plan, simulate
from mnet.toolchain.fleet.simulation_report import simulation_report
from mnet.toolchain.fleet.timelines import draw_timelines
from mnet.toolchain.tasks.timeline import Timeline
from mnet.toolchain.training.run import load_run

Events = list[dict[str, Any]]


def replay(
    server: ServerProcess, run: Path, bundle: Path, timelines: Sequence[Timeline], *policies: str
) -> tuple[Outcome, Events, dict[str, Any]]:
    """Replay on the shared server: the outcome, its events and its report."""
    loaded, plan, events = load_run(run), Plan(timelines, policies, seed=0), Events()
    at = server.url, server.enrolment_key
    outcome = simulate(loaded, Bundle.load(bundle), plan, events.append, lambda done, of: None, at)
    return outcome, events, simulation_report(loaded, plan, None, outcome)


def test_a_replay_pushes_on_time_and_ranks_every_item(
    server: ServerProcess, tiny_run: Path, tiny_bundle: Path
) -> None:
    run = load_run(tiny_run)
    timeline = draw_timelines(run)[0]
    outcome, events, _ = replay(server, tiny_run, tiny_bundle, [timeline], "always")
    swapped = [event["version"] for event in events if event["event"] == "swapped"]
    predicted = [event for event in events if event["event"] == "predicted"]
    refresh = run.task.refresh
    assert swapped == list(range(1, -(-timeline.turns // refresh) + 1))
    assert [event["turn"] for event in predicted] == list(range(timeline.turns))
    assert [event["step"] - event["turn"] for event in predicted] == [
        timeline.start - timeline.origin
    ] * timeline.turns
    for event in predicted:
        assert event["value"].keys() == {"static", "default", "first", "live"}
        assert all(0 <= value <= 1 for value in event["value"].values())
    # Until the second push the first one is the newest.
    for event in predicted[:refresh]:
        assert event["value"]["first"] == event["value"]["live"]
    assert events[-1] == {"event": "replayed", "user": timeline.user, "policy": "always"}
    assert outcome.harmless
    assert outcome.calm["swapped"] == outcome.calm["accepted"] == len(swapped)


@pytest.mark.parametrize("policy", ["never", "shift"])
def test_a_phone_asks_only_when_its_policy_does(
    server: ServerProcess, tiny_run: Path, tiny_bundle: Path, policy: str
) -> None:
    timeline = min(draw_timelines(load_run(tiny_run)), key=lambda line: line.turns)
    _, _, report = replay(server, tiny_run, tiny_bundle, [timeline], policy)
    result = report["policies"][policy]
    assert result["metric"].keys() == {"static", "default", "live"}
    if policy == "never":
        assert (result["requests"], result["weight_bytes"], result["context_bytes"]) == (0, 0, 0)
        assert result["metric"]["live"] == result["metric"]["default"]
        assert result["swap_us"] is None
    else:
        generated = Bundle.load(tiny_bundle).manifest.generated_bytes
        assert result["weight_bytes"] >= result["requests"] * generated > 0
        assert report["cumulative_bytes"][policy][-1] == result["weight_bytes"]


def test_the_same_seed_gives_the_same_figures_side_by_side_or_alone(
    server: ServerProcess, tiny_run: Path, tiny_bundle: Path
) -> None:
    timelines = draw_timelines(load_run(tiny_run), seed=5)[:2]
    reports = [
        replay(server, tiny_run, tiny_bundle, timelines, *policies)[2]
        for policies in (("always", "every:2"), ("always", "every:2"), ("every:2",))
    ]
    for policy in ("always", "every:2"):
        found = [_seeded(report, policy) for report in reports if policy in report["policies"]]
        assert all(each == found[0] for each in found), policy
    assert _seeded(reports[0], "always") != _seeded(reports[0], "every:2")


def _seeded(report: dict[str, Any], policy: str) -> dict[str, Any]:
    """What a seed fixes: all but how long things took."""
    times = ("swap_us", "upload_to_swap_ms")
    found = {name: value for name, value in report["policies"][policy].items() if name not in times}
    return found | {"quality": report["quality"][policy], "bytes": report["cumulative_bytes"][policy]}
