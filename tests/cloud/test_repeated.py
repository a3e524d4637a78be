"""Ids that stand twice are found, however many partitions their hashes go into, and only these."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

from mnet.toolchain.cloud import repeated
from mnet.toolchain.cloud.repeated import first_repeated

IDS = [f"user{n}" for n in range(5000)]


def batches(ids: list[str]) -> Iterator[pa.Array]:
    for start in range(0, len(ids), 700):
        yield pa.array(ids[start : start + 700])


@pytest.mark.parametrize("partition", [1 << 22, 300])
def test_an_id_that_stands_twice_is_found(monkeypatch: pytest.MonkeyPatch, partition: int) -> None:
    monkeypatch.setattr(repeated, "HASHES_A_PARTITION", partition)
    assert first_repeated(lambda: batches(IDS), len(IDS)) is None
    assert first_repeated(lambda: batches([*IDS, IDS[17]]), len(IDS)) == IDS[17]
    assert first_repeated(lambda: batches([*IDS, *IDS]), len(IDS)) in IDS
    assert first_repeated(lambda: batches([]), 0) is None


def test_two_ids_with_one_hash_are_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeated, "_hashes", lambda ids: np.zeros(len(ids), np.uint64))
    assert first_repeated(lambda: batches(IDS), len(IDS)) is None
    assert first_repeated(lambda: batches([*IDS, IDS[4999]]), len(IDS)) == IDS[4999]
