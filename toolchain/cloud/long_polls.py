"""Devices that wait for a release, and the call that hands it to them."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

Key = tuple[str, str]  # device and bundle
AT_ONCE = 8  # polls of one device for one bundle


@dataclass(frozen=True)
class Published:
    """A release as its device fetches it."""

    version: int
    jws: str


class Poll:
    """One long poll: a slot for the newest release, and whoever waits for it."""

    def __init__(self) -> None:
        self._newest: Published | None = None
        self._changed = asyncio.Event()

    def offer(self, published: Published | None) -> None:
        """Hand in a release, or None to say that there will be no more."""
        self._newest = published
        self._changed.set()

    async def newer_than(self, version: int, timeout_s: float) -> Published | None:
        """The next release above `version`; None when the time is over or there will be no more."""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    await self._changed.wait()
                    if self._newest is None or self._newest.version > version:
                        return self._newest
                    self._changed.clear()
        except TimeoutError:
            return None


class LongPolls:
    """The long polls of one event loop; a waiting device costs one event and is handed its release."""

    def __init__(self) -> None:
        self._polls: dict[Key, dict[Poll, None]] = {}  # oldest first
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def __len__(self) -> int:
        """How many devices wait."""
        return len(self._polls)

    def __contains__(self, key: Key) -> bool:
        """Whether a device waits for a release for a bundle; may be asked from any thread."""
        return key in self._polls

    @contextmanager
    def registered(self, key: Key) -> Iterator[Poll]:
        """A poll that is offered every new release of a device for a bundle, for as long as the context lasts.

        A device has AT_ONCE of them at most: one more ends the oldest, of a connection that it has given up.
        """
        self._loop = asyncio.get_running_loop()
        poll, others = Poll(), self._polls.setdefault(key, {})
        if len(others) >= AT_ONCE:
            oldest = next(iter(others))
            del others[oldest]
            oldest.offer(None)
        others[poll] = None
        if self._closed:
            poll.offer(None)
        try:
            yield poll
        finally:
            polls = self._polls.get(key, {})
            polls.pop(poll, None)
            if not polls:
                self._polls.pop(key, None)

    def wake(self, published: Mapping[Key, Published]) -> None:
        """Hand new releases to the polls of their devices; may be called from any thread."""
        if self._loop is not None and not self._closed:
            self._loop.call_soon_threadsafe(self._offer, published)

    def close(self) -> None:
        """End all long polls, so that the server can stop; call it on the event loop."""
        self._closed = True
        for polls in self._polls.values():
            for poll in polls:
                poll.offer(None)

    def _offer(self, published: Mapping[Key, Published]) -> None:
        for key, release in published.items():
            for poll in self._polls.get(key, ()):
                poll.offer(release)
