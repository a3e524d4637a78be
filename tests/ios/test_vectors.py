"""The Swift phone must judge every vector, and lead every conversation, as the host phone does (`tests/vectors`)."""

import json
from typing import Any

import pytest

from ios.hosttest.judge import Judge
from tests.ios.conftest import VECTORS
from tests.vectors.scripted_server import ScriptedServer

CONVERSATIONS = json.loads((VECTORS / "conversations.json").read_text(encoding="utf-8"))["vectors"]


def test_the_swift_phone_gives_the_verdicts(judge: Judge) -> None:
    vectors = json.loads((VECTORS / "vectors.json").read_text(encoding="utf-8"))["vectors"]
    assert judge.ask(do="vectors")["verdicts"] == {vector["name"]: vector["verdict"] for vector in vectors}


@pytest.mark.parametrize("vector", CONVERSATIONS, ids=lambda vector: vector["name"])
def test_the_swift_phone_leads_the_conversation(vector: dict[str, Any], judge: Judge) -> None:
    judge.ask(do="conversation")
    with ScriptedServer() as server:
        for number, step in enumerate(vector["steps"]):
            server.answers = {route: list(answers) for route, answers in step["answers"].items()}
            server.requests.clear()
            told = {name: value for name, value in step.items() if name != "answers"}
            found = {**judge.ask(do="step", step=told, url=server.url), "requests": list(server.requests)}
            assert found == {name: step[name] for name in found}, f"step {number}: {step['do']}"
