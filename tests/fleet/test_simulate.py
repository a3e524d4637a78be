"""`mnet simulate` on a server of its own: a fault on the way, light phones at the same time, and what it leaves."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mnet.export.format.bundle import Bundle
from mnet.toolchain.cli.simulate import command
from mnet.toolchain.errors import UserError
from mnet.toolchain.fleet import faulty_server
from mnet.toolchain.fleet.faulty_server import FAULTS, chosen_faults, spread
from mnet.toolchain.fleet.simulation import Plan, simulate
from mnet.toolchain.fleet.simulation_report import fault_rows
from mnet.toolchain.fleet.timelines import draw_timelines
from mnet.toolchain.training.run import load_run

POLICIES = ("always", "never")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("simulation")


@pytest.fixture(scope="module")
def events(tiny_run: Path, tiny_bundle: Path, out: Path) -> list[dict[str, Any]]:
    """What it prints when the server is killed in the middle and the phones change hands."""
    words = ["simulate", str(tiny_run), "-b", str(tiny_bundle), "--out", str(out), "--json"]
    words += ["--users", "2", "--light", "20", "--drift", "3", "--faults", "server killed"]
    words += [word for policy in POLICIES for word in ("--policy", policy)]
    command = [sys.executable, "-m", "mnet.toolchain.cli", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def of(events: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == name]


def test_a_killed_server_costs_nothing_but_time(events: list[dict[str, Any]]) -> None:
    (fault,) = of(events, "fault")
    assert fault["fault"] == "server killed"
    assert fault["met"] == {"accepted": 2, "offline": 2}
    assert (fault["wrong"], fault["backwards"]) == (0, 0)
    report = of(events, "simulated")[0]
    for policy in POLICIES:
        found = report["policies"][policy]
        assert (found["lost"], found["wrong"], found["backwards"]) == (0, 0, 0)
    turns = {event["turn"] for event in of(events, "swapped")}
    assert min(turns) < fault["turn"] < max(turns)
    assert fault["turn"] not in turns
    assert {event["policy"] for event in of(events, "swapped")} == {"always"}


def test_phones_answer_all_the_while(events: list[dict[str, Any]]) -> None:
    (fault,) = of(events, "fault")
    predicted = of(events, "predicted")
    for policy in POLICIES:
        assert sum(event["turn"] == fault["turn"] for event in predicted if event["policy"] == policy) == 2
    first, second = (
        [e["value"]["static"] for e in predicted if e["policy"] == policy] for policy in POLICIES
    )
    assert first == second, "the same users, in the same order"
    assert len(of(events, "replayed")) == 4


def test_light_phones_fetch(events: list[dict[str, Any]]) -> None:
    light = of(events, "simulated")[0]["light"]
    assert light["phones"] == 20
    # Not to be compared: the server may have kept an upload whose answer was lost when it was killed.
    assert min(light["uploads"], light["fetched"]) > 0
    assert light["bytes"] > 1000 * light["fetched"]
    assert 0 < light["upload_to_fetched_ms"]["p50"] <= light["upload_to_fetched_ms"]["p99"]


def test_it_leaves_figures_and_a_picture(events: list[dict[str, Any]], out: Path) -> None:
    report = json.loads((out / "simulation.json").read_text())
    assert report.pop("made")["version"]
    assert {"event": "simulated", **report} == events[-1]
    assert report["drift"] == 3
    assert (
        len(report["quality"]["turn"]) == len(report["quality"]["static"]) == len(report["quality"]["always"])
    )
    assert report["cumulative_bytes"]["never"][-1] == 0
    assert (out / "simulation.png").read_bytes().startswith(b"\x89PNG")


def test_without_postgresql_it_stands_on_sqlite_and_says_what_it_skips(
    tiny_run: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise UserError("PostgreSQL is not here")

    monkeypatch.setattr(faulty_server, "PostgresServer", missing)
    run = load_run(tiny_run)
    plan = Plan(draw_timelines(run)[:1], ["always"], 0, ["database restarted"])
    outcome = simulate(run, Bundle.load(tiny_bundle), plan, lambda event: None, lambda done, of: None)
    assert outcome.stands_on == "SQLite (PostgreSQL is not here)"
    (row,) = fault_rows(outcome.disturbances)
    assert row[2] == "skipped: PostgreSQL is not here"
    assert outcome.harmless
    assert len(outcome.totals["always"].swap_us) == outcome.fleets["always"].requests > 1


def test_faults_are_spread_evenly_in_seeded_order() -> None:
    assert chosen_faults(["all"]) == list(FAULTS)
    assert chosen_faults(["disk full", "disk full"]) == ["disk full"]
    with pytest.raises(UserError, match="--faults fire: expected all, or one of server killed"):
        chosen_faults(["fire"])
    found = spread(FAULTS, 30, seed=0)
    assert sorted(found.values()) == sorted(FAULTS)
    gaps = [b - a for a, b in zip([0, *found], [*found, 30], strict=True)]
    assert max(gaps) - min(gaps) <= 1
    assert spread(FAULTS, 30, seed=0) == found != spread(FAULTS, 30, seed=1)
    assert set(spread(FAULTS, len(FAULTS) + 1, seed=0)) == set(range(1, len(FAULTS) + 1))
    with pytest.raises(UserError, match="need at least 11 chances"):
        spread(FAULTS, len(FAULTS), seed=0)


def test_mistakes_are_named(tiny_run: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    at = {"server": "http://127.0.0.1:9", "enrolment_key": key}
    for option, wrong in (("--light", {"light": 3}), ("--faults", {"faults": ["all"]})):
        with pytest.raises(UserError, match=f"{option} needs its own server"):
            command(tiny_run, tiny_bundle, **at, **wrong)
    with pytest.raises(UserError, match="--server and --enrolment-key go together"):
        command(tiny_run, tiny_bundle, server="http://127.0.0.1:9")
    key.write_text("k" * 43)
    with pytest.raises(UserError, match="the phones cannot enrol"):
        command(tiny_run, tiny_bundle, **at, users=1)
    with pytest.raises(UserError, match="only 0 test users are left"):
        command(tiny_run, tiny_bundle, users=1, skip=1000)
    with pytest.raises(UserError, match="only 0 test users have more than 1000 predictions"):
        command(tiny_run, tiny_bundle, drift=1000)
    words = ["simulate", tiny_run, "-b", tiny_bundle, "--faults", "fire"]
    done = subprocess.run([sys.executable, "-m", "mnet.toolchain.cli", *map(str, words)], capture_output=True)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
