"""What an app measures: counted for the release that runs, small, and kept."""

import json
import math
import threading
from pathlib import Path

import pytest

from mnet.toolchain.contract.measurement import LARGEST, METRICS, RELEASES, Totals
from mnet.toolchain.phone.client import CloudClient, Identity
from mnet.toolchain.phone.measurements import Measurements
from tests.vectors.script import answer
from tests.vectors.scripted_server import ScriptedServer

PHONE = Identity(device="d", bundle="b" * 64, token="d.secret", keys={"keys": []})


def sent(measurements: Measurements, status: int = 204) -> list[str]:
    """What a server is asked at the next poll."""
    with ScriptedServer() as server, CloudClient(server.url) as client:
        server.answers = {"measured": [answer(status)]}
        measurements.send(client, PHONE)
        return server.requests


def test_totals_of_each_release_are_sent_once_and_outlive_a_restart(tmp_path: Path) -> None:
    measurements = Measurements(tmp_path / "m.json")
    for version, value in ((0, 5.0), (1, 2.0), (1, -1.0), (2, 0.5)):
        measurements.add(version, "clicked", value)
    first = ["measured 1 clicked 2 1 5, 2 clicked 1 0.5 0.25"]
    assert sent(measurements, 503) == first, "the default weights are of no release"
    assert sent(measurements) == first, "it was not heard"
    assert sent(measurements) == []
    measurements.add(2, "clicked", 0.5)
    again = Measurements(tmp_path / "m.json")
    assert sent(measurements) == ["measured 2 clicked 2 1 0.5"]
    assert sent(again) == ["measured 1 clicked 2 1 5, 2 clicked 2 1 0.5"], "which changes nothing there"
    measurements.clear()
    assert sent(Measurements(tmp_path / "m.json")) == []


def test_it_stays_small(tmp_path: Path) -> None:
    measurements = Measurements(tmp_path / "m.json")
    for version in range(1, 20):
        for metric in range(METRICS):
            measurements.add(version, f"m{metric}", LARGEST)
        with pytest.raises(ValueError, match="at most 16"):
            measurements.add(version, "one-more", 1)
    assert len(json.loads((tmp_path / "m.json").read_text())) == RELEASES * METRICS
    assert (tmp_path / "m.json").stat().st_mode & 0o77 == 0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1.1 * LARGEST])
def test_no_server_would_take_it(tmp_path: Path, value: float) -> None:
    measurements = Measurements(tmp_path / "m.json")
    with pytest.raises(ValueError, match="finite"):
        measurements.add(1, "clicked", value)
    for metric in ("", "Clicked", "x" * 65, "clicked\n"):
        with pytest.raises(ValueError, match="metric"):
            measurements.add(1, metric, 1)
    assert sent(measurements) == []


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[",
        "{}",
        "[[1]]",
        '[[1, "a", 1, 9e9, 0]]',
        '[[1, "a", 1.5, 0, 0]]',
        "[" * 10_000,
        '[[1,"a",1,1e999,0]]',
    ],
)
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "m.json").write_text(content)
    measurements = Measurements(tmp_path / "m.json")
    measurements.add(1, "clicked", 1)
    assert sent(measurements) == ["measured 1 clicked 1 1 1"]


def test_no_value_is_lost_between_threads(tmp_path: Path) -> None:
    measurements = Measurements(tmp_path / "m.json")

    def add() -> None:
        for _ in range(100):
            measurements.add(1, "clicked", 1)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sent(measurements) == ["measured 1 clicked 400 400 400"]


def test_which_totals_can_be() -> None:
    assert Totals(3, 6.0, 14.0).possible
    assert Totals(1, LARGEST, LARGEST**2).possible
    for count, total, squares in (
        (0, 0.0, 0.0),
        (1, 2.0, 1.0),
        (2, 3e6, 9e12),
        (1, math.nan, 1.0),
        (1, 0.0, -1.0),
    ):
        assert not Totals(count, total, squares).possible
