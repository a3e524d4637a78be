"""Light phones that outlive their server."""

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from typing import Any

from mnet.export.format.bundle import Bundle
from mnet.toolchain.cloud.signing_keys import read_key
from mnet.toolchain.fleet.light_phones import LightFleet, LightPhone, room_for
from mnet.toolchain.fleet.processes import ServerProcess

PATIENCE_S = 600.0


class Crowd:
    """Light phones that follow their server from a thread of their own, through its death."""

    def __init__(self, server: ServerProcess, bundle: Bundle, count: int) -> None:
        room_for(count)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._fleet = LightFleet(server.url, bundle.id, [1, 2, 3], seed=0)
        self._polls: list[asyncio.Task[None]] = []
        self._do(self._fleet.__aenter__())
        self.join(server, count)

    def join(self, server: ServerProcess, count: int) -> None:
        """More of them enrol, and follow."""
        self._do(self._follow(read_key(server.enrolment_key), count))

    def _do(self, what: Coroutine[Any, Any, Any]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(PATIENCE_S)

    async def _follow(self, key: str, count: int) -> None:
        before = len(self._fleet.phones)
        await self._fleet.enrol(count, key)
        self._polls += [
            asyncio.create_task(self._fleet.follow(phone)) for phone in self._fleet.phones[before:]
        ]

    def upload(self, share: slice) -> None:
        """Some upload, and fetch what comes of it."""

        async def one(phone: LightPhone) -> None:
            await phone.reached(await self._fleet.upload(phone))

        async def each() -> None:
            await asyncio.gather(*(one(phone) for phone in self._fleet.phones[share]))

        self._do(each())

    def get_more_than(self, versions: Sequence[int], share: slice) -> None:
        """Wait until each of some phones has fetched a later version than it had."""

        async def each() -> None:
            phones = self._fleet.phones[share]
            await asyncio.gather(*(p.reached(v + 1) for p, v in zip(phones, versions, strict=True)))

        self._do(each())

    @property
    def errors(self) -> dict[str, int]:
        """What they met, counted."""
        return dict(self._fleet.errors)

    @property
    def versions(self) -> list[int]:
        """That each has."""
        return [phone.version for phone in self._fleet.phones]

    def close(self) -> None:
        async def end() -> None:
            for poll in self._polls:
                poll.cancel()
            await asyncio.gather(*self._polls, return_exceptions=True)
            await self._fleet.__aexit__(None, None, None)

        self._do(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
