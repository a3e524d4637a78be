from pathlib import Path

from mnet.export.bench.matrix import COLUMNS, cell_texts, markdown, measure_cell
from tests.export.models import ConvNet, image_spec
from tests.export.ranker import Ranker, ranker_spec


def test_a_cell_holds_what_was_measured(model: Ranker, tmp_path: Path) -> None:
    stages: list[str] = []
    cell = measure_cell(ranker_spec(model), "onnx", tmp_path / "b", swaps=4, stage=stages.append)
    assert (cell["model"], cell["target"], cell["weights"], cell["packs"]) == (
        "ranker",
        "onnx",
        "initializers",
        25,
    )
    assert cell["max_error"] < 1e-4 < cell["output_change"] / 10
    assert min(cell["swap_p50_us"], cell["bind_p50_us"]) > 0
    assert 0.1 < cell["ratio_p50"] < 10
    assert stages[-2:] == ["verifying", "timing 4 swaps"]
    assert (tmp_path / "b" / "manifest.json").is_file()


def test_what_cannot_be_exported_is_a_row_too(tmp_path: Path) -> None:
    model = ConvNet().eval()
    spec = image_spec(model, ("conv.weight",), binding="input")
    cell = measure_cell(spec, "android", tmp_path / "b", swaps=4, stage=lambda _: None)
    assert "belongs to a Conv2d" in cell["refused"]
    table = markdown([cell]).splitlines()
    assert len(table) == 3
    assert len(cell_texts(cell)) == len(COLUMNS) == table[0].count(" | ") + 1
    assert "refused: generated parameter conv.weight" in table[2]
