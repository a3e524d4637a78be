"""A phone with a real session that goes on whatever it meets, and counts it."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from export.bundle import Bundle
from export.errors import Refused
from toolchain.fleet.client import CloudClient, Denied, Offline
from toolchain.fleet.phone import Phone

POLL_S = 2.0


class Handset:
    """One phone, its folder and clock, and what it must answer under each version."""

    def __init__(self, bundle: Bundle, folder: Path, clock: Callable[[], float]) -> None:
        self._bundle, self._folder, self._clock = bundle, folder, clock
        self._answers: dict[int, Tensor] = {}
        self._newest = 0
        self.wanted = 0
        self.told = Counter[str]()
        self.start()

    def start(self) -> None:
        """Start it, anew, from its folder."""
        self.phone = Phone(self._bundle, self._folder, self._hear, self._clock)

    def ask(self, client: CloudClient, context: list[int]) -> None:
        """Upload where nothing is awaited, and look for what comes of it; trouble is counted in `told`."""
        if self.phone.version >= self.wanted:
            self._try(lambda: self.upload(client, context))
        self.look(client)

    def upload(self, client: CloudClient, context: list[int]) -> None:
        """Upload; raises Offline or Denied."""
        self.wanted = self.phone.upload(client, context)
        self.told["accepted"] += 1

    def look(self, client: CloudClient) -> None:
        """One poll."""
        self._try(lambda: self._poll(client))

    def answers(self) -> tuple[bool, bool]:
        """Infer: whether the output is not what its version always gave, and whether the version fell."""
        live = self.phone.live
        with torch.inference_mode():
            output = live.run(self._bundle.golden.inputs[0])[0].clone()
        known = self._answers.setdefault(live.version, output)
        fell = live.version < self._newest
        self._newest = max(self._newest, live.version)
        return not torch.equal(known, output), fell

    def _poll(self, client: CloudClient) -> None:
        swapped = self.phone.poll(client, POLL_S)
        self.told["swapped" if swapped else "nothing yet"] += 1

    def _try(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Offline:
            self.told["offline"] += 1
        except Denied as denial:
            self.told[f"HTTP {denial.status}"] += 1
        except Refused as refusal:
            self.told[f"refused: {refusal.reason}"] += 1

    def _hear(self, event: str, **_fields: Any) -> None:
        if event == "not_persisted":
            self.told["not kept"] += 1
