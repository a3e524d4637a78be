"""What the handlers of one server process work with."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from toolchain.cloud.audit import Audit
from toolchain.cloud.database import Database
from toolchain.cloud.ledger import Ledger
from toolchain.cloud.metrics import Metrics
from toolchain.cloud.packs import PackStore
from toolchain.cloud.publishing import Generators, Publisher
from toolchain.cloud.registry import Registry
from toolchain.cloud.rollouts import Rollouts
from toolchain.cloud.settings import Limits
from toolchain.cloud.state import Keys
from toolchain.cloud.upkeep import Upkeep
from toolchain.cloud.waiting import Waiting


class Rates:
    """How often each device has uploaded of late."""

    def __init__(self, limits: Limits) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._uploads = RateLimitItemPerMinute(limits.uploads_a_minute)

    def upload(self, device: str) -> bool:
        """Count an upload; False if it is one too many."""
        return self._limiter.hit(self._uploads, device)


@dataclass
class Service:
    """One server process: the state that all replicas share, and what is its own."""

    keys: Keys
    database: Database
    registry: Registry
    ledger: Ledger
    rollouts: Rollouts
    audit: Audit
    packs: PackStore
    publisher: Publisher
    upkeep: Upkeep
    waiting: Waiting
    metrics: Metrics
    limits: Limits
    rates: Rates

    def replace(self, generators: Generators, keys: Keys) -> None:
        """Go on with other bundles and keys; a request or batch under way ends with the old ones."""
        self.publisher.keyring = keys.keyring
        self.publisher.generators = generators
        self.keys = keys
        self.upkeep.take_over()


async def _service(request: Request) -> Service:
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


ServiceOf = Annotated[Service, Depends(_service)]
