"""`python -m tests.benchmarks.push RUN BUNDLE`: CPU of the service's machine for pushes and uploads, without HTTP.

The parts of a server (ledger on SQLite, packs in a folder, generation, signatures) in this process: what a push costs a
user from `mnet push` to its releases, and what an upload costs from its context to its release, one by one and in a
crowd. Seconds of CPU of the whole process, so that other work on the machine changes little.
"""

import argparse
import cProfile
import pstats
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from mnet.toolchain.cloud.generation import load_generators
from mnet.toolchain.cloud.server import build_service
from mnet.toolchain.cloud.service import Service
from mnet.toolchain.cloud.settings import Settings
from mnet.toolchain.cloud.state import ServerState


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
            cpu_s, wall_s = _timed(work)
            print(
                f"{name}: {cpu_s / count * 1e3:.3f} ms of CPU, {count / cpu_s:,.0f} a core-second; wall {wall_s:.2f} s"
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
