"""Following a server: trouble is reported by name and tried again, unless only a person can repair it."""

import threading
from pathlib import Path
from typing import Any

import pytest

from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import Reason, Refused
from mnet.toolchain.errors import UserError
from mnet.toolchain.fleet.processes import ServerProcess
from mnet.toolchain.phone import updater
from mnet.toolchain.phone.client import CloudClient, Denied, Offline
from mnet.toolchain.phone.phone import Phone
from mnet.toolchain.phone.request_policies import Every, Never, RequestPolicy
from mnet.toolchain.phone.swapped import Swapped
from mnet.toolchain.phone.updater import Updater


class ScriptedPhone:
    """An enrolled phone whose uploads and polls go as scripted: an exception is raised, all else is returned."""

    def __init__(self, *script: Any, stop: threading.Event | None = None) -> None:
        """Where it is given, `stop` is set with the last step."""
        self.enrolled = True
        self.version = 0
        self.not_made = 0
        self.script = list(script)
        self.stop = stop

    def _next(self) -> Any:
        step = self.script.pop(0)
        if not self.script and self.stop is not None:
            self.stop.set()
        if isinstance(step, Exception):
            raise step
        return step

    def upload(self, client: CloudClient, samples: list[int]) -> int:
        return int(self._next())

    def poll(self, client: CloudClient, wait_s: float) -> Swapped | None:
        swapped = self._next()
        if isinstance(swapped, int):  # the version that does not come
            self.not_made = swapped
            return None
        assert swapped is None or isinstance(swapped, Swapped)
        return swapped


def swapped(version: int) -> Swapped:
    return Swapped(version, "0" * 64, 1, 1.0, 1.0, 0.0, True)


@pytest.fixture
def follow(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a script to its end and return the events; the waits of the back-off are short."""
    monkeypatch.setattr(updater.Backoff, "next", lambda self: 0.001)

    def run(
        *script: Any,
        contexts: list[list[int]],
        policy: RequestPolicy | None = None,
        stop: threading.Event | None = None,
    ) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        phone: Any = ScriptedPhone(*script, stop=stop)
        Updater(
            phone,
            "http://127.0.0.1:1",
            lambda event, **fields: events.append({"event": event, **fields}),
            enrolment_key=None,
            contexts=contexts,
            once=stop is None,
            policy=policy,
        ).run(stop or threading.Event())
        assert phone.script == []
        return events

    return run


def test_every_trouble_is_reported_and_tried_again(follow: Any) -> None:
    events = follow(
        Offline("no route"),
        1,
        Refused(Reason.WRONG_HASH, "a changed byte"),
        Denied(401, "not authorised"),
        None,  # an answer before its time: nobody held the poll
        OSError(28, "No space left on device"),
        swapped(1),
        contexts=[[1, 2]],
    )
    names = ["offline", "uploaded", "refused", "denied", "offline", "not_persisted", "swapped"]
    assert [event["event"] for event in events] == names
    assert events[2]["reason"] == "wrong_hash"


def test_each_context_waits_for_the_version_of_the_one_before(follow: Any) -> None:
    events = follow(4, swapped(3), swapped(4), 5, swapped(6), contexts=[[1], [2]])
    assert [(event["event"], event["version"]) for event in events] == [
        ("uploaded", 4),
        ("swapped", 3),
        ("swapped", 4),
        ("uploaded", 5),
        ("swapped", 6),
    ]
    latencies = [event["upload_to_swap_ms"] is not None for event in events if event["event"] == "swapped"]
    assert latencies == [False, True, True], "version 3 stems from no upload of this process"


def test_a_context_that_gives_nothing_is_waited_for_no_longer(follow: Any) -> None:
    events = follow(1, 1, 2, swapped(2), contexts=[[1], [2]])
    assert [(event["event"], event["version"]) for event in events] == [
        ("uploaded", 1),
        ("not_made", 1),
        ("uploaded", 2),
        ("swapped", 2),
    ]


def test_a_context_that_the_policy_lets_pass_stays_on_the_phone(follow: Any) -> None:
    contexts = [[1], [2], [3], [4]]
    events = follow(Offline("no route"), 1, swapped(1), 2, swapped(2), contexts=contexts, policy=Every(2))
    assert [event["event"] for event in events] == [
        "offline",
        "uploaded",
        "swapped",
        "kept",
        "uploaded",
        "swapped",
        "kept",
    ]
    assert follow(contexts=contexts, policy=Never())[-1]["event"] == "kept"


def test_samples_that_the_server_does_not_know_end_it_only_once(follow: Any) -> None:
    with pytest.raises(UserError, match="unknown item id 7"):
        follow(Denied(422, "unknown item id 7"), contexts=[[7]])


def test_nothing_ends_a_phone_that_is_to_stay(follow: Any) -> None:
    """The samples that nobody can read are dropped, the next ones uploaded; a fault of ours is tried again too."""
    stop = threading.Event()
    events = follow(
        Denied(422, "unknown item id 7"),
        OverflowError("cannot convert float infinity to integer"),
        Denied(403, "not yours"),
        2,
        swapped(2),
        contexts=[[7], [8]],
        stop=stop,
    )
    names = ["denied", "failed", "denied", "uploaded", "swapped"]
    assert [event["event"] for event in events] == names
    assert "OverflowError" in events[1]["detail"]


def test_a_wrong_enrolment_key_ends_it_only_once(
    server: ServerProcess, tiny_bundle: Path, tmp_path: Path
) -> None:
    phone = Phone(Bundle.load(tiny_bundle), tmp_path, lambda event, **fields: None)
    with pytest.raises(UserError, match="--enrolment-key"):
        Updater(phone, server.url, print, enrolment_key=None)
    stop, heard = threading.Event(), []

    def hear(event: str, **fields: Any) -> None:
        heard.append((event, fields["status"]))
        stop.set()

    Updater(phone, server.url, hear, enrolment_key="wrong" * 5).run(stop)
    assert heard == [("denied", 401)]
    with pytest.raises(UserError, match="not authorised"):
        Updater(phone, server.url, print, enrolment_key="wrong" * 5, once=True).run(threading.Event())
    assert not phone.enrolled
