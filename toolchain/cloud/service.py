"""What the handlers of one server process work with."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from mnet.toolchain.cloud.audit import Audit
from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.ledger import Ledger
from mnet.toolchain.cloud.long_polls import LongPolls
from mnet.toolchain.cloud.maintenance import Maintenance
from mnet.toolchain.cloud.metrics import Metrics
from mnet.toolchain.cloud.pack_store import PackStore
from mnet.toolchain.cloud.publishing import Generators, Publisher
from mnet.toolchain.cloud.registry import Registry
from mnet.toolchain.cloud.rollouts import Rollouts
from mnet.toolchain.cloud.settings import Limits
from mnet.toolchain.cloud.state import Keys


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
    maintenance: Maintenance
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


async def _service(request: Request) -> Service:
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


ServiceOf = Annotated[Service, Depends(_service)]
