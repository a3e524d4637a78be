"""Vectors about the request policy: its file, and when a phone asks that goes by it."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from mnet.export.format.shift import Shift
from mnet.toolchain.training.shift import asks_by_shift
from tests.vectors.vector import Vector, base64_text

# What the bundle `ranker` carries, of ids 1 to 9, and `convnet`, of vectors of three numbers.
IDS = Shift("ids", torch.tensor([[0.0, 0.0], *([k / 8, 1.0 - k / 8] for k in range(9))]), 2.0, 0.05)
VECTORS = Shift("vectors", torch.tensor([[1.0, 0.5], [-0.25, 2.0], [0.0, 0.75]]), 3.0, 0.75)
WINDOW = 5


def policy_vectors() -> Iterator[Vector]:
    """Files of a request policy, and what is none."""
    good = IDS.to_bytes()
    facts = {"schema": "mnet.policy/1", "samples": "ids", "half_life": 2.0, "threshold": 0.05}
    tensors = {"projection": IDS.projection}

    def vector(name: str, verdict: str, file: bytes) -> Vector:
        return {
            "name": f"policy: {name}",
            "kind": "policy",
            "file": base64_text(file),
            "verdict": verdict,
        }

    def written(text: str | None = None, tensors: dict[str, Tensor] = tensors, **changed: Any) -> bytes:
        return safetensors.torch.save(tensors, {"mnet": text or json.dumps(facts | changed)})

    yield vector("of ids", "accepted", good)
    yield vector("of vectors", "accepted", VECTORS.to_bytes())
    yield vector("whole numbers", "accepted", written(half_life=2, threshold=0))
    yield vector("a tensor more", "accepted", written(tensors=tensors | {"more": torch.zeros(2)}))
    for name, file in {
        "empty": b"",
        "cut": good[:-1],
        "a byte behind": good + b"\0",
        "without facts": safetensors.torch.save(tensors),
        "facts no JSON": written("{'schema': 1}"),
        "facts a list": written("[]"),
        "of another schema": written(schema="mnet.policy/2"),
        "of other samples": written(samples="words"),
        "a fact more": written(surprise=1),
        "a fact less": written(json.dumps({k: v for k, v in facts.items() if k != "threshold"})),
        "half-life 0": written(half_life=0.0),
        "half-life as text": written(half_life="2"),
        "half-life true": written(half_life=True),
        "half-life infinite": written(json.dumps(facts).replace("2.0", "1e999")),
        "threshold negative": written(threshold=-0.1),
        "threshold null": written(threshold=None),
        "no projection": written(tensors={"map": IDS.projection}),
        "projection a vector": written(tensors={"projection": torch.ones(3)}),
        "projection in fp64": written(tensors={"projection": IDS.projection.double()}),
        "projection in fp16": written(tensors={"projection": IDS.projection.half()}),
        "projection with a NaN": replace(IDS, projection=IDS.projection * torch.nan).to_bytes(),
    }.items():
        yield vector(name, "bundle_error", file)


def asks_vectors() -> Iterator[Vector]:
    """Streams of samples, each of which is a chance to ask, with what a phone does at each."""

    def vector(
        name: str, verdict: str, samples: Sequence[Any], policy: str = "shift", **fields: Any
    ) -> Vector:
        stream = {"policy": policy, "samples": samples, "window": WINDOW, "state": None, "restarts": []}
        return {
            "name": f"asks: {name}",
            "kind": "asks",
            "bundle": "ranker",
            **stream,
            **fields,
            "verdict": verdict,
        }

    # Moving from item 1 to item 9, the statistic goes from (0, 1) over (0.39, 0.61), (0.61, 0.39), … to (1, 0).
    steady, moved = [1, 1, 1, 1], [1, 1, 1, 9, 9, 9, 9, 9]
    yield vector("never", "wait wait wait", [1, 2, 3], "never")
    yield vector("always", "ask ask ask", [1, 2, 3], "always")
    yield vector("every third", "ask wait wait ask wait", [1, 2, 3, 4, 5], "every:3")
    yield vector("every third, restarted", "ask wait ask wait", [1, 2, 3, 4], "every:3", restarts=[2])
    for name in ("", "every", "every:0", "every:-1", "every:1.5", "every: 2", "Shift", "sometimes"):
        yield vector(f"no policy {name!r}", "user_error", [1], name)
    yield vector("shift, in a bundle without", "user_error", [1], bundle="separable")
    yield vector("the same all along", "ask wait wait wait", steady)
    yield vector("the same, restarted", "ask wait wait wait", steady, restarts=[1, 3])
    yield vector("moved", "ask wait wait ask ask ask wait ask", moved)
    yield vector("moved, restarted", "ask wait wait ask ask ask wait ask", moved, restarts=[1, 2, 4, 6, 7])
    kept = json.dumps(IDS.statistic(torch.tensor([[1]]))[0].tolist())
    yield vector("the statistic kept", "wait wait ask", [1, 1, 9], state=kept)
    for name, state in {
        "damaged": "[0.5, ",
        "empty": "",
        "of another length": "[0.5]",
        "nested": "[[0.0, 1.0]]",
        "as text": '["0.0", "1.0"]',
        "not finite": "[1e999, 1.0]",
        "an object": '{"0": 0.0}',
    }.items():
        yield vector(f"the statistic kept is {name}", "ask wait", [1, 1], state=state)
    yield vector("an unknown id", "user_error", [1, 10])
    yield vector("a negative id", "user_error", [1, -1])
    yield vector("vectors for ids", "user_error", [[1.0, 2.0, 3.0]])
    yield vector("ids for vectors", "user_error", [1, 2], bundle="convnet")
    yield vector("vectors of another length", "user_error", [[1.0, 2.0]], bundle="convnet")
    zero = [0.0, 0.0, 0.0]
    yield vector("a zero vector is no sample", "ask wait", [[1.0, 2.0, 3.0], zero], bundle="convnet")
    yield from _drifting(vector)


def _drifting(vector: Callable[..., Vector]) -> Iterator[Vector]:
    """Long streams, their asks by what `mnet policies` goes by: the statistics of all chances at once."""
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(1, 10, (40,), generator=generator)
    walk = torch.randn(40, 3, generator=generator).cumsum(dim=0) / 2
    for name, shift, samples in (("ranker", IDS, ids), ("convnet", VECTORS, walk)):
        ends = range(1, len(samples) + 1)
        statistics = torch.cat([shift.statistic(samples[None, max(0, end - WINDOW) : end]) for end in ends])
        asks, last, done = asks_by_shift(statistics.numpy(), shift.threshold), -1, []
        for now in range(len(samples)):
            done.append("ask" if asks(now, last) else "wait")
            last = now if done[-1] == "ask" else last
        fields = {"bundle": name, "restarts": [7, 8, 21]}
        yield vector(f"a long stream for {name}", " ".join(done), samples.tolist(), **fields)
