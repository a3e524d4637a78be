"""Conversations about what an app measures: which totals a phone sends, when, and what it keeps of them."""

from collections.abc import Iterator
from typing import Any

from mnet.toolchain.contract.measurement import LARGEST, METRICS, RELEASES
from tests.vectors.script import Script, Server, answer


def measurements(server: Server) -> Iterator[Script]:
    """All of them."""
    script = Script(server, "what is measured is sent once, and again after a restart").enrolled()
    _measure(script, ["clicked", 1])
    script.poll_nothing(stated=True)
    script.poll_release(1, "swapped")
    _measure(script, ["clicked", 1], ["rating", -2], ["clicked", 0.5])
    _poll(script, "measured 1 clicked 2 1.5 1.25, 1 rating 1 -2 4")
    _poll(script)
    _measure(script, ["clicked", 0.25])
    _poll(script, "measured 1 clicked 3 1.75 1.3125")
    script.step("restart", "done", [])
    _measure(script, ["rating", 2])
    _poll(script, "measured 1 clicked 3 1.75 1.3125, 1 rating 2 0 8", keys=True)
    yield script

    script = Script(server, "what is measured waits for a network, release by release").enrolled()
    totals = list[str]()
    for version in range(1, RELEASES + 2):
        sending = [f"measured {', '.join(totals[-RELEASES:])}"] if totals else []
        answers = {
            "release": answer(200, {"release": server.release(version)}),
            "pack": answer(200, server.pack(version)),
            "report": answer(204),
            "measured": answer(503),
        }
        requests = [*sending, server.asked(version - 1), "pack", f"report {version} taken"]
        script.step("poll", "swapped", requests, answers, version=version)
        _measure(script, ["clicked", version])
        totals.append(f"{version} clicked 1 {version} {version**2}")
    _poll(script, f"measured {', '.join(totals[-RELEASES:])}")
    yield script

    script = Script(server, "what a server will not have is not sent again until it changes").enrolled()
    script.poll_release(1, "swapped")
    _measure(script, ["clicked", 1])
    _poll(script, "measured 1 clicked 1 1 1", status=404)
    _poll(script)
    _measure(script, ["clicked", 1])
    _poll(script, "measured 1 clicked 2 2 2")
    yield script

    script = Script(server, "what nobody would take is not measured").enrolled()
    script.poll_release(1, "swapped")
    for metric, value in (
        ("clicked", LARGEST + 1),
        ("clicked", -LARGEST - 1),
        ("clicked", 1e300),
        ("", 1),
        ("Clicked", 1),
        ("a metric", 1),
        ("x" * 65, 1),
        ("clicked\n", 1),
    ):
        _measure(script, [metric, value], outcome="invalid")
    for number in range(METRICS):
        _measure(script, [f"m{number:02}", LARGEST])
    _measure(script, ["one-more", 1], outcome="invalid")
    sent = ", ".join(f"1 m{number:02} 1 1000000 1000000000000" for number in range(METRICS))
    _poll(script, f"measured {sent}")
    yield script

    for name, content in (
        ("empty", ""),
        ("no list", "{}"),
        ("totals that cannot be", '[[1,"clicked",1,9e9,1]]'),
        ("half a count", '[[1,"clicked",1.5,1.0,1.0]]'),
        ("beyond all numbers", '[[1,"clicked",1,1e999,1.0]]'),
        ("gone", None),
    ):
        script = Script(server, f"the file of measurements is damaged: {name}").enrolled()
        script.poll_release(1, "swapped")
        _measure(script, ["clicked", 1])
        script.step("restart", "done", [], damaged={"measurements.json": content})
        _measure(script, ["rating", 3])
        _poll(script, "measured 1 rating 1 3 9", keys=True)
        yield script


def _measure(script: Script, *values: list[Any], outcome: str = "done") -> None:
    script.step("measure", outcome, [], values=list(values))


def _poll(script: Script, *sent: str, status: int = 204, keys: bool = False) -> None:
    """A poll that brings nothing, before which the phone has `sent` what was measured."""
    script.poll_nothing(stated=True, keys=keys)
    step = script.steps[-1]
    step["requests"] = [*sent, *step["requests"]]
    content = None if status == 204 else {"detail": "nothing there"}
    step["answers"]["measured"] = [answer(status, content)]
