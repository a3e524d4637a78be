"""Which pack a phone need not fetch again: one that it refused."""

import math
import time
from collections import Counter

from mnet.export.format.errors import Reason

HOUR_S = 3600
# These may be the network's doing; any other refusal of a release would come again.
DAMAGE = {Reason.WRONG_SIZE, Reason.WRONG_HASH}
# So many downloads of what comes damaged an hour.
DAMAGED_DOWNLOADS = 5

# A version, and the SHA-256 of its pack.
Named = tuple[int, str]


class RefusedPacks:
    """The pack that was refused last, for good, or for an hour where the network damaged it often enough."""

    def __init__(self) -> None:
        self._last: Named = (0, "")
        self._until = math.inf  # by time.monotonic
        self._damaged = Counter[Named]()

    @property
    def version(self) -> int:
        """The version that need not be fetched now; 0 where there is none."""
        return self._last[0] if time.monotonic() < self._until else 0

    def __contains__(self, named: Named) -> bool:
        return self.version != 0 and named == self._last

    def note(self, named: Named, reason: Reason) -> None:
        """What was refused is not fetched again; what the network may have damaged, a few times an hour."""
        self._damaged[named] += reason in DAMAGE
        if reason not in DAMAGE:
            self._last, self._until = named, math.inf
        elif self._damaged[named] >= DAMAGED_DOWNLOADS:
            self._last, self._until = named, time.monotonic() + HOUR_S
            self._damaged.clear()
