"""The Swift phone switches between resident packs, on the real runtime."""

import json

from ios.hosttest.judge import Judge
from tests.ios.conftest import VECTORS


def test_what_was_loaded_is_switched_to_and_what_was_swapped_in_stays(judge: Judge) -> None:
    vectors = json.loads((VECTORS / "vectors.json").read_text(encoding="utf-8"))["vectors"]
    (packs,) = (vector["packs"] for vector in vectors if vector["name"] == "swap: two in order")
    found = judge.ask(do="switches", packs=packs)
    assert found["served"] == [
        *("0 -", "0 -", "1 de", "0 -", "1 de", "1 de"),
        "no weights are loaded as de; there are none",
        *("2 -", "stale_version", "0 -"),
    ]
    assert found["same"]
    assert found["different"] == 3
