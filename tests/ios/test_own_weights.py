"""An app's own weights on the Swift phone, on the real runtime, compared with eager PyTorch."""

import base64
import threading

import torch

from ios.hosttest.judge import Judge
from tests.export.ranker import PackFactory, Ranker, random_weights
from tests.vectors.hostile_server import VERSIONS, HostileServer

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
    for step, (name, _, of, _) in zip(found["steps"], expected, strict=True):
        outputs = torch.tensor(step["outputs"]).reshape(1, -1)
        eager = factory.expected(weights[of])
        allowed = bundle.manifest.golden.tolerance * max(1.0, float(eager.abs().max()))
        assert float((outputs - eager).abs().max()) <= allowed, name
