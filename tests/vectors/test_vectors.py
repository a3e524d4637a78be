"""The host phone must judge every vector as it says; `tests/android` and `tests/ios` ask it of the others."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.vectors.judge import verdict

FOLDER = Path(__file__).parent
CONTENT = json.loads((FOLDER / "vectors.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("vector", CONTENT["vectors"], ids=lambda vector: vector["name"])
def test_the_host_phone_gives_the_verdict(vector: dict[str, Any], tmp_path: Path) -> None:
    bundle = FOLDER / "exported" / vector.get("bundle", "ranker")
    assert verdict(vector, CONTENT["phone"], bundle, tmp_path) == vector["verdict"]


def test_most_vectors_are_bad_and_each_has_its_own_name() -> None:
    names = {vector["name"] for vector in CONTENT["vectors"]}
    assert len(names) == len(CONTENT["vectors"]) >= 200
    what = [vector["verdict"] for vector in CONTENT["vectors"] if vector["kind"] != "asks"]
    assert sum(verdict != "accepted" for verdict in what) >= 150
