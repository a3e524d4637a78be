"""The server's socket and the processes behind it: one, or several that are replicas of each other."""

import logging
import os
import resource
import signal
import socket
import sys
import time
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from tempfile import TemporaryDirectory

from prometheus_client.multiprocess import mark_process_dead

from mnet.export.format.errors import BundleError
from mnet.toolchain.cloud.logs import log_to_stderr
from mnet.toolchain.cloud.settings import Ready, Settings
from mnet.toolchain.errors import UserError
from mnet.toolchain.spawn import CONTEXT, follow_parent

STOP_S = (
    20.0  # for all workers, of which each ends by itself before; the rest is found again by the next start
)
RESTART_S = 1.0  # before another try for a worker that cannot start

log = logging.getLogger(__name__)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket (port 0: a free one); UserError where the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(
            f"cannot listen on {host}:{port}: {reason}; choose another --port or --host"
        ) from error
    # asyncio leaves this off on such sockets; each pack would wait 40 ms for a delayed ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def serve(settings: Settings, listener: socket.socket, ready: Ready) -> None:
    """Serve until SIGTERM (exit code 0) or SIGINT; `ready` is called once requests are answered.

    Raises UserError or BundleError where the server cannot start.
    """
    allow_many_files()
    if settings.workers > 1:
        with TemporaryDirectory(prefix="mnet-metrics-") as folder:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # what prometheus_client looks for in the workers
            _Workers(settings, listener).run(ready)
    else:
        from mnet.toolchain.cloud.server import (
            serve_here,  # with PyTorch, which the parent of others does without
        )

        serve_here(settings, listener, ready)


def allow_many_files() -> None:
    """Let this process and its children have as many files and sockets open as the system lets them."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS calls its limit infinite and takes none so high
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class _Worker:
    """A server process, and the pipe through which it says that it is ready, or why not, and then that it ended."""

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self.says, said = CONTEXT.Pipe(duplex=False)
        self.process = CONTEXT.Process(target=_work, args=(settings, listener, said), name="worker")
        self.process.start()
        said.close()
        self.ready = self.missed_reload = False

    def reload(self) -> None:
        """Have it reload runs, bundles and keys; one that is just starting is signalled once it listens to signals."""
        self.missed_reload = not self.ready
        if self.ready and self.process.pid is not None:
            with suppress(ProcessLookupError):  # it ended just now; another one takes its place
                os.kill(self.process.pid, signal.SIGHUP)

    def join(self, timeout_s: float) -> None:
        """Wait for its end, and see to it."""
        self.process.join(timeout_s)
        self.process.kill()
        self.process.join()
        self.says.close()
        if self.process.pid is not None:
            mark_process_dead(self.process.pid)


class _Workers:
    """Keeps up the number of workers on one socket, which stays open whatever becomes of them."""

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._settings, self._listener = settings, listener
        self._workers: list[_Worker] = []
        self._told = False

    def run(self, ready: Ready) -> None:
        """Until SIGTERM or SIGINT."""
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        signal.signal(signal.SIGHUP, self._reload)
        try:
            for _ in range(self._settings.workers):
                self._workers.append(_Worker(self._settings, self._listener))
            while True:
                for says in wait([worker.says for worker in self._workers]):
                    self._on_message(next(w for w in self._workers if w.says is says), ready)
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            for worker in self._workers:
                worker.process.terminate()
            end = time.monotonic() + STOP_S
            for worker in self._workers:
                worker.join(max(0.0, end - time.monotonic()))

    def _reload(self, *_signal: object) -> None:
        for worker in self._workers:
            worker.reload()

    def _on_message(self, worker: _Worker, ready: Ready) -> None:
        try:
            said: list[str] | str = worker.says.recv()
        except EOFError:
            self._replace(worker)
            return
        if isinstance(said, str):
            self._failed(said)
            return
        worker.ready = True
        if worker.missed_reload:
            worker.reload()
        if not self._told and all(worker.ready for worker in self._workers):
            self._told = True
            ready(said)

    def _replace(self, worker: _Worker) -> None:
        served = worker.ready
        worker.ready = False  # no signal to a process that is gone, or to its id's next owner
        worker.join(STOP_S)
        how = f"worker {worker.process.pid} ended with {worker.process.exitcode}"
        if not served:
            self._failed(how)
            time.sleep(RESTART_S)
        log.warning("%s: another one takes its place", how)
        self._workers[self._workers.index(worker)] = _Worker(self._settings, self._listener)

    def _failed(self, reason: str) -> None:
        """A server that never served says so and ends; one that serves continues with the workers that it has."""
        if not self._told:
            raise UserError(reason)
        log.error("a worker cannot start: %s", reason)


def _work(settings: Settings, listener: socket.socket, say: Connection) -> None:
    """A worker's life. `say` stays open as long as it."""
    follow_parent()
    log_to_stderr(settings.log_as_json)
    try:
        from mnet.toolchain.cloud.server import serve_here

        serve_here(settings, listener, lambda bundles: say.send(list(bundles)))
    except (UserError, BundleError) as error:
        say.send(str(error))
        sys.exit(2)
