"""The server as a process: its state folder, its keys, its socket."""

import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from joserfc.jwk import ECKey

from toolchain.cloud.database import Database
from toolchain.cloud.generation import PackGenerator
from toolchain.cloud.keys import create_key, create_signing_key, load_signing_key, public_keys, read_key
from toolchain.cloud.metrics import Metrics
from toolchain.cloud.packs import PackFolder
from toolchain.cloud.publishing import Publisher
from toolchain.cloud.service import Service, create_app
from toolchain.cloud.waiting import Waiting
from toolchain.errors import UserError


@dataclass(frozen=True)
class ServerState:
    """The folder that a server keeps between starts; its keys are readable by their owner only."""

    folder: Path

    @property
    def signing_key(self) -> Path:
        """Private key of the releases, PEM."""
        return self.folder / "keys" / "signing.pem"

    @property
    def enrolment_key(self) -> Path:
        """What a phone needs to enrol."""
        return self.folder / "keys" / "enrolment.key"

    @property
    def operator_key(self) -> Path:
        """What `mnet push` needs."""
        return self.folder / "keys" / "operator.key"

    @property
    def database(self) -> Path:
        """SQLite; it holds contexts, so it is private too."""
        return self.folder / "mnet.db"

    @classmethod
    def open(cls, folder: Path) -> "ServerState":
        """Open a state folder and create what it lacks; UserError if it cannot be written."""
        state = cls(folder)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            state.signing_key.parent.mkdir(mode=0o700, exist_ok=True)
            state.database.touch(mode=0o600)
            if not state.signing_key.exists():
                create_signing_key(state.signing_key)
            for path in (state.enrolment_key, state.operator_key):
                if not path.exists():
                    create_key(path)
        except OSError as error:
            raise UserError(f"cannot keep the server's state in {folder}: {error.strerror}") from error
        return state


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


def build_service(state: ServerState, generator: PackGenerator) -> Service:
    """A service on the state folder: embedded SQLite and a folder of packs."""
    key: ECKey = load_signing_key(state.signing_key)
    database = Database(f"sqlite:///{state.database.resolve()}")
    packs = PackFolder(state.folder / "packs")
    waiting, metrics = Waiting(), Metrics()
    return Service(
        bundle=generator.bundle_id,
        jwks=public_keys(key),
        enrolment_key=read_key(state.enrolment_key),
        operator_key=read_key(state.operator_key),
        database=database,
        packs=packs,
        publisher=Publisher(database, packs, generator, key, waiting.wake, metrics),
        waiting=waiting,
        metrics=metrics,
    )


def serve(service: Service, sockets: list[socket.socket], ready: Callable[[], None]) -> None:
    """Serve until SIGTERM (exit code 0) or SIGINT; `ready` is called once requests are answered."""
    config = uvicorn.Config(
        create_app(service),
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
    )
    # uvicorn stops on SIGTERM by itself, then raises the signal again for the handler that was here before.

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    _Server(config, service.waiting, ready).run(sockets)


class _Server(uvicorn.Server):
    """uvicorn that says when it is ready, and lets go of the long polls before it waits for them."""

    def __init__(self, config: uvicorn.Config, waiting: Waiting, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._waiting = waiting
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._waiting.close()
        await super().shutdown(sockets)
