"""Servers that start in a second: each is forked off a process that has loaded PyTorch, and nothing else."""

import os
import signal
import sys
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Self

from mnet.toolchain.cloud.logs import log_to_stderr
from mnet.toolchain.cloud.settings import Limits, Settings
from mnet.toolchain.cloud.state import ServerState
from mnet.toolchain.cloud.workers import listen, serve

FORKED = get_context("forkserver")
FORKED.set_forkserver_preload(["mnet.toolchain.cloud.server", "mnet.toolchain.cloud.backup", __name__])
STARTS_WITHIN_S = 180.0


class NotStarted(RuntimeError):
    """A server ended, or said nothing, before it was ready."""


@dataclass(frozen=True)
class Place:
    """Where a server stands: its state folder, and the URL of its database, if that is elsewhere."""

    state: Path
    url: str | None

    @property
    def server_state(self) -> ServerState:
        """Its folder as the service has it."""
        return ServerState(self.state)

    @property
    def database(self) -> str:
        """The URL of the database."""
        return self.url or self.server_state.database_url()


class ForkedServer:
    """`serve` as `mnet serve` calls it, in a process of its own; ready when constructed, killed at the block's end."""

    def __init__(self, run: Path, bundle: Path, place: Place) -> None:
        place.state.mkdir(parents=True, exist_ok=True)
        says, said = FORKED.Pipe(duplex=False)
        self.process = FORKED.Process(target=_serve, args=(run, bundle, place, said))
        self.process.start()
        said.close()
        try:
            if not says.poll(STARTS_WITHIN_S):
                raise NotStarted(f"no word for {STARTS_WITHIN_S:.0f} s")
            self.url: str = says.recv()
        except (EOFError, NotStarted) as error:
            self.process.kill()
            log = (place.state / "server.log").read_text(errors="replace")
            raise NotStarted(f"{error}: {log[-2000:]}") from error

    def end(self, by: signal.Signals, within_s: float) -> int | None:
        """Its exit code; None where it did not end in time, and was killed."""
        assert self.process.pid is not None
        os.kill(self.process.pid, by)
        self.process.join(within_s)
        code = self.process.exitcode
        self.process.kill()
        self.process.join()
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.join()


def _serve(run: Path, bundle: Path, place: Place, say: Connection) -> None:
    with (place.state / "server.log").open("ab") as log:
        os.dup2(log.fileno(), sys.stderr.fileno())
    log_to_stderr(as_json=False)
    with listen("127.0.0.1", 0) as listener:
        limits = Limits(uploads_a_minute=1_000_000, reports_a_minute=1_000_000)
        state = ServerState.open(place.state, place.url)
        settings = Settings((run,), (bundle,), state, database=place.url, limits=limits)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        serve(settings, listener, lambda bundles: say.send(url))
