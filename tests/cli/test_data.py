"""`mnet data` as a user runs it."""

import json
from pathlib import Path

from typer.testing import CliRunner

from mnet.toolchain.cli.app import app


def test_show_prints_sizes_and_examples(tmp_path: Path) -> None:
    table = tmp_path / "orders.csv"
    table.write_text("user,item,time\neve,tea,2026-01-01\neve,ale,2026-01-03\nbob,tea,2026-01-02\n")
    result = CliRunner().invoke(app, ["data", "show", "table", "--path", str(table), "--json"])
    shown = json.loads(result.stdout)
    assert shown["name"] == "table"
    assert (shown["summary"]["users"], shown["summary"]["items"], shown["summary"]["time"]) == (
        2,
        2,
        "2 days, 2026-01-01 to 2026-01-03 (UTC)",
    )
    assert [row["title"] for row in shown["examples"]] == ["tea", "tea", "ale"]
    for text in ("table", "interactions", "ale", "2026-01-03"):
        assert text in CliRunner().invoke(app, ["data", "show", "table", "--path", str(table)]).stdout


def test_show_leaves_a_contact_sheet_of_pictures(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "photo_sets.py").write_text(
        "class Photos:\n"
        "    name = 'photos'\n"
        "    def summary(self): return {'photos': 2}\n"
        "    def contact_sheet(self, file): file.write_bytes(b'PNG')\n"
        "def load(path): return Photos()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    sheet = tmp_path / "sheet.png"
    result = CliRunner().invoke(app, ["data", "show", "photo_sets:load", "--out", str(sheet)])
    assert sheet.read_bytes() == b"PNG"
    assert "sheet.png" in result.output


def test_get_says_where_it_is() -> None:
    result = CliRunner().invoke(app, ["data", "get", "synthetic-drift"])
    assert result.exit_code == 0
    assert "synthetic-drift needs no download" in result.output
