"""Whole models of kinds that are common elsewhere, on every target; a causal language model is in `test_kinds`."""

from pathlib import Path

import pytest
from torch import nn

from mnet.export.exporter import export_bundle
from mnet.export.targets import target_names
from tests.export.strangers import TCN, Encoder, MobileNet, stranger


@pytest.mark.parametrize("target", target_names())
@pytest.mark.parametrize("kind", [MobileNet, TCN, Encoder])
def test_a_strangers_model_is_exported_and_verified(
    kind: type[nn.Module], target: str, tmp_path: Path
) -> None:
    if kind is Encoder:
        pytest.importorskip("transformers", reason="the encoder is one of transformers")
    bundle = export_bundle(stranger(kind), target, tmp_path / "b")
    assert len(bundle.manifest.slots) == len(kind.generated)
