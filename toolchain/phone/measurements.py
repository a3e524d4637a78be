"""What an app measured of the weights that it runs, kept until the server has it, and as totals so that it stays small.

The server is sent totals, never single values: it keeps the largest count, so that a repeated call changes nothing.
"""

import json
import threading
from pathlib import Path
from typing import Any

from mnet.toolchain.contract.measurement import METRICS, RELEASES, Totals, check_metric, check_value
from mnet.toolchain.phone.client import CloudClient, Denied, Offline
from mnet.toolchain.phone.identity import Identity
from mnet.toolchain.state_folder import read_own

Key = tuple[int, str]  # a version, and a metric


class Measurements:
    """The totals of one phone, in a file; safe to use from several threads.

    The file is replaced at each value, and not synced: a killed app loses nothing, a power loss the last seconds. A
    damaged one is as good as none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = threading.Lock()
        self._totals = _read(path)
        self._sent: dict[Key, Totals] = {}

    def add(self, version: int, metric: str, value: float) -> None:
        """Count a value; one of the default weights, version 0, is of no release and not kept.

        The totals of the newest RELEASES versions are kept, of METRICS metrics each. Raises ValueError for what no
        server would take, and for one metric more; OSError where the file cannot be written.
        """
        check_metric(metric)
        check_value(value)
        if version == 0:
            return
        with self._turn:
            key = version, metric
            if key not in self._totals and sum(of == version for of, _ in self._totals) >= METRICS:
                raise ValueError(f"{metric} is one metric too many: a release has at most {METRICS}")
            self._totals[key] = self._totals.get(key, Totals()).with_value(float(value))
            newest = sorted({of for of, _ in self._totals})[-RELEASES:]
            self._totals = {key: totals for key, totals in self._totals.items() if key[0] in newest}
            self._write()

    def send(self, client: CloudClient, phone: Identity) -> None:
        """Send the totals that have changed since they were last sent; without a network they stay for the next time.

        What the server will not have is not sent again until it has changed. Raises nothing.
        """
        with self._turn:
            unsent = {key: totals for key, totals in self._totals.items() if self._sent.get(key) != totals}
        if not unsent:
            return
        try:
            client.send_totals(phone, unsent)
        except Offline:
            return
        except Denied:
            pass
        with self._turn:
            self._sent |= unsent

    def clear(self) -> None:
        """Forget all, where versions count from the start."""
        with self._turn:
            self._totals, self._sent = {}, {}
            self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        rows = [
            [version, metric, totals.count, totals.sum, totals.squares]
            for (version, metric), totals in sorted(self._totals.items())
        ]
        part = self._path.with_name(f".{self._path.name}.tmp")
        part.touch(mode=0o600)
        part.write_text(json.dumps(rows), encoding="utf-8")
        part.replace(self._path)


def _read(path: Path) -> dict[Key, Totals]:
    try:
        return dict(_row(row) for row in json.loads(read_own(path)))
    except (OSError, ValueError, TypeError, RecursionError, OverflowError):
        return {}


def _row(row: Any) -> tuple[Key, Totals]:
    version, metric, count, total, squares = row
    totals = Totals(count, float(total), float(squares))
    if type(version) is not int or type(count) is not int or not totals.possible:
        raise ValueError("not a row of totals")
    check_metric(metric)
    return (version, metric), totals
