"""A thousand damaged files of each kind: read as what they now say, or refused in one line that names the file.

A change that leaves a well-formed file (a digit for a digit) looks like other data: what is read then must be what an
independent reader reads in it.
"""

import csv
import random
from collections.abc import Callable
from io import BytesIO, StringIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from PIL import Image

from mnet.toolchain.data.images import decode
from mnet.toolchain.data.interactions import Interactions
from mnet.toolchain.data.movielens import load_movielens_100k
from mnet.toolchain.data.table import load_table
from mnet.toolchain.errors import UserError

COUNT = 1000
ROWS = [
    (f"{n % 7:03}", f'a "{n}", b' if n % 9 == 0 else f"item-{n * n % 31}", 1_700_000_000 + n)
    for n in range(60)
]


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Damage as disks, transfers and editors do it."""
    place, kind = rng.randrange(len(data)), rng.randrange(7)
    if kind == 0:
        return data[:place]  # cut short
    if kind == 1:
        return data[:place] + data[place + rng.randint(1, 40) :]  # a piece lost
    if kind == 2:
        return data[:place] + data[place : place + rng.randint(1, 40)] + data[place:]  # a piece twice
    if kind == 3:
        return data[:place] + rng.randbytes(rng.randint(1, 8)) + data[place:]
    if kind == 4:
        return (
            data[:place] + rng.choice([b'"', b"\n", b"\r", b",", b"\t", b"\0", b"\xff", b" "]) + data[place:]
        )
    if kind == 5:
        return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]
    return data[:place] + bytes(min(64, len(data) - place)) + data[place + 64 :]  # a block of zeros


def as_csv() -> bytes:
    out = StringIO()
    csv.writer(out, lineterminator="\n").writerows([("user", "item", "time"), *ROWS])
    return out.getvalue().encode()


def as_inter() -> bytes:
    rows = "".join(f"{user}\t{n}\t5\t{time}\n" for n, (user, _, time) in enumerate(ROWS))
    return ("user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + rows).encode()


def as_parquet() -> bytes:
    out = BytesIO()
    columns = zip(("user", "item", "time"), zip(*ROWS, strict=True), strict=True)
    table = pa.table({name: list(values) for name, values in columns})
    pa.parquet.write_table(table, out, write_page_checksum=True)
    return out.getvalue()


def triples(data: Interactions) -> list[tuple[str, str, int]]:
    assert data.user_ids
    assert data.item_ids
    return sorted(
        (data.user_ids[u], data.item_ids[i - 1], int(t))
        for u, i, t in zip(data.users, data.items, data.times, strict=True)
    )


def by_pyarrow(file: Path, names: tuple[str, str, str], delimiter: str) -> list[tuple[str, str, int]]:
    """What Arrow's own reader of text makes of the same bytes."""
    text = pyarrow.csv.read_csv(
        BytesIO(file.read_bytes().rstrip(b"\r\n")),
        parse_options=pyarrow.csv.ParseOptions(
            delimiter=delimiter, newlines_in_values=True, ignore_empty_lines=False
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            strings_can_be_null=False, column_types=dict.fromkeys(names, "string")
        ),
    )
    names = tuple(next(c for c in text.column_names if c.strip() == name) for name in names)  # type: ignore[assignment]
    columns = [text[name].to_pylist() for name in names]
    return sorted((user, item, int(float(time))) for user, item, time in zip(*columns, strict=True))


Triples = list[tuple[str, str, int]]
KINDS: dict[str, tuple[Callable[[], bytes], Callable[[Path], Interactions], Callable[[Path], Triples]]] = {
    "csv": (as_csv, load_table, lambda file: by_pyarrow(file, ("user", "item", "time"), ",")),
    "inter": (
        as_inter,
        load_movielens_100k,
        lambda file: by_pyarrow(file, ("user_id:token", "item_id:token", "timestamp:float"), "\t"),
    ),
    "parquet": (as_parquet, load_table, lambda _: sorted(ROWS)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_tables(tmp_path: Path, kind: str) -> None:
    write, load, reference = KINDS[kind]
    file, rng, whole = tmp_path / f"table.{kind}", random.Random(7), write()
    read = 0
    for number in range(COUNT):
        file.write_bytes(mutated(whole, rng))
        try:
            found = triples(load(file))
        except UserError as error:
            assert str(file) in str(error), number
            assert len(str(error).splitlines()) == 1, number
            continue
        read += 1
        assert found == reference(file), number
    assert 0 < read < COUNT


def as_seen(data: bytes) -> np.ndarray | None:
    """What Pillow decodes, where it decodes at all."""
    try:
        with Image.open(BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))
    except Exception:
        return None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_damaged_images(tmp_path: Path, form: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    out = BytesIO()
    Image.fromarray(pixels).resize((48, 48)).save(out, form)
    file, rng, whole = tmp_path / f"image.{form.lower()}", random.Random(7), out.getvalue()
    read = 0
    for number in range(COUNT):
        file.write_bytes(mutated(whole, rng))
        try:
            found = decode([file])[0].permute(1, 2, 0).numpy()
        except UserError as error:
            assert str(file) in str(error), number
            assert len(str(error).splitlines()) == 1, number
            continue
        read += 1
        wanted = as_seen(whole if form == "PNG" else file.read_bytes())
        assert wanted is not None
        assert np.array_equal(found, wanted), number
    assert 0 < read < COUNT
