"""What the system refuses, and input nested without end, is one line and exit code 2 in every verb."""

import sys
from pathlib import Path

import pytest
from PIL import Image

from mnet.toolchain.cli.app import main


def failing(
    arguments: list[object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """The one line that `mnet ARGUMENTS` ends with."""
    monkeypatch.setattr(sys, "argv", ["mnet", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    errors = capsys.readouterr().err.splitlines()
    assert sum(line.startswith("error: ") for line in errors) == 1, errors
    return errors[-1]


@pytest.fixture
def blocked(tmp_path: Path) -> Path:
    """A folder that cannot be made: a file is where its parent should be."""
    (tmp_path / "file").write_text("in the way")
    return tmp_path / "file" / "folder"


@pytest.mark.parametrize(
    "arguments",
    [
        ["growth", "-o"],
        ["ablate", "synthetic-drift/sasrec", "-o"],
        ["train", "synthetic-drift/sasrec", "-o"],
        ["demo", "-o"],
        ["keys", "create", "--state"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_file_where_a_folder_should_be(
    arguments: list[object],
    blocked: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = failing([*arguments, blocked], monkeypatch, capsys)
    assert str(blocked.parent) in line
    assert "Not a directory" in line


@pytest.mark.parametrize("verb", ["export", "matrix", "bench", "faults", "simulate", "report"])
def test_the_verbs_that_read_a_run(
    verb: str,
    blocked: Path,
    tiny_run: Path,
    tiny_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options: dict[str, list[object]] = {
        "export": [tiny_run, "--target", "android"],
        "matrix": [tiny_run, "--target", "onnx"],
        "bench": [tiny_bundle],
        "faults": [tiny_run, "-b", tiny_bundle],
        "simulate": [tiny_run, "-b", tiny_bundle],
        "report": [tiny_bundle, "--swaps", "2"],
    }
    line = failing([verb, *options[verb], "-o", blocked], monkeypatch, capsys)
    assert str(blocked.parent) in line


def test_a_contact_sheet_that_cannot_be_written(
    blocked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(80):
        folder = tmp_path / "photos" / ("[dog]" if number % 2 else "[b]cat")
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (3 * number, 0, 0)).save(folder / f"{number}.png")
    shown = ["data", "show", "image-folder", "--path", tmp_path / "photos"]
    line = failing([*shown, "--out", blocked / "sheet.png"], monkeypatch, capsys)
    assert "sheet.png" in line
    monkeypatch.setattr(sys, "argv", ["mnet", *map(str, shown), "--out", str(tmp_path / "x [bold]y.png")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert "x [bold]y.png" in capsys.readouterr().out


def test_a_config_nested_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "deep.yaml").write_text("a: " + "[" * 20_000)
    line = failing(["train", tmp_path / "deep.yaml"], monkeypatch, capsys)
    assert "deep.yaml" in line
    assert "nested too deeply" in line


def test_items_that_look_like_markup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "taken.csv"
    table.write_text("user,item,time\neve,[/b]x,1\neve,[red],2\nbob,[/b]x,3\n")
    monkeypatch.setattr(sys, "argv", ["mnet", "data", "show", "table", "--path", str(table)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "[/b]x" in printed
    assert "[red]" in printed
