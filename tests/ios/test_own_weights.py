"""An app's own weights on the Swift phone, on the real runtime, compared with eager PyTorch."""

import base64
import json
import threading

import torch

from ios.hosttest.judge import Judge
from mnet.export.format.bundle import Bundle
from tests.export.ranker import PackFactory, Ranker, random_weights
from tests.ios.conftest import VECTORS
from tests.vectors.hostile_server import EXPORTED, VERSIONS, HostileServer
from tests.vectors.scripted_server import ScriptedServer

OWN, TRIED = 5, VERSIONS + 1


def test_own_weights_answer_as_eager_pytorch_and_neither_hide_a_release_nor_are_measured_as_one(
    judge: Judge,
) -> None:
    server = HostileServer(seed=31)
    server.honest = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    torch.manual_seed(0)
    bundle, factory = server.bundle, PackFactory(server.bundle, Ranker(items=50, width=4).eval())
    weights = {"default": bundle.default_weights, "release": random_weights(bundle, VERSIONS)}
    weights |= {"own": random_weights(bundle, 101), "tried": random_weights(bundle, 102)}
    packs = [factory.pack(weights["own"], OWN), factory.pack(weights["tried"], TRIED)]
    try:
        found = judge.ask(do="own", url=server.url, packs=[base64.b64encode(pack).decode() for pack in packs])
    finally:
        server.shutdown()
        server.server_close()
    expected = [
        ("nothing is loaded", "0 -", "default", False),
        ("load", "0 -", "default", False),
        ("use", f"{OWN} mine", "own", False),
        ("poll", f"{VERSIONS} -", "release", True),
        ("use again", f"{OWN} mine", "own", False),
        ("unload", f"{OWN} mine", "own", False),
        ("use nothing", f"{VERSIONS} -", "release", True),
        ("try a pack", f"{TRIED} -", "tried", False),
        ("restart", f"{VERSIONS} -", "release", True),
    ]
    steps = [(step["step"], step["served"], step["counts"]) for step in found["steps"]]
    assert steps == [(name, served, counts) for name, served, _, counts in expected]
    # A release above it may come, whatever was tried.
    assert json.loads(found["left"]) == VERSIONS
    for step, (name, _, of, _) in zip(found["steps"], expected, strict=True):
        outputs = torch.tensor(step["outputs"]).reshape(1, -1)
        eager = factory.expected(weights[of])
        allowed = bundle.manifest.golden.tolerance * max(1.0, float(eager.abs().max()))
        assert float((outputs - eager).abs().max()) <= allowed, name


def test_that_its_weights_are_stale_a_phone_says_of_the_release_whatever_the_app_tries(judge: Judge) -> None:
    vectors = json.loads((VECTORS / "conversations.json").read_text(encoding="utf-8"))["vectors"]
    (steps,) = (vector["steps"] for vector in vectors if vector["name"].startswith("without a network"))
    torch.manual_seed(0)
    bundle = Bundle.load(EXPORTED)
    pack = PackFactory(bundle, Ranker(items=50, width=4).eval()).pack(random_weights(bundle, 102), TRIED)
    tries = {"do": "try", "clock": steps[1]["clock"], "pack": base64.b64encode(pack).decode()}
    judge.ask(do="conversation")
    with ScriptedServer() as server:
        for step in (*steps[:2], tries, steps[2]):
            server.answers = {route: list(answers) for route, answers in step.get("answers", {}).items()}
            server.requests.clear()
            told = {name: value for name, value in step.items() if name != "answers"}
            found = judge.ask(do="step", step=told, url=server.url)
        assert (found["version"], found["stale"]) == (TRIED, True)
        assert server.requests[-1] == "report 0 stale"
