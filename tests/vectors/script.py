"""Conversations as they are written: a server that knows what good answers are, and the script of one conversation."""

import base64
import json
from dataclasses import dataclass, field
from typing import Any

from joserfc.jwk import ECKey

from mnet.export.format.bundle import Bundle
from mnet.export.format.packs import MAX_VERSION, pack_digest
from mnet.toolchain.cloud.signing_keys import Keyring, Stated
from mnet.toolchain.contract.freshness import HEADER, nothing_newer
from mnet.toolchain.contract.keys import public_keys
from mnet.toolchain.contract.release import Release, sign_release
from tests.export.ranker import PackFactory, random_weights
from tests.vectors.vector import DEVICE, NOW, Vector

DAY = 24 * 3600


Answer = dict[str, Any]


def answer(status: int, content: Any = None, headers: dict[str, str] | None = None) -> Answer:
    """An answer: bytes or text as they are, all else as JSON."""
    if not isinstance(content, bytes | str):
        content = b"" if content is None else json.dumps(content)
    data = content if isinstance(content, bytes) else content.encode()
    return {"status": status, "headers": headers or {}, "body": base64.b64encode(data).decode()}


@dataclass
class Script:
    """One conversation under way; keeps the clock and what the phone runs, so that a step says only what changes."""

    server: "Server"
    name: str
    steps: list[dict[str, Any]] = field(default_factory=list)
    clock: int = NOW
    version: int = 0
    stale: bool = False

    def step(
        self,
        do: str,
        outcome: str,
        requests: list[str],
        answers: dict[str, Answer | list[Answer]] | None = None,
        *,
        later: int = 0,
        version: int | None = None,
        stale: bool | None = None,
        **more: Any,
    ) -> None:
        """Add a step; `later` seconds pass before it."""
        self.clock += later
        self.version = self.version if version is None else version
        self.stale = self.stale if stale is None else stale
        listed = {
            route: each if isinstance(each, list) else [each] for route, each in (answers or {}).items()
        }
        self.steps.append(
            {
                "clock": self.clock,
                "do": do,
                "answers": listed,
                "requests": requests,
                "outcome": outcome,
                "version": self.version,
                "stale": self.stale,
                **more,
            }
        )

    def enrolled(self, **changed: Any) -> "Script":
        """After an enrolment and a first poll that brings nothing, so that keys were asked for today."""
        self.step("enrol", "done", ["enrol"], {"enrol": self.server.enrolment(**changed)})
        self.poll_nothing(stated=True, keys=True)
        return self

    def poll_nothing(
        self, *, stated: bool, later: int = 0, keys: bool = False, stale: bool | None = None
    ) -> None:
        """A poll that brings no release, with a statement that there is none or without."""
        now = self.clock + later
        headers = {HEADER: self.server.nothing(self.version, now)} if stated else {}
        requests = [self.server.asked(self.version), *(["keys"] if keys else [])]
        if stale is not None:
            requests.append(f"report {self.version} stale")
        answers: dict[str, Answer | list[Answer]] = {
            "release": answer(204, headers=headers),
            "keys": self.server.keys(now),
            "report": answer(204),
        }
        self.step("poll", "nothing", requests, answers, later=later, stale=stale)

    def poll_release(
        self, version: int, outcome: str, *, pack: bytes | None = None, fetches: bool = True, **claims: Any
    ) -> None:
        """A poll that brings a release, which the phone takes or refuses as `outcome` says."""
        good, jws = self.server.pack(version), self.server.release(version, **claims)
        taken = outcome == "swapped"
        report = "taken" if taken else outcome.removeprefix("refused ")
        requests = [self.server.asked(self.version)]
        requests += ["pack", f"report {version} {report}"] if fetches else []
        answers: dict[str, Answer | list[Answer]] = {
            "release": answer(200, {"release": jws}),
            "pack": answer(200, good if pack is None else pack),
            "report": answer(204),
        }
        self.step("poll", outcome, requests, answers, version=version if taken else None)

    def vector(self) -> Vector:
        """What is written."""
        return {"name": self.name, "kind": "conversation", "steps": self.steps}


@dataclass
class Server:
    """What a server knows, to make good answers with, and bad ones."""

    bundle: Bundle
    packs: PackFactory
    key: ECKey
    other: ECKey
    number: int = 0
    _made: dict[int, bytes] = field(default_factory=dict)

    def asked(self, after: int, number: int | None = None) -> str:
        """A request for a release, as a vector names it."""
        return f"release after={after} keys={self.number if number is None else number}"

    def enrolment(self, **changed: Any) -> Answer:
        """A new identity."""
        keys = public_keys(self.key)
        return answer(
            201, {"device": DEVICE, "token": f"{DEVICE}.secret", "keys": keys, "number": 0, **changed}
        )

    def pack(self, version: int) -> bytes:
        """The good pack of a version, if there can be one."""
        if not 1 <= version <= MAX_VERSION:
            return b"0"
        if version not in self._made:
            self._made[version] = self.packs.pack(random_weights(self.bundle, version), version)
        return self._made[version]

    def release(self, version: int, by: ECKey | None = None, **changed: Any) -> str:
        """The release of a version, valid for a month."""
        pack = self.pack(version)
        stated = {
            "sha256": pack_digest(pack),
            "size": len(pack),
            "issued_at": NOW,
            "expires_at": NOW + 30 * DAY,
            **changed,
        }
        return sign_release(by or self.key, Release(DEVICE, self.bundle.id, version, **stated))

    def nothing(self, version: int, now: int, by: ECKey | None = None) -> str:
        """The statement that there is nothing newer."""
        return nothing_newer(by or self.key, DEVICE, self.bundle.id, version, now)

    def keys(self, now: int, number: int = 0, ring: tuple[ECKey, ...] | None = None) -> Answer:
        """The statements of keys: of `ring`, the signing one first."""
        signing, *retiring = ring or (self.key,)
        return answer(200, {"statements": Keyring(signing, tuple(retiring), Stated(number)).statements(now)})
