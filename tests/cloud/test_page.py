"""The page at `/` in a real browser: seen at desk and phone width, a roll-out stopped and rolled back by clicking."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from mnet.export.format.bundle import Bundle
from mnet.toolchain.cloud import comparison_text
from mnet.toolchain.cloud.experiment import held_out
from mnet.toolchain.cloud.page_session import opened
from mnet.toolchain.fleet.processes import ServerProcess
from tests.cloud.callers import Caller, Device, enrol, eventually
from tests.mnet_command import Mnet
from tests.report.browser import browsing, find_browser


@pytest.fixture
def rollout(device: Device, bundle: Bundle, operator: Caller) -> int:
    """Of one phone, which has fetched what it brought."""
    version = device.upload([1, 2, 3])
    device.release(bundle.id)
    number = operator.post("/push", {"devices": [device.id], "percent": 100}).json()["rollout"]
    device.release(bundle.id, after=version)
    eventually(lambda: operator.get(f"/rollouts/{number}").json()["state"], "done".__eq__)
    return int(number)


@pytest.fixture
def measured(http: httpx.Client, server: ServerProcess, bundle: Bundle, operator: Caller) -> list[str]:
    """What `mnet ab` says of a roll-out of four phones, some held out, that measured what they had; its cells."""
    devices = [enrol(http, server, bundle) for _ in range(4)]
    had = {device.id: device.upload([1, 2, 3]) for device in devices}
    for device in devices:
        device.release(bundle.id)
    pushed = {"devices": list(had), "percent": 100, "hold_out": 50}
    number = operator.post("/push", pushed).json()["rollout"]
    held = set(held_out(number, 50, had))
    for device in devices:
        release = device.release(bundle.id, after=had[device.id])
        device.get(f"/packs/{release.sha256}")
        value = 1.0 if device.id in held else 1.25
        row = {"version": release.version, "metric": "clicked", "count": 1, "sum": value, "squares": value**2}
        device.put(f"/devices/{device.id}/measurements", {"bundle": bundle.id, "totals": [row]})

    def compared() -> list[Any]:
        found: list[Any] = operator.get(f"/rollouts/{number}/comparison").json()
        return found

    def complete(found: list[Any]) -> bool:
        return bool(found) and found[0]["treated"]["devices"] + found[0]["held_out"]["devices"] == 4

    (found,) = eventually(compared, complete)
    return list(comparison_text.row(found))


def test_the_page_in_a_browser(
    server: ServerProcess,
    measured: list[str],
    rollout: int,
    operator: Caller,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    browser = find_browser()
    if browser is None:
        pytest.skip("no Chromium is installed")
    pictures = request.config.getoption("--screenshots")
    state = f"document.querySelector('#rollout-{rollout} .state').textContent"

    def press(deed: str) -> str:
        form = f"document.querySelector('#rollout-{rollout} form[action$=\"{deed}\"] button')"
        return f"{form}.click()"

    with browsing(browser, tmp_path / "profile") as tab:
        tab.open(server.url, 1280)
        assert "Operator key" in tab.evaluate("document.body.innerText")
        key = server.operator_key.read_text().strip()
        tab.evaluate("document.querySelector('#key').value = 'wrong'")
        tab.follow("document.querySelector('form button').click()")
        assert "not the operator key" in tab.evaluate("document.body.innerText")
        tab.evaluate(f"document.querySelector('#key').value = '{key}'")
        tab.follow("document.querySelector('form button').click()")
        assert tab.evaluate(state) == "done"
        shown = tab.evaluate("document.querySelector('.measured').textContent")
        assert all(text in shown for text in measured), shown
        for width in (1280, 390):
            tab.open(server.url, width)
            assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
            if pictures:
                tab.screenshot(Path(pictures) / f"fleet-{width}.png")
        tab.follow(press("stop"))
        assert tab.evaluate(state) == "stopped"
        tab.follow(press("rollback"))
        assert tab.evaluate(state) in ("rolling back", "rolled back")
        assert {
            url.partition(
                "/",
            )[0]
            for url in tab.requests
        } == {"http:"}
        assert all(url.startswith(server.url) for url in tab.requests), "works offline"
        assert tab.complaints == []
        tab.follow("document.querySelector('header button').click()")
        assert "Operator key" in tab.evaluate("document.body.innerText")
    eventually(lambda: operator.get(f"/rollouts/{rollout}").json()["state"], "rolled back".__eq__)


def test_a_comparison_says_its_interval_as_soon_as_there_is_one() -> None:
    groups = {"devices": 1200, "mean": 0.25, "values": 5000, "within": 0.1}
    difference = {"difference": 0.031, "interval": (0.0112, 0.0508)}
    found = {"metric": "clicked", "treated": groups, "held_out": groups | {"devices": 60}}
    shown = comparison_text.row(found | {"difference": difference})
    assert shown[3:6] == ("+0.031", "+0.0112 to +0.0508", "1,200 and 60")
    few = comparison_text.row(found | {"difference": {"difference": 0.031, "interval": None}})
    assert few[3:5] == ("", "too few phones")
    nobody = comparison_text.row(found | {"difference": None})
    assert nobody[3:5] == ("", "too few phones")


def test_nothing_is_shown_or_done_without_the_key(
    server: ServerProcess, rollout: int, operator: Caller
) -> None:
    with httpx.Client(base_url=server.url) as stranger:
        assert "Roll-out" not in stranger.get("/").text
        for deed in ("stop", "rollback", "extend"):
            assert stranger.post(f"/rollouts/{rollout}/{deed}", data={"percent": "100"}).status_code == 401
        forged = opened("another key", "bootstrap", "")
        stranger.cookies.set("mnet_operator", forged)
        assert "Roll-out" not in stranger.get("/").text
        assert stranger.get("/docs").status_code == 404, "it would load scripts from a CDN"
        headers = stranger.get("/").headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert operator.get(f"/rollouts/{rollout}").json()["state"] == "done"


def test_the_fleet_at_the_command_line(
    http: httpx.Client,
    server: ServerProcess,
    bundle: Bundle,
    rollout: int,
    mnet: Mnet,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    enrol(http, server, bundle)
    monkeypatch.setenv("MNET_SERVER", server.url)
    monkeypatch.setenv("MNET_OPERATOR_KEY", str(server.operator_key))
    code, stdout, stderr = mnet("fleet")
    assert (code, "devices:" in stdout, "done" in stdout) == (0, True, True), stderr
    code, stdout, _ = mnet("fleet", "--json")
    assert (code, '"rollouts"' in stdout) == (0, True)
    code, stdout, _ = mnet("rollback", rollout)
    assert (code, "being rolled back" in stdout) == (0, True)
    code, stdout, _ = mnet("rollback", rollout)
    assert (code, "nothing was left to do" in stdout) == (0, True)
    code, stdout, _ = mnet("history", "--rollout", rollout, "--watch")
    assert (code, "rolled back" in stdout) == (0, True)
    code, _, stderr = mnet("rollback", rollout, "--stop-only")
    assert (code, "rolled back" in stderr) == (2, True)
