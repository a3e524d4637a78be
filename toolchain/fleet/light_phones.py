"""Light phones: thousands of connections that load a server as a fleet does, and infer nothing.

Each keeps a long poll open and fetches every pack announced to it, checked against the SHA-256 in its release;
signatures are not verified, to leave the server its core. As a program, enrols `COUNT` of them, lets random ones upload
random contexts, 5 a second in all, until SIGTERM, and prints `ready` and then `light` as JSON lines:

    python -m mnet.toolchain.fleet.light_phones URL ENROLMENT_KEY_FILE BUNDLE_ID ITEMS COUNT SEED --json
"""

import asyncio
import base64
import hashlib
import json
import os
import random
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from mnet.toolchain.errors import UserError
from mnet.toolchain.fleet.minimal_http import MinimalHttp
from mnet.toolchain.fleet.percentiles import percentiles
from mnet.toolchain.phone.backoff import Backoff

UPLOADERS = 32
UPLOADS_A_SECOND = 5.0
SAMPLES = 20
POLL_S = 60
LAST_WAIT_S = 10.0  # for what was uploaded and not fetched at the end


class Trouble(Exception):
    """An answer that is not the one hoped for; its text is what to count it by."""


@dataclass
class LightPhone:
    """One light phone: the newest version announced to it, and when that and its pack had arrived (perf_counter)."""

    device: str
    token: str
    version: int = 0
    announced: dict[int, float] = field(default_factory=dict)
    fetched: dict[int, float] = field(default_factory=dict)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def reached(self, version: int) -> tuple[float, float]:
        """When this version, or a newer one, was announced and its pack fetched."""
        while not self.fetched or max(self.fetched) < version:
            self.arrived.clear()
            await self.arrived.wait()
        first = min(v for v in self.fetched if v >= version)
        return self.announced[first], self.fetched[first]


class LightFleet:
    """All light phones of a server, their polls, the bytes of packs they fetched, and what went wrong, by name.

    What they upload is drawn from `samples`.
    """

    def __init__(self, url: str, bundle: str, samples: Sequence[Any], seed: int) -> None:
        parts = urlsplit(url)
        self._address = parts.hostname or "127.0.0.1", parts.port or 80
        self._bundle = bundle
        self._samples = samples
        self._draw = random.Random(seed)  # noqa: S311 (no secret)
        self._connections = AsyncExitStack()
        self._uploaders: asyncio.Queue[MinimalHttp] = asyncio.Queue()
        self.phones: list[LightPhone] = []
        self.errors = Counter[str]()
        self.bytes = 0
        self.uploads = 0
        self.upload_to_fetched_s: list[float] = []

    async def __aenter__(self) -> Self:
        for _ in range(UPLOADERS):
            self._uploaders.put_nowait(await self._connections.enter_async_context(self.connection()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connections.aclose()

    def connection(self) -> MinimalHttp:
        """A new connection to the server."""
        return MinimalHttp(*self._address)

    @asynccontextmanager
    async def uploading(self) -> AsyncIterator[MinimalHttp]:
        """One of a few connections that enrol and upload."""
        connection = await self._uploaders.get()
        try:
            yield connection
        finally:
            self._uploaders.put_nowait(connection)

    async def enrol(self, count: int, key: str, cohort: str | None = None) -> None:
        """Enrol `count` phones, in a cohort if one is given."""
        body = {"bundle": self._bundle} | ({} if cohort is None else {"cohort": cohort})

        async def one() -> None:
            async with self.uploading() as connection:
                status, answer = await connection.call("POST", "/v1/devices", key, body)
            assert status == 201, answer
            known = json.loads(answer)
            self.phones.append(LightPhone(known["device"], known["token"]))

        await asyncio.gather(*(one() for _ in range(count)))

    async def upload(self, phone: LightPhone) -> int:
        """Upload a random context; returns the version that will stem from it. Raises Trouble, OSError, EOFError."""
        samples = self._draw.choices(self._samples, k=SAMPLES)
        path = f"/v1/devices/{phone.device}/context"
        async with self.uploading() as connection:
            status, answer = await connection.call("POST", path, phone.token, {"samples": samples})
        if status != 202:
            raise Trouble(f"HTTP {status}")
        self.uploads += 1
        return int(json.loads(answer)["version"])

    async def timed_upload(self, phone: LightPhone) -> None:
        """Upload, and note how long it took until the pack was there; trouble is counted."""
        start = time.perf_counter()
        try:
            version = await self.upload(phone)
        except (OSError, EOFError, Trouble) as error:
            self._count("upload", error)
            return
        _, fetched = await phone.reached(version)
        self.upload_to_fetched_s.append(fetched - start)

    async def report_all(self, version: int, outcome: str) -> None:
        """Have every phone that fetched this version report the same outcome, as phones do that judge packs."""

        async def one(phone: LightPhone) -> None:
            body = {"version": version, "outcome": outcome}
            async with self.uploading() as connection:
                await connection.call("POST", f"/v1/devices/{phone.device}/reports", phone.token, body)

        await asyncio.gather(*(one(phone) for phone in self.phones if version in phone.fetched))

    async def follow(self, phone: LightPhone) -> None:
        """Poll and fetch until cancelled; errors are counted and retried."""
        backoff = Backoff(cap_s=5.0)
        while True:
            try:
                async with self.connection() as connection:
                    while True:
                        await self._poll(connection, phone)
                        backoff.reset()
            except (OSError, EOFError, Trouble, KeyError, ValueError) as error:
                self._count("poll", error)
                await asyncio.sleep(backoff.next())

    async def _poll(self, connection: MinimalHttp, phone: LightPhone) -> None:
        path = f"/v1/devices/{phone.device}/release?after={phone.version}&timeout={POLL_S}"
        status, answer = await connection.call("GET", path, phone.token, limit_s=POLL_S + 30)
        if status == 204:
            return
        if status != 200:
            raise Trouble(f"HTTP {status}")
        announced = time.perf_counter()
        payload = json.loads(answer)["release"].split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        status, pack = await connection.call("GET", f"/v1/packs/{claims['sha256']}", phone.token)
        if status != 200:
            raise Trouble(f"pack HTTP {status}")
        if hashlib.sha256(pack).hexdigest() != claims["sha256"]:
            raise Trouble("wrong hash")
        if claims["version"] <= phone.version:
            raise Trouble("backwards")
        self.bytes += len(pack)
        phone.version = claims["version"]
        phone.announced[phone.version], phone.fetched[phone.version] = announced, time.perf_counter()
        phone.arrived.set()

    def _count(self, during: str, error: Exception) -> None:
        if isinstance(error, TimeoutError):
            name = "late"
        elif isinstance(error, OSError | EOFError):
            name = "offline"
        else:
            name = str(error) if isinstance(error, Trouble) else "no answer of an mnet server"
        self.errors[f"{during}: {name}"] += 1

    async def upload_until(self, stop: asyncio.Event) -> int:
        """Let random phones upload at random moments; returns how many uploads nothing was fetched for in time."""
        parent, uploads = os.getppid(), set[asyncio.Task[None]]()
        while not stop.is_set() and os.getppid() == parent:  # a parent that was killed leaves no loose fleet
            await asyncio.sleep(self._draw.expovariate(UPLOADS_A_SECOND))
            upload = asyncio.create_task(self.timed_upload(self._draw.choice(self.phones)))
            uploads.add(upload)
            upload.add_done_callback(uploads.discard)
        if not uploads:
            return 0
        _, unanswered = await asyncio.wait(uploads, timeout=LAST_WAIT_S)
        for upload in unanswered:
            upload.cancel()
        return len(unanswered)

    def report(self) -> dict[str, Any]:
        """What the phones did and met; `upload_to_fetched_ms` is from the start of an upload to the checked pack."""
        return {
            "phones": len(self.phones),
            "uploads": self.uploads,
            "fetched": sum(len(phone.fetched) for phone in self.phones),
            "bytes": self.bytes,
            "errors": dict(self.errors),
            "upload_to_fetched_ms": percentiles([1e3 * seconds for seconds in self.upload_to_fetched_s]),
        }


def room_for(connections: int) -> None:
    """Allow this process, and those that it starts, enough open files. Raises UserError where it may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 4 * connections + 1024
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise UserError(
            f"{connections} light phones need {needed} open files, {hard} are allowed (ulimit -Hn)"
        )
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


async def _work(url: str, key: str, bundle: str, samples: list[Any], count: int, seed: int) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with LightFleet(url, bundle, samples, seed) as fleet:
        await fleet.enrol(count, key)
        polls = [asyncio.create_task(fleet.follow(phone)) for phone in fleet.phones]
        print(json.dumps({"event": "ready"}), flush=True)
        unanswered = await fleet.upload_until(stop)
        for poll in polls:
            poll.cancel()
        await asyncio.gather(*polls, return_exceptions=True)
    print(json.dumps({"event": "light", **fleet.report(), "unanswered": unanswered}), flush=True)


if __name__ == "__main__":
    url, key_file, bundle, samples_file, count, seed = sys.argv[1:7]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C is for the parent, which ends this
    drawn_from = json.loads(Path(samples_file).read_text(encoding="utf-8"))
    asyncio.run(_work(url, Path(key_file).read_text().strip(), bundle, drawn_from, int(count), int(seed)))
