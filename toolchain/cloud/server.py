"""One server process: its parts, and what a signal does to it."""

import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

import torch
import uvicorn

from mnet.export.format.errors import BundleError
from mnet.toolchain.cloud.app import create_app
from mnet.toolchain.cloud.audit import Audit
from mnet.toolchain.cloud.comparison import Comparisons
from mnet.toolchain.cloud.database import OUTAGE, Database, cause
from mnet.toolchain.cloud.facts import Facts, check_whole, sealing_key, trusted_key
from mnet.toolchain.cloud.fetches import Fetches
from mnet.toolchain.cloud.fleet import objectives
from mnet.toolchain.cloud.generation import load_generators
from mnet.toolchain.cloud.health import Health
from mnet.toolchain.cloud.ledger import Ledger
from mnet.toolchain.cloud.long_polls import LongPolls
from mnet.toolchain.cloud.maintenance import Maintenance
from mnet.toolchain.cloud.measurements import Measurements
from mnet.toolchain.cloud.metrics import Metrics
from mnet.toolchain.cloud.operators import Operators
from mnet.toolchain.cloud.pack_store import PackStore
from mnet.toolchain.cloud.publishing import Generators, Publisher
from mnet.toolchain.cloud.reconciler import Reconciler
from mnet.toolchain.cloud.registry import Registry
from mnet.toolchain.cloud.rollouts import Rollouts
from mnet.toolchain.cloud.sealing import Sealer
from mnet.toolchain.cloud.service import Rates, Service
from mnet.toolchain.cloud.settings import Ready, Settings
from mnet.toolchain.cloud.state import ServerState
from mnet.toolchain.cloud.tokens import Tokens
from mnet.toolchain.errors import UserError

STOP_WITHIN_S = 10.0  # from the signal to the end of the process

log = logging.getLogger(__name__)


def build_service(settings: Settings, generators: Generators) -> Service:
    """A service on what `settings` names; raises UserError where a part of it cannot be had."""
    state = settings.state
    keys = state.read_keys()
    packs = PackStore(settings.packs or state.packs_url())
    database = Database(settings.database or state.database_url())
    check_whole(database)
    trusted_key(database, keys.keyring)
    sealer = None if keys.contexts is None else Sealer(keys.contexts)
    if sealer is not None:
        sealing_key(database, sealer)
    registry, ledger, facts = Registry(database), Ledger(database, sealer), Facts(database)
    long_polls, metrics = LongPolls(), Metrics()
    rollouts, fetches = Rollouts(database, settings.second_approval), Fetches(database)
    comparisons = Comparisons(database)
    salt = None if sealer is None else sealer.salt
    publisher = Publisher(registry, ledger, packs, generators, keys.keyring, long_polls.wake, metrics, salt)
    return Service(
        keys=keys,
        database=database,
        registry=registry,
        ledger=ledger,
        rollouts=rollouts,
        measurements=Measurements(database),
        comparisons=comparisons,
        operators=Operators(database),
        audit=Audit(database),
        packs=packs,
        publisher=publisher,
        maintenance=Maintenance(
            ledger,
            packs,
            publisher,
            long_polls,
            settings.retain_days,
            metrics,
            database.scrub,
            fetches.keep,
            comparisons.stop_worse,
            lambda: metrics.counted(*objectives(database)),
        ),
        reconciler=Reconciler(rollouts, publisher),
        health=Health(database, packs),
        fetches=fetches,
        tokens=Tokens(facts.token_secret(), facts.restored()),
        long_polls=long_polls,
        metrics=metrics,
        limits=settings.limits,
        rates=Rates(settings.limits),
    )


class Reload:
    """Reloads bundles and keys at SIGHUP, while requests are served; what cannot be read leaves the old ones."""

    def __init__(self, service: Service, state: ServerState, load: Callable[[], Generators]) -> None:
        self._service = service
        self._state = state
        self._load = load
        self._turn = threading.Lock()

    def at_signal(self, *_signal: object) -> None:
        """Handle the signal in a thread of its own."""
        threading.Thread(target=self.run, name="reload", daemon=True).start()

    def run(self) -> None:
        """Read, and replace."""
        with self._turn:
            try:
                generators, keys = self._load(), self._state.read_keys()
                trusted_key(self._service.database, keys.keyring)
            except (UserError, BundleError) as error:
                log.error("nothing is replaced: %s", error)
                return
            except OUTAGE as error:
                log.warning("nobody could look which key the phones trust: %s", cause(error))
            kids = [key.kid for key in (keys.keyring.signing, *keys.keyring.retiring)]
            try:
                self._service.replace(generators, keys)
                self._service.audit.note("server", "reloaded", bundles=sorted(generators), keys=kids)
            except OUTAGE as error:  # after all was replaced; maintenance takes up the work that waits
                log.warning("a reload is not in the audit log: %s", cause(error))
        _spare_the_collector()
        log.info("reloaded: %d bundles, signing with %s", len(generators), kids[0])


def _spare_the_collector() -> None:
    """Set what lives long, PyTorch's million objects, out of its way: walking them would hold up a request."""
    gc.unfreeze()
    gc.collect()  # what a reload has replaced
    gc.freeze()
    gc.collect()  # the next collection comes the sooner, the less this one leaves


def serve_here(settings: Settings, listener: socket.socket, ready: Ready) -> None:
    """Serve in this process until SIGTERM (exit code 0) or SIGINT; `ready` is called once requests are answered."""
    torch.set_num_threads(1)

    def load() -> Generators:
        return load_generators(settings.runs, settings.bundles)

    service = build_service(settings, load())
    _spare_the_collector()
    config = uvicorn.Config(
        create_app(service),
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
    )
    try:
        config.load()
    except OSError as error:  # of which SSLError is one
        raise UserError(f"cannot use {settings.tls_certificate} with {settings.tls_key}: {error}") from error
    # uvicorn stops on SIGTERM by itself, then raises the signal again for the handler that was here before.
    signal.signal(signal.SIGTERM, lambda *_: _leave())
    signal.signal(signal.SIGHUP, Reload(service, settings.state, load).at_signal)
    _Server(config, service.long_polls, lambda: ready(sorted(service.publisher.generators))).run([listener])


def _end_late() -> None:
    """End the process whatever hangs, as a thread that waits for a database which says nothing."""
    time.sleep(STOP_WITHIN_S)
    log.error("what is under way does not end: it is left, and found again by the next start")
    _leave()


def _leave() -> NoReturn:
    """End at once: all is kept, and taking PyTorch's million objects down costs seconds on a busy machine."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)


class _Server(uvicorn.Server):
    """uvicorn that says when it is ready, and lets go of the long polls before it waits for them."""

    def __init__(self, config: uvicorn.Config, long_polls: LongPolls, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._long_polls = long_polls
        self._ready = ready

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            threading.Thread(target=_end_late, name="deadline", daemon=True).start()
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._long_polls.close()
        await super().shutdown(sockets)
