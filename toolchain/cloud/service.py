"""What the handlers of one server process work with."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, HTTPException, Request
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from sqlalchemy.exc import IntegrityError

from mnet.toolchain.cloud.audit import Audit
from mnet.toolchain.cloud.comparison import Comparisons
from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.fetches import Fetches
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
from mnet.toolchain.cloud.registry import Known, Registry
from mnet.toolchain.cloud.rollouts import Rollouts
from mnet.toolchain.cloud.settings import Limits
from mnet.toolchain.cloud.state import Keys
from mnet.toolchain.cloud.tokens import Tokens, hash_token


class Rates:
    """How often each device has done something of late, and how many enrolled."""

    def __init__(self, limits: Limits) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._limits = {
            "upload": RateLimitItemPerMinute(limits.uploads_a_minute),
            "install": RateLimitItemPerMinute(limits.installs_a_minute),
            "report": RateLimitItemPerMinute(limits.reports_a_minute),
            "enrol": RateLimitItemPerMinute(limits.enrolments_a_minute),
        }

    def check(self, what: str, device: str = "") -> None:
        """Count one more; 429 if it is one too many."""
        if not self._limiter.hit(self._limits[what], what, device):
            raise HTTPException(429, f"too many calls: {what}", {"Retry-After": "60"})


@dataclass
class Service:
    """One server process: the state that all replicas share, and what is its own."""

    keys: Keys
    database: Database
    registry: Registry
    ledger: Ledger
    rollouts: Rollouts
    measurements: Measurements
    comparisons: Comparisons
    operators: Operators
    audit: Audit
    packs: PackStore
    publisher: Publisher
    maintenance: Maintenance
    reconciler: Reconciler
    health: Health
    fetches: Fetches
    tokens: Tokens
    long_polls: LongPolls
    metrics: Metrics
    limits: Limits
    rates: Rates

    def replace(self, generators: Generators, keys: Keys) -> None:
        """Switch to other bundles and keys; a request or batch under way ends with the old ones."""
        self.publisher.keyring = keys.keyring
        self.publisher.generators = generators
        self.keys = keys
        self.maintenance.take_over()

    @property
    def upkeep_alive(self) -> bool:
        """Whether both threads run that look after what is left to do."""
        return self.maintenance.alive and self.reconciler.alive

    def catch_up(self, device: str, version: int) -> None:
        """Have a device that polls with a later version than this server ever gave it get one above that."""
        if self.ledger.recovery.raise_above(device, version):
            self.publisher.queue([device])

    def readmit(self, device: str, token: str) -> Known | None:
        """Enrol a device again that was enrolled after the backup that the database comes from; None for any other."""
        bundle = self.tokens.lost(token, self.publisher.generators)
        if bundle is None or self.audit.erased(device):
            return None
        with suppress(IntegrityError):  # another request of the same device was quicker
            self.registry.enrol(device, hash_token(token), bundle, forgotten=True)
            self.audit.note("server", "readmitted", device=device)
            self.publisher.queue(self.rollouts.reach([device]))
        return self.registry.known(device)


async def _service(request: Request) -> Service:
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


ServiceOf = Annotated[Service, Depends(_service)]
