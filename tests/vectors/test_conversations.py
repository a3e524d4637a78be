"""The host phone must lead every conversation as written; `tests/android` and `tests/ios` ask it of the others."""

import json
from pathlib import Path
from typing import Any

import pytest

from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import Refused
from mnet.toolchain.contract.keys import Roots
from mnet.toolchain.phone.client import CloudClient, Denied, Offline
from mnet.toolchain.phone.phone import Phone
from tests.vectors.scripted_server import ScriptedServer

FOLDER = Path(__file__).parent
CONTENT = json.loads((FOLDER / "conversations.json").read_text(encoding="utf-8"))


class Conversation:
    """A phone on its state folder, the server that it talks to, and its owner, who does what the steps say."""

    def __init__(self, server: ScriptedServer, state: Path) -> None:
        self._server, self._state = server, state
        self._bundle = Bundle.load(FOLDER / "exported" / "ranker")
        self._clock = 0
        self._roots: Roots | None = None
        self.phone: Phone | None = None

    def judge(self, step: dict[str, Any]) -> dict[str, Any]:
        """Do a step; the requests, outcome, version and staleness that came of it."""
        self._clock = step["clock"]
        self._server.answers = {route: list(answers) for route, answers in step["answers"].items()}
        self._server.requests.clear()
        for name, content in step.get("damaged", {}).items():
            if content is None:
                (self._state / name).unlink()
            else:
                (self._state / name).write_text(content)
        if "roots" in step:
            self._roots = None if step["roots"] is None else Roots.checked(step["roots"])
        if self.phone is None or step["do"] == "restart":
            self.close()
            told = self._bundle, self._state, lambda *_, **__: None, lambda: self._clock
            self.phone = Phone(*told, self._roots)
        outcome = self._outcome(self.phone, step)
        found = {"outcome": outcome, "version": self.phone.version, "stale": self.phone.stale}
        return {"requests": list(self._server.requests), **found}

    def close(self) -> None:
        """End the phone."""
        if self.phone is not None:
            self.phone.close()

    def _outcome(self, phone: Phone, step: dict[str, Any]) -> str:
        do = step["do"]
        with CloudClient(self._server.url) as client:
            try:
                if do == "poll":
                    return "nothing" if phone.poll(client, 0) is None else "swapped"
                if do == "enrol":
                    phone.enrol(client, "enrolment-key")
                elif do == "upload":
                    phone.upload(client, [1, 2, 3])
                elif do == "measure":
                    for metric, value in step["values"]:
                        phone.report(metric, value)
            except Offline:
                return "offline"
            except ValueError:
                return "invalid"
            except Denied as denial:
                return f"denied {denial.status}"
            except Refused as refusal:
                return f"refused {refusal.reason}"
        return "done"


@pytest.mark.parametrize("vector", CONTENT["vectors"], ids=lambda vector: vector["name"])
def test_the_host_phone_leads_the_conversation(vector: dict[str, Any], tmp_path: Path) -> None:
    with ScriptedServer() as server:
        conversation = Conversation(server, tmp_path / "phone")
        for number, step in enumerate(vector["steps"]):
            found = conversation.judge(step)
            assert found == {name: step[name] for name in found}, f"step {number}: {step['do']}"
        conversation.close()


def test_there_are_conversations_of_every_kind() -> None:
    names = [vector["name"] for vector in CONTENT["vectors"]]
    assert len(set(names)) == len(names) >= 50
    steps = [step for vector in CONTENT["vectors"] for step in vector["steps"]]
    assert {step["do"] for step in steps} == {"enrol", "upload", "poll", "measure", "restart"}
    assert sum(step["stale"] for step in steps) >= 10
