"""What the server tells Prometheus. Labels are routes and status codes: never a device, a context or a key."""

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The figures of one service, in a registry of its own."""

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
            "mnet_queue_length", "Devices whose release is still to be made.", registry=self.registry
        )
        self._waiting = Gauge("mnet_waiting_devices", "Devices in a long poll.", registry=self.registry)

    def published(self, releases: int, seconds: float) -> None:
        """A batch was released."""
        self._batches.observe(releases)
        self._batch_seconds.observe(seconds)
        self._releases.inc(releases)

    def watch_queue(self, length: Callable[[], int]) -> None:
        """Ask `length` for the queue length at each scrape."""
        self._queue.set_function(length)

    def watch_waiting(self, length: Callable[[], int]) -> None:
        """Ask `length` for the number of waiting devices at each scrape."""
        self._waiting.set_function(length)


class MeasuredRequests:
    """ASGI middleware that times every request by its route, the template and not the path."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            self._note(scope, status, time.perf_counter() - start)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", None)
        if route is None or status == 405:
            route, method = "none", "none"  # what a stranger may choose freely is no label
        else:
            method = scope["method"]
        self._metrics.requests.labels(method, route, status).observe(seconds)
        # By the path: a body that is too long is refused before any route is looked for.
        if status >= 400 and scope["method"] == "POST" and scope["path"].endswith("/context"):
            self._metrics.refused_uploads.labels(status).inc()
