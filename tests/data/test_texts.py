"""Texts by device: the plays, a folder and a table, read as they are written or refused by name."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mnet.toolchain.data import load_data_set
from mnet.toolchain.data.texts import Texts
from mnet.toolchain.errors import UserError

PLAY = "First Citizen:\nSpeak, speak.\n\nAll:\nResolved.\nresolved.\n\nFirst Citizen:\nYou know\nthe man.\n"
TWO = Texts("x", ("b", "a"), (("one", "three"), ("two\nlines",)))


def test_a_role_is_a_device_and_a_speech_its_text(tmp_path: Path) -> None:
    file = tmp_path / "input.txt"
    file.write_text(PLAY)
    data = load_data_set("shakespeare", file)
    assert isinstance(data, Texts)
    assert dict(zip(data.devices, data.texts, strict=True)) == {
        "First Citizen": ("Speak, speak.", "You know\nthe man."),
        "All": ("Resolved.\nresolved.",),
    }
    assert data.summary() == {"devices": 2, "texts": 3, "bytes": 49, "median bytes of a device": 30}
    file.write_text("No role here\nat all\n")
    with pytest.raises(UserError, match="expected a speech under the name of a role"):
        load_data_set("shakespeare", file)


def test_a_folder_holds_a_file_or_a_folder_for_each_device(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.txt").write_text("two\nlines")
    (tmp_path / "b.txt").write_bytes(b"one\r\n\r\nthree")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "notes.md").write_text("no text of anybody's")
    data = load_data_set("text-folder", tmp_path)
    assert isinstance(data, Texts)
    assert (data.devices, data.texts) == (("a", "b"), (("two\nlines",), ("one", "three")))
    (tmp_path / "c.txt").write_bytes(b"\xff")
    with pytest.raises(UserError, match=r"c\.txt cannot be read as UTF-8"):
        load_data_set("text-folder", tmp_path)


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet"])
def test_a_table_has_a_row_for_each_text(tmp_path: Path, ending: str) -> None:
    file, rows = tmp_path / f"t.{ending}", [("b", "one"), ("a", "two\nlines"), ("b", "three")]
    columns = {"who": [who for who, _ in rows], "n": [1, 2, 3], "text": [text for _, text in rows]}
    if ending == "parquet":
        pq.write_table(pa.table(columns), file)
    else:
        tab = "\t" if ending == "tsv" else ","
        file.write_text(
            "".join(f'{who}{tab}{n}{tab}"{text}"\n' for who, n, text in zip(*columns.values(), strict=True))
        )
        file.write_text(f"who{tab}n{tab}text\n" + file.read_text())
    data = load_data_set("text-table", file, columns={"device": "who"})
    assert isinstance(data, Texts)
    assert (data.devices, data.texts) == (TWO.devices, TWO.texts)
    with pytest.raises(UserError, match="device"):
        load_data_set("text-table", file)
    with pytest.raises(UserError, match=r"data\.columns\.user: known are device, text"):
        load_data_set("text-table", file, columns={"user": "who"})


def test_what_is_no_text_is_refused_by_its_place(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("device,text\na,fine\n,whose\n")
    with pytest.raises(UserError, match="row 2 after the header lacks its device"):
        load_data_set("text-table", file)
    file.write_text("device,text\na,\n")
    with pytest.raises(UserError, match="there are no texts"):
        load_data_set("text-table", file)
    with pytest.raises(UserError, match="NUL"):
        Texts.of("x", [("a", "b\0")])
    for name in ("shakespeare", "text-folder", "text-table"):
        with pytest.raises(UserError, match=name):
            load_data_set(name, tmp_path / "absent")
