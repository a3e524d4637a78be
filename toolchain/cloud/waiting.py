"""Devices that wait for a release, and the call that wakes them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Waiting:
    """The long polls of one event loop; a waiting device costs one event."""

    def __init__(self) -> None:
        self._events: dict[str, set[asyncio.Event]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self.closed = False

    @contextmanager
    def registered(self, device: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever the device has a new release, for as long as the context lasts."""
        self._loop = asyncio.get_running_loop()
        event = asyncio.Event()
        self._events.setdefault(device, set()).add(event)
        try:
            yield event
        finally:
            events = self._events[device]
            events.discard(event)
            if not events:
                del self._events[device]

    def wake(self, device: str) -> None:
        """Wake every poll of a device; may be called from any thread."""
        if self._loop is not None and not self.closed:
            self._loop.call_soon_threadsafe(self._set, device)

    def close(self) -> None:
        """Wake everybody for good, so that a server can stop; called on the event loop."""
        self.closed = True
        for device in list(self._events):
            self._set(device)

    def _set(self, device: str) -> None:
        for event in self._events.get(device, ()):
            event.set()
