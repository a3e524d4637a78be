"""Which ids stand twice among more than memory holds: by their hashes, sorted on disk one partition after the other."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

HASHES_A_PARTITION = 1 << 22  # 32 MB
_LOOKED_AT = 1000  # ids at a time


def first_repeated(batches: Callable[[], Iterable[pa.Array]], count: int) -> str | None:
    """An id that `batches()`, called once or more, gives twice; None where all differ.

    Args:
        batches: arrays of text, the same at each call.
        count: about how many ids they hold; decides into how many partitions their hashes go.
    """
    with tempfile.TemporaryDirectory() as name:
        paths = [Path(name) / str(k) for k in range(1 + count // HASHES_A_PARTITION)]
        _spread((_hashes(batch) for batch in batches()), paths)
        repeated = np.concatenate([_repeated(np.fromfile(path, np.uint64)) for path in paths])
    # Nearly always none. Two ids may have one hash by chance: they are compared as they are.
    for start in range(0, len(repeated), _LOOKED_AT):
        seen: set[str] = set()
        for found in _having(batches(), repeated[start : start + _LOOKED_AT]):
            if found in seen:
                return found
            seen.add(found)
    return None


def _hashes(ids: pa.Array) -> np.ndarray:
    return pd.util.hash_array(ids.to_numpy(zero_copy_only=False), categorize=False)


def _spread(hashes: Iterable[np.ndarray], paths: list[Path]) -> None:
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("wb")) for path in paths]
        for some in hashes:
            place = some % len(files)
            for number, file in enumerate(files):
                file.write(some[place == number].tobytes())


def _repeated(hashes: np.ndarray) -> np.ndarray:
    hashes.sort()
    return np.unique(hashes[1:][hashes[1:] == hashes[:-1]])


def _having(batches: Iterable[pa.Array], hashes: np.ndarray) -> Iterator[str]:
    for ids in batches:
        yield from ids.filter(pa.array(np.isin(_hashes(ids), hashes))).to_pylist()
