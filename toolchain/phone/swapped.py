"""What a phone says of a version that it took."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Swapped:
    """A version that was taken. `swap_us`: verify, write, self-test and publish; `at`: by time.monotonic."""

    version: int
    sha256: str
    bytes: int
    fetch_ms: float
    swap_us: float
    at: float
    persisted: bool
