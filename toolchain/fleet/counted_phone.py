"""A phone with a real session that keeps running whatever it meets, and counts it."""

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import Refused
from mnet.toolchain.phone.backoff import Backoff
from mnet.toolchain.phone.client import CloudClient, Denied, Offline
from mnet.toolchain.phone.phone import Phone
from mnet.toolchain.phone.swapped import Swapped

POLL_S = 2.0
PATIENCE_S = 60.0  # until an accepted upload counts as lost

T = TypeVar("T")


class CountedPhone:
    """One phone, its folder and clock, and what it must answer under each version.

    `wanted` is the version that its last accepted upload gives; `met` counts what it met, by name.
    """

    def __init__(self, bundle: Bundle, folder: Path, clock: Callable[[], float]) -> None:
        self._bundle, self._folder, self._clock = bundle, folder, clock
        self._answers: dict[int, Tensor] = {}
        self._newest = 0
        self.wanted = 0
        self.met = Counter[str]()
        self.phone = self._started()

    def start(self) -> None:
        """Start it, or restart it, from its folder."""
        self.phone.close()
        self.phone = self._started()

    def _started(self) -> Phone:
        return Phone(self._bundle, self._folder, self._on_event, self._clock)

    @property
    def waits(self) -> bool:
        """Whether weights of an accepted upload are still to come."""
        return self.phone.version < self.wanted

    def upload(self, client: CloudClient, context: list[int]) -> bool:
        """Whether the server accepted an upload."""
        version = self._try(lambda: self.phone.upload(client, context))
        if version is None:
            return False
        self.wanted = version
        self.met["accepted"] += 1
        return True

    def look(self, client: CloudClient) -> Swapped | None:
        """One poll, and what it brought."""
        return self._try(lambda: self._poll(client))

    def settle(self, client: CloudClient) -> Swapped | None:
        """Look until it runs what its last accepted upload gives, or patience ends; the last swap."""
        swapped, backoff, end = None, Backoff(0.05, 1.0), time.monotonic() + PATIENCE_S
        while self.waits and time.monotonic() < end:
            if found := self.look(client):
                swapped = found
            else:
                time.sleep(backoff.next())
        return swapped

    def answers(self) -> tuple[bool, bool]:
        """Infer: whether the output is not what its version always gave, and whether the version fell."""
        live = self.phone.live
        with torch.inference_mode():
            output = live.run(self._bundle.golden.inputs[0])[0].clone()
        known = self._answers.setdefault(live.version, output)
        fell = live.version < self._newest
        self._newest = max(self._newest, live.version)
        return not torch.equal(known, output), fell

    def _poll(self, client: CloudClient) -> Swapped | None:
        swapped = self.phone.poll(client, POLL_S)
        self.met["swapped" if swapped else "nothing yet"] += 1
        return swapped

    def _try(self, step: Callable[[], T]) -> T | None:
        try:
            return step()
        except Offline:
            self.met["offline"] += 1
        except Denied as denial:
            self.met[f"HTTP {denial.status}"] += 1
        except Refused as refusal:
            self.met[f"refused: {refusal.reason}"] += 1
        return None

    def _on_event(self, event: str, **_fields: Any) -> None:
        if event == "not_persisted":
            self.met["not kept"] += 1
