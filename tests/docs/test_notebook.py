"""docs/notebook.ipynb runs from its first cell to its last, and is kept without outputs."""

from pathlib import Path

import pytest

from tests.docs.markdown import ROOT


def test_every_cell(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    client = pytest.importorskip("nbclient", reason="nbclient, which runs notebooks, is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    pytest.importorskip("peft", reason="PEFT is not installed")
    notebook = nbformat.read(ROOT / "docs" / "notebook.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs for cell in cells)
    resources = {"metadata": {"path": str(tmp_path)}}
    client.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    assert "head.weight" in str(cells[2].outputs)
    assert "version 1, swapped in" in str(cells[3].outputs)
