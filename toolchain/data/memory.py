"""What reading a table takes, said before it is tried: where memory runs out, a process ends without a word."""

import os
from pathlib import Path

from mnet.toolchain.console import Printer

# Measured at their peak, on 10 million rows with ids of 20 bytes.
TEXT, PARQUET = 160, 100


def machine_memory() -> int:
    """Bytes that this machine, or the container that this runs in, has."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except OSError:
        return whole
    return min(whole, int(limit)) if limit.isdecimal() else whole


def warn_of_memory(file: Path, rows: int, bytes_a_row: int) -> None:
    """Print what about so many rows take, and what to give instead, where this machine has less."""
    need, have = rows * bytes_a_row, machine_memory()
    if need > have:
        smaller = "a Parquet file (100 bytes a row), or " if bytes_a_row > PARQUET else ""
        Printer(stderr=True).print(
            f"warning: {file} has some {rows:,} rows; to read them takes about {need / 1e9:.1f} GB, and there are "
            f"{have / 1e9:.1f} GB here: give {smaller}the rows of fewer users, about {have // bytes_a_row:,} in all"
        )
