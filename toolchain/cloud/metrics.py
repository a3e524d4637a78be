"""The server's metrics for Prometheus. Labels are routes and status codes: never a device, a context or a key."""

import os
from collections.abc import Callable, Mapping, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
# Of a phone that sleeps between an upload and the next poll, up to a day.
_UNTIL_TAKEN_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600, 6 * 3600, 24 * 3600)


class Metrics:
    """The figures of one service, in a registry of its own.

    With PROMETHEUS_MULTIPROC_DIR in the environment, the processes that share that folder count together.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Histogram(
            "mnet_request_seconds",
            "Time to answer a request; a long poll's is how long its device waited.",
            ("method", "route", "status"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.refused_uploads = Counter(
            "mnet_refused_uploads", "Contexts that were not accepted.", ("status",), registry=self.registry
        )
        self.reports = Counter(
            "mnet_reports",
            "What became of releases on their devices: taken, or the name of the refusal.",
            ("outcome",),
            registry=self.registry,
        )
        self.until_taken = Histogram(
            "mnet_upload_to_taken_seconds",
            "Time from an accepted upload to its device's report that it runs what came of it.",
            buckets=_UNTIL_TAKEN_S,
            registry=self.registry,
        )
        self.failed_contexts = Counter(
            "mnet_failed_contexts",
            "Tries to make weights of a device's context that failed for what it is.",
            registry=self.registry,
        )
        self.lost_packs = Counter(
            "mnet_lost_packs",
            "Packs that were missing from the store and are made again.",
            registry=self.registry,
        )
        self._batches = Histogram(
            "mnet_batch_size",
            "Releases of one generated batch.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self.registry,
        )
        self._batch_seconds = Histogram(
            "mnet_batch_seconds",
            "Time from the look for contexts to their stored releases.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._releases = Counter("mnet_releases", "Releases signed and stored.", registry=self.registry)
        self._queue = Gauge(
            "mnet_queue_length",
            "Devices whose release is still to be made.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._waiting = Gauge(
            "mnet_waiting_devices",
            "Devices in a long poll.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._watched: dict[Gauge, Callable[[], int]] = {}
        self._counted = {
            name: self._of_the_fleet(name, help_text)
            for name, help_text in (
                ("devices", "Enrolled devices."),
                ("stale_devices", "Devices that have not taken their newest release within a day."),
                ("failing_devices", "Devices of whose last context no weights came."),
                ("undelivered_releases", "Newest releases of devices that were not fetched within an hour."),
                ("expired_releases", "Newest releases of devices that expired before they were fetched."),
                ("oldest_wait_seconds", "For how long the device waits for its release that waits longest."),
            )
        }
        self._rollouts = self._of_the_fleet("rollouts", "Roll-outs by their state.", ("state",))

    def _of_the_fleet(self, name: str, help_text: str, labels: Sequence[str] = ()) -> Gauge:
        """What every replica counts in the same database, so that any of them may say it."""
        return Gauge(
            f"mnet_{name}", help_text, labels, registry=self.registry, multiprocess_mode="livemostrecent"
        )

    def counted(self, fleet: Mapping[str, float], rollouts: Mapping[str, int]) -> None:
        """Record what was counted in the database: figures by the names of their gauges, and roll-outs by state."""
        for name, value in fleet.items():
            self._counted[name].set(value)
        for state, count in rollouts.items():
            self._rollouts.labels(state).set(count)

    def published(self, releases: int, seconds: float) -> None:
        """A batch was released."""
        self._batches.observe(releases)
        self._batch_seconds.observe(seconds)
        self._releases.inc(releases)

    def watch_queue(self, length: Callable[[], int]) -> None:
        """Ask `length` for the queue length at each look."""
        self._watched[self._queue] = length

    def watch_long_polls(self, length: Callable[[], int]) -> None:
        """Ask `length` for the number of waiting devices at each look."""
        self._watched[self._waiting] = length

    def look(self) -> None:
        """Record the watched values; other processes report the last record."""
        for gauge, length in self._watched.items():
            gauge.set(length())

    def text(self) -> bytes:
        """All figures as Prometheus reads them; those of a process alone (`process_`) only where it has no others."""
        self.look()
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)
        return generate_latest(together)
