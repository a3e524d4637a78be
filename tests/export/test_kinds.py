"""Kinds of generated parameters: all of them in training, and of each target those that take a way of their own.

The whole table is docs/kinds.md, which `python -m tests.export.kinds_table` writes.
"""

import pytest

from tests.export.kinds import KINDS
from tests.export.kinds_table import COLUMNS, PAGE, RIGHT, exported, read, trained, written

BY_NAME = {kind.name: kind for kind in KINDS}


@pytest.mark.parametrize("name", BY_NAME)
def test_packs_at_once_compute_what_each_computes_by_itself(name: str) -> None:
    assert trained(BY_NAME[name]) == RIGHT


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("android", "BatchNorm, affine"),
        ("executorch", "PReLU, one"),
        ("executorch", "Bilinear"),
        ("tflite", "MultiheadAttention"),
        ("onnx", "scale, 0-d"),
        ("ios", "Conv1d"),
        ("ios", "ConvTranspose2d"),
        ("ios", "LayerNorm"),
        ("ios", "RMSNorm"),
        ("ios", "PReLU, per channel"),
        ("ios", "LSTM"),
        ("ios", "weight_norm"),
    ],
)
def test_a_target_computes_what_eager_pytorch_does(target: str, name: str) -> None:
    assert exported(BY_NAME[name], target) == RIGHT


def test_the_page_has_every_kind() -> None:
    page = PAGE.read_text()
    assert written(read(page)) == page
    assert {kind for kind, _ in read(page)} == set(BY_NAME)
    assert all(read(page)[name, "training"] == RIGHT for name in BY_NAME)
    assert set(COLUMNS) == {column for _, column in read(page)}
