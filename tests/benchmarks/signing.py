"""`python -m tests.benchmarks.signing KEY…`: releases a second by each, a PEM or a file with a PKCS#11 URI.

From one process and from several, as `mnet serve --workers` and `mnet generate` are: a process asks a token for one
signature at a time.
"""

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from mnet.toolchain.cloud.signing_keys import load_signing_key
from mnet.toolchain.contract.release import Release, sign_release
from mnet.toolchain.spawn import CONTEXT


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line a key and number of processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("keys", type=Path, nargs="+", metavar="KEY", help="Such as server/keys/signing.pem.")
    parser.add_argument("--releases", type=int, default=10_000, help="How many each process signs.")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args(arguments)
    for key in options.keys:
        for processes in options.processes:
            with ProcessPoolExecutor(processes, CONTEXT) as pool:
                took = pool.map(partial(seconds, key), [options.releases] * processes)
                rate = sum(options.releases / each for each in took)
            print(f"{key}: {rate:,.0f} releases a second from {processes} processes")


def seconds(key: Path, releases: int) -> float:
    """That it takes to sign so many."""
    signing = load_signing_key(key)
    start = time.perf_counter()
    for version in range(1, releases + 1):
        sign_release(signing, Release("0" * 16, "0" * 64, version, "0" * 64, 9000, 0, 1))
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
