"""A thousand phones on one server, on loopback: how long a push, an upload and an idle poll take.

    python -m tests.benchmarks.load RUN BUNDLE --devices 1000

The server is a real `mnet serve` process; the phones are connections of this one. Each keeps a long poll open
and fetches every pack it hears of, checked against the SHA-256 in its release; signatures are not verified, to
leave the server its core. Bounded: `--devices` connections and a few for uploads, seconds a phase.
"""

import argparse
import asyncio
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from mnet.toolchain.fleet.light_phones import LightFleet, LightPhone, room_for
from mnet.toolchain.fleet.processes import ServerProcess

PHASE_LIMIT_S = 120.0


@dataclass(frozen=True)
class Row:
    """One phase: what was timed how often, in ms, what the server used meanwhile, and the load average."""

    what: str
    count: int
    p50_ms: float
    p99_ms: float
    last_ms: float
    server_cpu_percent: float
    server_mib: float
    load_average: float


class Gauge:
    """What the server process uses, from /proc."""

    def __init__(self, pid: int) -> None:
        self._proc = Path("/proc") / str(pid)
        self._start = self._cpu_s(), time.perf_counter()

    def _cpu_s(self) -> float:
        fields = (self._proc / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def row(self, what: str, seconds: Sequence[float]) -> Row:
        """The figures since this gauge was made."""
        cpu = (self._cpu_s() - self._start[0]) / (time.perf_counter() - self._start[1])
        resident = int((self._proc / "statm").read_text().split()[1]) * resource.getpagesize() / 2**20
        ms = sorted(second * 1e3 for second in seconds) or [0.0]
        figures = statistics.median(ms), ms[int(0.99 * (len(ms) - 1))], ms[-1], 100 * cpu, resident
        return Row(what, len(seconds), *(round(x, 1) for x in figures), round(os.getloadavg()[0], 2))  # type: ignore[call-arg]


async def measure(
    server: ServerProcess, bundle: str, samples: list[Any], args: argparse.Namespace
) -> dict[str, Any]:
    """Every phase, one after the other; each ends within PHASE_LIMIT_S."""
    async with LightFleet(server.url, bundle, samples, args.seed) as fleet:
        await fleet.enrol(args.devices, server.enrolment_key.read_text().strip())
        polls = [asyncio.create_task(fleet.follow(phone)) for phone in fleet.phones]
        try:
            rows = await _phases(server, fleet, args)
        finally:
            for poll in polls:
                poll.cancel()
            await asyncio.gather(*polls, return_exceptions=True)
    return {"devices": args.devices, "errors": dict(fleet.errors), "phases": [vars(row) for row in rows]}


async def _phases(server: ServerProcess, fleet: LightFleet, args: argparse.Namespace) -> list[Row]:
    pid, rows = server.process.pid, list[Row]()
    gauge = Gauge(pid)
    first = await _timed_uploads(fleet, fleet.phones, rate=None)
    rows.append(gauge.row("first upload of all -> pack", [pack for _, pack in first]))
    await asyncio.sleep(1)  # until every poll is back
    gauge = Gauge(pid)
    await asyncio.sleep(args.idle)
    rows.append(gauge.row("idle polls", []))
    gauge = Gauge(pid)
    announced, fetched = await _push(fleet, server.operator_key.read_text().strip())
    rows += [gauge.row("push -> release", announced), gauge.row("push -> pack", fetched)]
    gauge = Gauge(pid)
    chosen = [fleet.phones[n % len(fleet.phones)] for n in range(int(args.rate * args.seconds))]
    uploads = await _timed_uploads(fleet, chosen, args.rate)
    rows.append(gauge.row(f"upload at {args.rate:g}/s -> release", [announced for announced, _ in uploads]))
    rows.append(gauge.row(f"upload at {args.rate:g}/s -> pack", [pack for _, pack in uploads]))
    return rows


async def _timed_uploads(
    fleet: LightFleet, phones: Sequence[LightPhone], rate: float | None
) -> list[tuple[float, float]]:
    """Upload for each phone, `rate` a second (None: as fast as it goes), open loop; seconds to release and pack."""
    begin = time.perf_counter()

    async def one(turn: int, phone: LightPhone) -> tuple[float, float]:
        if rate is not None:
            await asyncio.sleep(max(0.0, begin + turn / rate - time.perf_counter()))
        start = time.perf_counter()
        announced, fetched = await phone.reached(await fleet.upload(phone))
        return announced - start, fetched - start

    async with asyncio.timeout(PHASE_LIMIT_S):
        return await asyncio.gather(*(one(turn, phone) for turn, phone in enumerate(phones)))


async def _push(fleet: LightFleet, key: str) -> tuple[list[float], list[float]]:
    """Push to all; seconds from the operator's call to each phone's release and pack."""
    start, before = time.perf_counter(), [max(phone.fetched) for phone in fleet.phones]
    async with asyncio.timeout(PHASE_LIMIT_S), fleet.connection() as connection:
        status, answer = await connection.call("POST", "/v1/push", key, {}, limit_s=PHASE_LIMIT_S)
        assert status == 202, answer
        awaited = [phone.reached(version + 1) for phone, version in zip(fleet.phones, before, strict=True)]
        times = await asyncio.gather(*awaited)
    return [announced - start for announced, _ in times], [fetched - start for _, fetched in times]


def main() -> int:
    """Print the table, or JSON; exit code 1 if any phone met an error."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--devices", type=int, default=1000, choices=range(1, 5001), metavar="1..5000")
    parser.add_argument("--rate", type=float, default=50.0, help="uploads a second")
    parser.add_argument("--seconds", type=float, default=10.0, help="of uploads")
    parser.add_argument("--idle", type=float, default=5.0, help="seconds of idle polls")
    parser.add_argument(
        "--workers", type=int, default=1, help="of the server; cpu and memory are then its parent's"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    room_for(args.devices)

    from mnet.toolchain.training.run import load_run

    samples = load_run(args.run).task.example_samples(1000, np.random.default_rng(args.seed))
    bundle = json.loads((args.bundle / "manifest.json").read_text())["id"]
    with (
        tempfile.TemporaryDirectory() as state,
        ServerProcess(args.run, args.bundle, Path(state), options=["--workers", str(args.workers)]) as server,
    ):
        found = asyncio.run(measure(server, bundle, samples, args))
    if args.json:
        print(json.dumps(found))
    else:
        table = Table(
            *Row.__dataclass_fields__, title=f"{args.devices} phones, {sum(found['errors'].values())} errors"
        )
        for row in found["phases"]:
            table.add_row(*map(str, row.values()))
        Console().print(table, *(f"{count} {what}" for what, count in found["errors"].items()))
    return bool(found["errors"])


if __name__ == "__main__":
    sys.exit(main())
