"""Vectors about a conversation: what a server answers, step by step, and what a phone asks, runs and says after each.

`conversations.json` lists them. A step has a `clock` (Unix seconds, the phone's own), what the phone's owner does
(`enrol`, `upload`, `poll`, or `restart`, which may find a file of the state folder `damaged`), and the `answers` of the
server by route: status, headers and body (base64), a list where there is one for each request; 404 for the rest. Then
follow the `requests` that the phone must have made, the `outcome`, the `version` that it runs and whether it says that
this is `stale`.
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from joserfc.jwk import ECKey

from mnet.export.format.bundle import Bundle
from mnet.export.format.packs import MAX_VERSION, pack_digest, write_pack
from mnet.toolchain.cloud.signing_keys import Keyring, Stated
from mnet.toolchain.contract.freshness import HEADER, nothing_newer
from mnet.toolchain.contract.jws import sign
from mnet.toolchain.contract.keys import KEY_STATEMENT, public_keys
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
        self.poll_nothing(told=True, keys=True)
        return self

    def poll_nothing(
        self, *, told: bool, later: int = 0, keys: bool = False, stale: bool | None = None
    ) -> None:
        """A poll that brings no release, with a statement that there is none or without."""
        now = self.clock + later
        headers = {HEADER: self.server.nothing(self.version, now)} if told else {}
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


def conversation_vectors(bundle: Bundle, packs: PackFactory, key: ECKey, other: ECKey) -> Iterator[Vector]:
    """All conversations."""
    server = Server(bundle, packs, key, other)
    for conversation in (
        *_ordinary(server),
        *_freezes(server),
        *_versions(server),
        *_refusals(server),
        *_rotations(server),
        *_thefts(server),
        *_nonsense(server),
    ):
        yield conversation.vector()


def _ordinary(server: Server) -> Iterator[Script]:
    script = Script(server, "a release is taken, reported, and runs after a restart").enrolled()
    script.poll_release(1, "swapped")
    script.poll_nothing(told=True)
    script.step("restart", "done", [])
    script.poll_nothing(told=True, keys=True)
    script.poll_release(3, "swapped")
    yield script

    script = Script(server, "what was taken outlives its expiry").enrolled()
    script.poll_release(1, "swapped")
    script.step("restart", "done", [], later=400 * DAY)
    yield script

    script = Script(server, "a report that is not heard changes nothing").enrolled()
    answers = {"release": answer(200, {"release": server.release(1)}), "pack": answer(200, server.pack(1))}
    requests = [server.asked(0), "pack", "report 1 taken"]
    script.step("poll", "swapped", requests, {**answers, "report": answer(503)}, version=1)
    yield script

    script = Script(server, "keys are asked for daily, and after a clock went back").enrolled()
    script.poll_nothing(told=True, later=DAY - 1)
    script.poll_nothing(told=True, later=1, keys=True)
    script.poll_nothing(told=True, later=60)
    script.poll_nothing(told=True, later=-2 * DAY, keys=True)
    yield script


def _freezes(server: Server) -> Iterator[Script]:
    script = Script(server, "frozen: nobody says for a day that there is nothing newer").enrolled()
    script.poll_release(1, "swapped")
    script.poll_nothing(told=False, later=DAY - 1)
    script.poll_nothing(told=False, later=1, keys=True, stale=True)
    for _ in range(3):
        script.poll_nothing(told=False, later=100 * DAY, keys=True)
    script.step("restart", "done", [], stale=False)
    script.poll_nothing(told=False, keys=True, stale=True)
    script.step(
        "poll",
        "nothing",
        [server.asked(1)],
        {"release": answer(204, headers={HEADER: server.nothing(1, script.clock)})},
        stale=False,
    )
    yield script

    for name, by, version, issued in (
        ("an old statement is played back", server.key, 1, NOW - 1),
        ("the statement is about an older version", server.key, 0, NOW + DAY),
        ("the statement is by another key", server.other, 1, NOW + DAY),
        ("the statement is of the far future", server.key, 1, NOW + 10 * DAY),
    ):
        script = Script(server, f"frozen: {name}").enrolled()
        script.poll_release(1, "swapped")
        statement = nothing_newer(by, DEVICE, server.bundle.id, version, issued)
        script.step(
            "poll",
            "nothing",
            [server.asked(1), "keys", "report 1 stale"],
            {"release": answer(204, headers={HEADER: statement}), "report": answer(204)},
            later=DAY,
            stale=True,
        )
        yield script

    script = Script(server, "frozen: a release that is no statement").enrolled()
    script.step(
        "poll",
        "nothing",
        [server.asked(0), "keys", "report 0 stale"],
        {"release": answer(204, headers={HEADER: server.release(1)}), "report": answer(204)},
        later=DAY,
        stale=True,
    )
    yield script

    script = Script(
        server, "without a network a phone is stale after a day, and reports it when it can"
    ).enrolled()
    requests = [server.asked(0), "report 0 stale"]
    script.step(
        "poll",
        "offline",
        requests,
        {"release": answer(503), "report": answer(503)},
        later=DAY,
        stale=True,
    )
    script.step(
        "poll",
        "nothing",
        [server.asked(0), "keys", "report 0 stale"],
        {
            "release": answer(204, headers={HEADER: server.nothing(0, script.clock)}),
            "keys": server.keys(script.clock),
            "report": answer(204),
        },
        stale=False,
    )
    yield script


def _versions(server: Server) -> Iterator[Script]:
    for version in (MAX_VERSION + 1, 2**63 - 1, 10**400):
        script = Script(
            server, f"fast-forward: version {version if version < 2**64 else '10^400'}"
        ).enrolled()
        script.poll_release(version, "refused malformed", fetches=False)
        script.poll_release(1, "swapped")
        yield script

    script = Script(server, "rolled back: an older release").enrolled()
    script.poll_release(4, "swapped")
    script.poll_release(3, "refused stale_version", fetches=False)
    script.poll_release(4, "refused stale_version", fetches=False)
    script.step("restart", "done", [])
    script.step(
        "poll",
        "refused stale_version",
        [server.asked(4), "keys"],
        {"release": answer(200, {"release": server.release(3)}), "keys": server.keys(NOW)},
    )
    yield script

    script = Script(server, "an expired release").enrolled()
    script.poll_release(1, "refused expired", fetches=False, expires_at=NOW)
    yield script


def _refusals(server: Server) -> Iterator[Script]:
    weights = random_weights(server.bundle, 7)
    broken = write_pack(weights, bundle_id=server.bundle.id, version=7, generator="g", probe=[9.0] * 16)
    named = {"sha256": pack_digest(broken), "size": len(broken)}
    refused = answer(200, {"release": server.release(7, **named)})
    report = answer(204)

    script = Script(
        server, "a refused release is not fetched again, and gives way to the one before it"
    ).enrolled()
    script.poll_release(7, "refused self_test_failed", pack=broken, **named)
    script.step(
        "poll",
        "nothing",
        [server.asked(7), server.asked(0)],
        {"release": [answer(204), refused]},
    )
    script.step(
        "poll",
        "swapped",
        [server.asked(7), server.asked(0), "pack", "report 3 taken"],
        {
            "release": [answer(204), answer(200, {"release": server.release(3)})],
            "pack": answer(200, server.pack(3)),
            "report": report,
        },
        version=3,
    )
    script.step("poll", "nothing", [server.asked(7), server.asked(3)], {"release": answer(204)})
    script.step(
        "poll",
        "swapped",
        [server.asked(7), "pack", "report 8 taken"],
        {
            "release": answer(200, {"release": server.release(8)}),
            "pack": answer(200, server.pack(8)),
            "report": report,
        },
        version=8,
    )
    yield script

    script = Script(server, "a pack that comes damaged is fetched a few times an hour").enrolled()
    for _ in range(5):
        script.poll_release(2, "refused wrong_hash", pack=server.pack(2)[:-1] + b"\xff")
    again = answer(200, {"release": server.release(2)})
    script.step("poll", "nothing", [server.asked(2), server.asked(0)], {"release": [answer(204), again]})
    yield script

    script = Script(server, "a pack that is not there").enrolled()
    script.step(
        "poll",
        "denied 404",
        [server.asked(0), "pack"],
        {"release": answer(200, {"release": server.release(1)})},
    )
    script.poll_release(1, "swapped")
    yield script

    script = Script(server, "a pack that is far too large is not fetched").enrolled()
    script.step(
        "poll",
        "refused wrong_size",
        [server.asked(0), "report 1 wrong_size"],
        {"release": answer(200, {"release": server.release(1, size=10**12)}), "report": report},
    )
    yield script


def _rotations(server: Server) -> Iterator[Script]:
    def rotated(script: Script, outcome: str, keys: Answer, *, version: int = 1, number: int = 0) -> None:
        jws = server.release(version, by=server.other)
        taken = outcome == "swapped"
        script.step(
            "poll",
            outcome,
            [
                server.asked(script.version, number),
                "keys",
                *(["pack", f"report {version} taken"] if taken else []),
            ],
            {
                "release": answer(200, {"release": jws}),
                "keys": keys,
                "pack": answer(200, server.pack(version)),
                "report": answer(204),
            },
            version=version if taken else None,
        )

    both = server.other, server.key
    script = Script(server, "rotation: a known key vouches for the new one").enrolled()
    rotated(script, "swapped", server.keys(NOW, 1, both))
    script.step("restart", "done", [])
    yield script

    script = Script(server, "rotation: the new key alone is not believed").enrolled()
    rotated(script, "refused bad_signature", server.keys(NOW, 1, (server.other,)))
    yield script

    script = Script(server, "rotation: an old statement is played back").enrolled()
    rotated(script, "refused bad_signature", server.keys(NOW + 60, 0, both))
    rotated(script, "swapped", server.keys(NOW - 90 * DAY, 1, both))
    yield script

    script = Script(server, "rotation: a server whose clock was in 2099 for a while").enrolled()
    rotated(script, "refused bad_signature", server.keys(4_070_908_800, 1, both))
    rotated(script, "swapped", server.keys(NOW, 1, both))
    yield script

    script = Script(server, "rotation: what a retired key signed runs on, and nothing new by it").enrolled()
    script.poll_release(1, "swapped")
    rotated(script, "swapped", server.keys(NOW, 1, (server.other, server.key)), version=2)
    answers: dict[str, Answer | list[Answer]] = {
        "release": answer(204),
        "keys": answer(
            200,
            {"statements": Keyring(server.other, (), Stated(2)).statements(NOW + DAY)},
        ),
        "report": answer(204),
    }
    script.step(
        "poll", "nothing", [server.asked(2, 1), "keys", "report 2 stale"], answers, later=DAY, stale=True
    )
    script.step(
        "poll",
        "refused bad_signature",
        [server.asked(2, 2), "keys"],
        {"release": answer(200, {"release": server.release(3)})} | {"keys": answers["keys"]},
    )
    script.step("restart", "done", [], stale=False)
    yield script


def _thefts(server: Server) -> Iterator[Script]:
    """The signing key is stolen; `other` is the new one."""
    root, second = (ECKey.generate_key("P-256", {"kid": kid}, auto_kid=False) for kid in ("root-1", "root-2"))
    pinned = {"roots": {"keys": public_keys(root, second), "threshold": 2}}

    def stated(number: int, epoch: int, *vouching: ECKey) -> Answer:
        ring = Keyring(server.other, (), Stated(number, epoch))
        payloads = {"keys": ring.jwks["keys"], "number": number, "epoch": epoch, "iat": NOW}
        return answer(200, {"statements": [sign(key, payloads, KEY_STATEMENT) for key in vouching]})

    for name, vouching in (
        ("the stolen key", (server.key,)),
        ("one root of two", (root,)),
        ("one root, twice", (root, root)),
        ("the new key and a root", (server.other, root)),
    ):
        script = Script(server, f"theft: {name} cannot vouch for other keys").enrolled(**pinned)
        script.step("restart", "done", [])
        requests = [server.asked(0), "keys"]
        released = {"release": answer(200, {"release": server.release(1, by=server.other)})}
        script.step("poll", "refused bad_signature", requests, {**released, "keys": stated(1, 1, *vouching)})
        yield script

    script = Script(server, "theft: roots vouch for a new key, and versions go on").enrolled(**pinned)
    script.poll_release(4, "swapped")
    requests = [server.asked(4), "keys", "pack", "report 5 taken"]
    answers: dict[str, Answer | list[Answer]] = {
        "release": answer(200, {"release": server.release(5, by=server.other)}),
        "keys": stated(1, 0, root, second),
        "pack": answer(200, server.pack(5)),
        "report": answer(204),
    }
    script.step("poll", "swapped", requests, answers, version=5)
    yield script

    for rooted in (True, False):
        name = "starts the count again" if rooted else "is nobody's to declare without roots"
        script = Script(server, f"theft: fast-forward, and a new epoch {name}").enrolled(
            **(pinned if rooted else {})
        )
        script.poll_release(MAX_VERSION, "swapped")
        vouching = (root, second) if rooted else (server.key,)
        asked = [server.asked(MAX_VERSION), "keys"]
        script.step("restart", "done", [])
        jws = answer(200, {"release": server.release(1, by=server.other)})
        requests = [server.asked(MAX_VERSION), "keys"]
        reported = {"report": answer(204), "pack": answer(200, server.pack(1))}
        if rooted:
            script.step(
                "poll",
                "nothing",
                asked,
                {"release": answer(204), "keys": stated(1, 1, *vouching)},
                version=0,
            )
            script.step(
                "poll",
                "swapped",
                [server.asked(0, 1), "pack", "report 1 taken"],
                {"release": jws, **reported},
                version=1,
            )
            script.step("restart", "done", [])
        else:
            script.step(
                "poll", "refused stale_version", requests, {"release": jws, "keys": stated(1, 1, *vouching)}
            )
        yield script


def _nonsense(server: Server) -> Iterator[Script]:
    for name, body in {
        "no JSON": b"<html>Welcome to our Wi-Fi</html>",
        "a list": b"[]",
        "null": b"null",
        "a number for a release": b'{"release": 7}',
        "null for a release": b'{"release": null}',
        "infinite": b'{"release": 1e999}',
        "nested deep": b"[" * 100_000,
        "cut": b'{"release": "',
        "not UTF-8": b'{"release": "\xff"}',
    }.items():
        script = Script(server, f"nonsense for a release: {name}").enrolled()
        script.step("poll", "offline", [server.asked(0)], {"release": answer(200, body)})
        script.poll_release(1, "swapped")
        yield script

    for status, outcome in (
        (422, "denied 422"),
        (401, "denied 401"),
        (403, "denied 403"),
        (500, "offline"),
        (429, "offline"),
    ):
        script = Script(server, f"a poll is answered {status}").enrolled()
        script.step("poll", outcome, [server.asked(0)], {"release": answer(status, {"detail": "no"})})
        script.poll_release(1, "swapped")
        yield script

    script = Script(server, "a compressed answer is not unpacked").enrolled()
    script.step(
        "poll",
        "offline",
        [server.asked(0)],
        {"release": answer(200, b"\x1f\x8b" + bytes(100), {"Content-Encoding": "gzip"})},
    )
    yield script

    for name, changed in {
        "a token that no header can carry": {"token": "tökén"},
        "a token of two lines": {"token": "a\nb"},
        "a device id of two lines": {"device": "a\nb"},
        "a device id that is a path": {"device": "../../packs"},
        "a number that is a text": {"number": "1"},
        "no keys": {"keys": {"keys": []}},
    }.items():
        script = Script(server, f"enrolment: {name}")
        script.step("enrol", "offline", ["enrol"], {"enrol": server.enrolment(**changed)})
        script.enrolled()
        yield script

    for name, body in {
        "infinite": b'{"version": 1e999}',
        "too large": b'{"version": 2147483648}',
        "true": b'{"version": true}',
    }.items():
        script = Script(server, f"upload: a version that is {name}").enrolled()
        script.step("upload", "offline", ["context"], {"context": answer(202, body)})
        script.step("upload", "done", ["context"], {"context": answer(202, b'{"version": 1}')})
        yield script
    script = Script(server, "upload: samples that the server does not know").enrolled()
    script.step(
        "upload", "denied 422", ["context"], {"context": answer(422, {"detail": "unknown item id 7"})}
    )
    script.poll_release(1, "swapped")
    yield script

    for name, text in {
        "a text for a number": '{"device":"d","bundle":"b","token":"t","keys":{"keys":[]},"number":"1"}',
        "no JSON": "{",
        "empty": "",
    }.items():
        script = Script(server, f"a damaged identity: {name}").enrolled()
        script.poll_release(1, "swapped")
        script.step("restart", "done", [], version=0, damaged={"identity.json": text})
        script.enrolled()
        yield script
