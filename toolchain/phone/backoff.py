"""How long to wait before the next try."""

import random


class Backoff:
    """Waits that double up to a cap, each between half and all of itself, so that no fleet moves in step."""

    def __init__(self, first_s: float = 0.2, cap_s: float = 30.0) -> None:
        self._first_s = self._next_s = first_s
        self._cap_s = cap_s

    def next(self) -> float:
        """The next wait, in seconds."""
        wait_s = self._next_s * random.uniform(0.5, 1.0)  # noqa: S311 (no secret)
        self._next_s = min(self._next_s * 2, self._cap_s)
        return wait_s

    def reset(self) -> None:
        """Start over after a success."""
        self._next_s = self._first_s
