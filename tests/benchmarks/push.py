"""`python -m tests.benchmarks.push RUN BUNDLE`: CPU of the service's machine for pushes and uploads, without HTTP.

The parts of a server (ledger on SQLite, packs in a folder, generation, signatures) in this process: what a push costs a
user from `mnet push` to its releases, and what an upload costs from its context to its release, one by one and in a
crowd. Seconds of CPU of the whole process, so that other work on the machine changes little. Then the same for a
million users, with the calls of the store of packs (a deletion names up to 1,000) and its bytes; each phone fetches
what it gets.
"""

import argparse
import cProfile
import math
import pstats
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import torch

from mnet.toolchain.cloud.generation import load_generators
from mnet.toolchain.cloud.server import build_service
from mnet.toolchain.cloud.service import Service
from mnet.toolchain.cloud.settings import Settings
from mnet.toolchain.cloud.state import ServerState
from mnet.toolchain.object_store import ObjectStore

MILLION = 1_000_000


class CountedStore:
    """A store that counts what it is asked for, as an object store bills it."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.puts = self.gets = self.deletes = self.bytes = 0

    def write(self, files: Mapping[str, bytes]) -> None:
        """Keep them; a call each."""
        self.puts += len(files)
        self.bytes += sum(map(len, files.values()))
        self._store.write(files)

    def read(self, name: str) -> bytes:
        """One of them."""
        self.gets += 1
        return self._store.read(name)

    def remove(self, names: Collection[str]) -> None:
        """Delete them."""
        self.deletes += math.ceil(len(names) / 1000)
        self._store.remove(names)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--devices", type=int, default=2000)
    parser.add_argument("--uploads", type=int, default=200)
    parser.add_argument("--profile", action="store_true", help="Print where the time of the push goes.")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        state = ServerState.open(Path(folder) / "server")
        settings = Settings((options.run,), (options.bundle,), state)
        service = build_service(settings, load_generators(settings.runs, settings.bundles))
        (bundle,) = service.publisher.generators
        devices = [f"{n:016x}" for n in range(options.devices)]
        for device in devices:
            service.registry.enrol(device, "hash", bundle)
            service.ledger.add_context(device, _context(device))
        _publish(service, devices)
        _push(service)  # from the next one on, packs that two newer ones follow are deleted
        rows = []
        for name, work, count in (
            ("a push, a user", lambda: _push(service), len(devices)),
            (
                "an upload, one by one",
                lambda: _upload(service, devices[: options.uploads], 1),
                options.uploads,
            ),
            (
                "an upload, 16 at once",
                lambda: _upload(service, devices[: options.uploads], 16),
                options.uploads,
            ),
        ):
            if options.profile:
                profile = cProfile.Profile(time.process_time)
                profile.runcall(work)
                pstats.Stats(profile).sort_stats("cumtime").print_stats(75)
                continue
            store = CountedStore(service.packs._objects)  # type: ignore[arg-type]
            service.packs._objects = store  # type: ignore[assignment]
            cpu_s, wall_s = _timed(work)
            service.packs._objects = store._store
            rows.append((name, cpu_s / count, store, count))
            print(
                f"{name}: {cpu_s / count * 1e3:.3f} ms of CPU, {count / cpu_s:,.0f} a core-second; wall {wall_s:.2f} s"
            )
        for name, cpu_s, store, count in rows:
            times = MILLION / count
            print(
                f"{name}, a million: {cpu_s * MILLION:,.0f} core-seconds, {store.puts * times:,.0f} PUT, "
                f"{store.deletes * times:,.0f} DELETE, {MILLION:,} GET, {store.bytes * times / 1e9:.1f} GB written"
            )


def _context(device: str) -> list[int]:
    first = int(device, 16)
    return [(first * 7 + n * 13) % 80 + 1 for n in range(20)]


def _timed(work: Callable[[], None]) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def _push(service: Service) -> None:
    """As the reconciler and the publisher do it, in turns."""
    service.rollouts.start(None, 100, 0.01)
    while stages := service.rollouts.advance():
        for stage in stages:
            _publish(service, list(stage.versions))


def _publish(service: Service, devices: Sequence[str]) -> None:
    publisher = service.publisher
    publisher.queue(devices, later=True)
    while publisher.pushed_waiting:
        publisher._publish(publisher._next_batch())


def _upload(service: Service, devices: Sequence[str], at_once: int) -> None:
    for start in range(0, len(devices), at_once):
        some = devices[start : start + at_once]
        for device in some:
            service.publisher.accept(device, _context(device))
        service.publisher._publish(service.publisher._next_batch())


if __name__ == "__main__":
    main()
