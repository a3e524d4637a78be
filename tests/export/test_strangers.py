"""Whole models of kinds that are common elsewhere, trained, on every target; two outputs of one untrained."""

from pathlib import Path

import pytest
import torch

from mnet.export.exporter import export_bundle
from mnet.export.lowering.spec import ExportSpec
from mnet.export.targets import target_names
from mnet.export.verify import verify_bundle
from mnet.toolchain.cloud.generation import verify_served
from mnet.toolchain.training.run import load_run
from tests.export.strangers import TCN
from tests.training.trained_strangers import STRANGERS, exported, trained


@pytest.mark.parametrize("target", target_names())
@pytest.mark.parametrize("name", STRANGERS)
def test_a_trained_stranger_is_exported_and_verified_with_packs_of_its_run(
    name: str, target: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    run, bundle = load_run(trained(name, tmp_path_factory)), exported(name, target, tmp_path_factory)
    found = verify_bundle(bundle)
    assert found.slots == len(run.generated)
    assert found.max_error < found.tolerance < found.output_change
    verify_served(run, bundle)


def test_a_model_of_two_outputs_is_exported_for_ios_with_ops_that_coremltools_writes(tmp_path: Path) -> None:
    """Two outputs on every target are those of `TwoHeads`, above."""
    torch.manual_seed(0)
    model, inputs = TCN().eval(), tuple((torch.randn(1, 3, 16),) for _ in range(2))
    spec = ExportSpec("TCN", model, TCN.generated, inputs, ("series",), ("classes", "level"))
    bundle = export_bundle(spec, "ios", tmp_path / "b")
    assert len(bundle.manifest.slots) == len(TCN.generated)
