"""A thousand phones on one server, on loopback: how long a push, an upload and an idle poll take.

    python -m tests.benchmarks.load RUN BUNDLE --devices 1000

The server is a real `mnet serve` process; the phones are connections of this one. Each keeps a long poll open
and fetches every pack it is told of, checked against the SHA-256 in its release; signatures are not verified, to
leave the server its core. Bounded: `--devices` connections and a few for uploads, seconds a phase.
"""

import argparse
import asyncio
import base64
import hashlib
import json
import os
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from rich.console import Console
from rich.table import Table

from tests.benchmarks.wire import Wire
from toolchain.fleet.processes import ServerProcess

UPLOADERS = 32
PHASE_LIMIT_S = 120.0
POLL_S = 60


@dataclass
class Phone:
    """One light phone: the newest version it was told of, and when that and its pack had arrived."""

    device: str
    token: str
    version: int = 0
    told: dict[int, float] = field(default_factory=dict)
    fetched: dict[int, float] = field(default_factory=dict)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def reached(self, version: int) -> tuple[float, float]:
        """When this version, or a newer one, was told and its pack fetched."""
        while not self.fetched or max(self.fetched) < version:
            self.arrived.clear()
            await self.arrived.wait()
        first = min(v for v in self.fetched if v >= version)
        return self.told[first], self.fetched[first]


class Fleet:
    """All phones, their polls, and everything that went wrong."""

    def __init__(self, server: ServerProcess, bundle: str, items: int, seed: int) -> None:
        url = httpx.URL(server.url)
        self._address = url.host, url.port or 80
        self._bundle = bundle
        self._items = items
        self._draw = random.Random(seed)
        self._connections = AsyncExitStack()
        self._uploaders: asyncio.Queue[Wire] = asyncio.Queue()
        self.phones: list[Phone] = []
        self.errors: list[str] = []

    async def __aenter__(self) -> Self:
        for _ in range(UPLOADERS):
            self._uploaders.put_nowait(await self._connections.enter_async_context(self.wire()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connections.aclose()

    def wire(self) -> Wire:
        """A new connection to the server."""
        return Wire(*self._address)

    @asynccontextmanager
    async def uploading(self) -> AsyncIterator[Wire]:
        """One of a few connections that enrol and upload."""
        wire = await self._uploaders.get()
        try:
            yield wire
        finally:
            self._uploaders.put_nowait(wire)

    async def enrol(self, count: int, key: str) -> None:
        """Enrol `count` phones."""

        async def one() -> None:
            async with self.uploading() as wire:
                status, answer = await wire.call("POST", "/v1/devices", key, {"bundle": self._bundle})
            assert status == 201, answer
            known = json.loads(answer)
            self.phones.append(Phone(known["device"], known["token"]))

        await asyncio.gather(*(one() for _ in range(count)))

    async def upload(self, phone: Phone) -> int:
        """Upload a random context; returns the version that will stem from it."""
        samples = [self._draw.randint(1, self._items) for _ in range(20)]
        path = f"/v1/devices/{phone.device}/context"
        async with self.uploading() as wire:
            status, answer = await wire.call("POST", path, phone.token, {"samples": samples})
        if status != 202:
            raise RuntimeError(f"upload: HTTP {status} {answer[:200]!r}")
        return int(json.loads(answer)["version"])

    async def follow(self, phone: Phone) -> None:
        """Poll and fetch for ever; an error is noted and tried again."""
        while True:
            try:
                async with self.wire() as wire:
                    while True:
                        await self._poll(wire, phone)
            except (OSError, EOFError, RuntimeError, KeyError, ValueError) as error:
                self.errors.append(f"poll: {type(error).__name__}: {error}")
                await asyncio.sleep(0.5)

    async def _poll(self, wire: Wire, phone: Phone) -> None:
        path = f"/v1/devices/{phone.device}/release?after={phone.version}&timeout={POLL_S}"
        status, answer = await wire.call("GET", path, phone.token, limit_s=POLL_S + 30)
        if status == 204:
            return
        if status != 200:
            raise RuntimeError(f"HTTP {status} {answer[:200]!r}")
        told = time.perf_counter()
        payload = json.loads(answer)["release"].split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        status, pack = await wire.call("GET", f"/v1/packs/{claims['sha256']}", phone.token)
        if status != 200 or hashlib.sha256(pack).hexdigest() != claims["sha256"]:
            raise RuntimeError(f"pack: HTTP {status}, {len(pack)} bytes")
        if claims["version"] <= phone.version:
            raise RuntimeError(f"version {claims['version']} after {phone.version}")
        phone.version = claims["version"]
        phone.told[phone.version], phone.fetched[phone.version] = told, time.perf_counter()
        phone.arrived.set()


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
        return Row(what, len(seconds), *(round(x, 1) for x in figures), round(os.getloadavg()[0], 2))


async def measure(server: ServerProcess, bundle: str, items: int, args: argparse.Namespace) -> dict[str, Any]:
    """Every phase, one after the other; each ends within PHASE_LIMIT_S."""
    async with Fleet(server, bundle, items, args.seed) as fleet:
        await fleet.enrol(args.devices, server.enrolment_key.read_text().strip())
        polls = [asyncio.create_task(fleet.follow(phone)) for phone in fleet.phones]
        try:
            rows = await _phases(server, fleet, args)
        finally:
            for poll in polls:
                poll.cancel()
            await asyncio.gather(*polls, return_exceptions=True)
    return {"devices": args.devices, "errors": fleet.errors, "phases": [vars(row) for row in rows]}


async def _phases(server: ServerProcess, fleet: Fleet, args: argparse.Namespace) -> list[Row]:
    pid, rows = server.process.pid, list[Row]()
    gauge = Gauge(pid)
    first = await _timed_uploads(fleet, fleet.phones, rate=None)
    rows.append(gauge.row("first upload of all -> pack", [pack for _, pack in first]))
    await asyncio.sleep(1)  # until every poll is back
    gauge = Gauge(pid)
    await asyncio.sleep(args.idle)
    rows.append(gauge.row("idle polls", []))
    gauge = Gauge(pid)
    told, fetched = await _push(fleet, server.operator_key.read_text().strip())
    rows += [gauge.row("push -> release", told), gauge.row("push -> pack", fetched)]
    gauge = Gauge(pid)
    chosen = [fleet.phones[n % len(fleet.phones)] for n in range(int(args.rate * args.seconds))]
    uploads = await _timed_uploads(fleet, chosen, args.rate)
    rows.append(gauge.row(f"upload at {args.rate:g}/s -> release", [told for told, _ in uploads]))
    rows.append(gauge.row(f"upload at {args.rate:g}/s -> pack", [pack for _, pack in uploads]))
    return rows


async def _timed_uploads(
    fleet: Fleet, phones: Sequence[Phone], rate: float | None
) -> list[tuple[float, float]]:
    """Upload for each phone, `rate` a second (None: as fast as it goes), open loop; seconds to release and pack."""
    begin = time.perf_counter()

    async def one(turn: int, phone: Phone) -> tuple[float, float]:
        if rate is not None:
            await asyncio.sleep(max(0.0, begin + turn / rate - time.perf_counter()))
        start = time.perf_counter()
        told, fetched = await phone.reached(await fleet.upload(phone))
        return told - start, fetched - start

    async with asyncio.timeout(PHASE_LIMIT_S):
        return await asyncio.gather(*(one(turn, phone) for turn, phone in enumerate(phones)))


async def _push(fleet: Fleet, key: str) -> tuple[list[float], list[float]]:
    """Push to all; seconds from the operator's call to each phone's release and pack."""
    start = time.perf_counter()
    async with asyncio.timeout(PHASE_LIMIT_S), fleet.wire() as wire:
        status, answer = await wire.call("POST", "/v1/push", key, {}, limit_s=PHASE_LIMIT_S)
        assert status == 202, answer
        versions = json.loads(answer)["versions"]
        times = await asyncio.gather(*(phone.reached(versions[phone.device]) for phone in fleet.phones))
    return [told - start for told, _ in times], [fetched - start for _, fetched in times]


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
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4 * args.devices + 1024)), hard))

    from toolchain.training.run import load_run

    items = load_run(args.run).task.n_items
    bundle = json.loads((args.bundle / "manifest.json").read_text())["id"]
    with (
        tempfile.TemporaryDirectory() as state,
        ServerProcess(args.run, args.bundle, Path(state)) as server,
    ):
        found = asyncio.run(measure(server, bundle, items, args))
    if args.json:
        print(json.dumps(found))
    else:
        table = Table(
            *Row.__dataclass_fields__, title=f"{args.devices} phones, {len(found['errors'])} errors"
        )
        for row in found["phases"]:
            table.add_row(*map(str, row.values()))
        Console().print(table, *found["errors"][:5])
    return bool(found["errors"])


if __name__ == "__main__":
    sys.exit(main())
