"""Conversations about enrolment: answers that are garbled, lost or a lie, and root keys of an app against these."""

import json
from collections.abc import Iterator
from typing import Any

from joserfc.jwk import ECKey, OctKey

from mnet.export.format.packs import MAX_VERSION
from mnet.toolchain.contract.freshness import HEADER
from mnet.toolchain.contract.jws import sign
from mnet.toolchain.contract.keys import KEY_STATEMENT, public_keys
from tests.vectors.script import DAY, Answer, Script, Server, answer
from tests.vectors.vector import DEVICE, NOW

OTHER_KINDS = [
    ECKey.generate_key("P-384", {"kid": "key-1"}, auto_kid=False).as_dict(private=False),
    OctKey.generate_key(256, {"kid": "key-1"}, auto_kid=False).as_dict(),
]


def enrolments(server: Server) -> Iterator[Script]:
    """All of them."""
    yield from _garbled(server)
    yield from _odd(server)
    yield from _lost(server)
    yield from _lies(server)
    yield from _roots_of_an_app(server)


def _garbled(server: Server) -> Iterator[Script]:
    """What cannot be an enrolment is none, and the next good answer is one."""
    keys = public_keys(server.key)
    good = {"device": DEVICE, "token": f"{DEVICE}.secret", "keys": keys, "number": 0}
    root = public_keys(server.other)
    whole = json.dumps(good).encode()
    (key,) = keys["keys"]
    bodies: dict[str, Any] = {
        "no content": b"",
        "null": b"null",
        "a list": [good],
        "a captive portal": b"<html>Welcome to our Wi-Fi</html>",
        "cut in the middle": whole[: len(whole) // 2],
        "cut by a byte": whole[:-1],
        "no device": {name: value for name, value in good.items() if name != "device"},
        "no token": {name: value for name, value in good.items() if name != "token"},
        "a device that is a number": {**good, "device": 7},
        "a device of 65 characters": {**good, "device": "d" * 65},
        "an empty token": {**good, "token": ""},
        "a token of 513 characters": {**good, "token": "t" * 513},
        "keys that are a number": {**good, "keys": 7},
        "keys in a list": {**good, "keys": [key]},
        "a key that is a text": {**good, "keys": {"keys": ["key-1"]}},
        "a key without its point": {**good, "keys": {"keys": [{**key, "x": ""}]}},
        "a key off the curve": {**good, "keys": {"keys": [{**key, "x": key["y"]}]}},
        "a key without a name": {**good, "keys": {"keys": [{**key, "kid": None}]}},
        "keys of other kinds only": {**good, "keys": {"keys": OTHER_KINDS}},
        "a number that is negative": {**good, "number": -1},
        "a number with a fraction": {**good, "number": 0.5},
        "a number that is true": {**good, "number": True},
        "a number beyond all versions": {**good, "number": MAX_VERSION + 1},
        "a number of 400 digits": {**good, "number": 10**400},
        "an infinite number": whole.replace(b'"number": 0', b'"number": 1e999'),
        "an epoch that is a text": {**good, "epoch": "1"},
        "an epoch beyond all versions": {**good, "epoch": MAX_VERSION + 1},
        "roots that are a list": {**good, "roots": [root]},
        "roots without a threshold": {**good, "roots": {"keys": root}},
        "a threshold of 0": {**good, "roots": {"keys": root, "threshold": 0}},
        "a threshold of 2 of 1": {**good, "roots": {"keys": root, "threshold": 2}},
        "a threshold that is true": {**good, "roots": {"keys": root, "threshold": True}},
    }
    for name, body in bodies.items():
        script = Script(server, f"enrolment: {name}")
        script.step("enrol", "offline", ["enrol"], {"enrol": answer(201, body)})
        script.enrolled()
        yield script


def _odd(server: Server) -> Iterator[Script]:
    """What is good for the phone, whatever else there is."""
    (key,) = public_keys(server.key)["keys"]
    for name, keys in {
        "keys of other kinds, and one to verify by": [*OTHER_KINDS, key],
        "a key that is said to be for something else": [
            {**key, "use": "enc", "alg": "ECDH-ES", "key_ops": []}
        ],
    }.items():
        script = Script(server, f"enrolment: {name}").enrolled(keys={"keys": keys})
        script.poll_release(1, "swapped")
        script.step("restart", "done", [])
        yield script


def _lost(server: Server) -> Iterator[Script]:
    """The server knows a phone that does not know itself."""
    for name, left in {
        "before the answer was kept": {"identity.json": None},
        "in the middle of keeping it": {"identity.json": None, ".identity.json.0a1b2c3d.tmp": '{"device": "'},
    }.items():
        script = Script(server, f"enrolment: the phone is killed {name}")
        script.step("enrol", "done", ["enrol"], {"enrol": server.enrolment()})
        script.step("restart", "done", [], damaged=left)
        script.enrolled()
        script.poll_release(1, "swapped")
        script.step("restart", "done", [])
        yield script

    for status, outcome in ((401, "denied 401"), (409, "denied 409"), (429, "offline"), (503, "offline")):
        script = Script(server, f"enrolment: answered {status}")
        script.step("enrol", outcome, ["enrol"], {"enrol": answer(status, {"detail": "no"})})
        script.enrolled()
        yield script


def _lies(server: Server) -> Iterator[Script]:
    """Trust at first use: who lies then is believed, and it shows that nothing newer comes of the server."""
    script = Script(server, "enrolment: another's keys, and no roots in the app: stale within a day")
    script.step("enrol", "done", ["enrol"], {"enrol": server.enrolment(keys=public_keys(server.other))})
    offered = {"release": answer(200, {"release": server.release(1)}), "keys": server.keys(NOW)}
    script.step("poll", "refused bad_signature", [server.asked(0), "keys"], offered)
    script.step(
        "poll",
        "refused bad_signature",
        [server.asked(0), "keys", "report 0 stale"],
        {**offered, "report": answer(204)},
        later=DAY,
        stale=True,
    )
    script.step("restart", "done", [], stale=False, damaged={"identity.json": None})
    script.enrolled()
    script.poll_release(1, "swapped")
    yield script

    script = Script(server, "enrolment: roots in a statement by the signing key are not learnt").enrolled()
    thief, good = public_keys(server.other), server.key
    claims = {"keys": public_keys(good)["keys"], "number": 1, "epoch": 0, "iat": NOW}
    stated = sign(good, {**claims, "roots": {"keys": thief, "threshold": 1}}, KEY_STATEMENT)
    answers: dict[str, Answer | list[Answer]] = {
        "release": answer(204, headers={HEADER: server.nothing(0, NOW + DAY)}),
        "keys": answer(200, {"statements": [stated]}),
    }
    script.step("poll", "nothing", [server.asked(0), "keys"], answers, later=DAY)
    server_keys = [sign(good, {**claims, "number": 2}, KEY_STATEMENT)]
    script.step(
        "poll",
        "nothing",
        [server.asked(0, 1), "keys"],
        {
            "release": answer(204, headers={HEADER: server.nothing(0, NOW + 2 * DAY)}),
            "keys": answer(200, {"statements": server_keys}),
        },
        later=DAY,
    )
    script.step(
        "poll",
        "swapped",
        [server.asked(0, 2), "pack", "report 1 taken"],
        {
            "release": answer(200, {"release": server.release(1)}),
            "pack": answer(200, server.pack(1)),
            "report": answer(204),
        },
        version=1,
    )
    yield script


def _roots_of_an_app(server: Server) -> Iterator[Script]:
    """Two root keys, both of which must vouch; the server's key is good, `other` is that of somebody in between."""
    root, second = (ECKey.generate_key("P-256", {"kid": kid}, auto_kid=False) for kid in ("root-1", "root-2"))
    shipped = {"keys": public_keys(root, second), "threshold": 2}
    theirs = {"keys": public_keys(server.other), "threshold": 1}

    def stated(key: ECKey, *vouching: ECKey, number: int = 3, epoch: int = 0) -> Answer:
        claims = {"keys": public_keys(key)["keys"], "number": number, "epoch": epoch, "iat": NOW}
        return answer(200, {"statements": [sign(each, claims, KEY_STATEMENT) for each in vouching]})

    def offered(version: int, key: ECKey, keys: Answer | None) -> dict[str, Answer | list[Answer]]:
        return {
            "release": answer(200, {"release": server.release(version, by=key)}),
            "pack": answer(200, server.pack(version)),
            "report": answer(204),
            **({} if keys is None else {"keys": keys}),
        }

    for name, lie in {
        "another's keys": {"keys": public_keys(server.other)},
        "another's keys under the app's roots": {"keys": public_keys(server.other), "roots": shipped},
        "another's roots": {"roots": theirs},
        "a number and an epoch beyond which there is none": {"number": MAX_VERSION, "epoch": MAX_VERSION},
    }.items():
        number = int(lie.get("number", 0))  # type: ignore[call-overload]
        script = Script(server, f"roots of the app: enrolment with {name}")
        script.step("enrol", "done", ["enrol"], {"enrol": server.enrolment(**lie)}, roots=shipped)
        asked = [server.asked(0, number), "keys"]
        thiefs = stated(server.other, server.other, root, number=MAX_VERSION)
        script.step("poll", "offline", asked, offered(1, server.other, thiefs))
        script.step("poll", "denied 404", asked, offered(1, server.other, None))
        script.step("restart", "done", [], roots=shipped)
        script.step("poll", "offline", asked, offered(1, server.key, stated(server.key, server.key)))
        script.step(
            "poll",
            "swapped",
            [*asked, "pack", "report 1 taken"],
            offered(1, server.key, stated(server.key, root, second)),
            version=1,
        )
        script.step("restart", "done", [], roots=None)
        requests = [server.asked(1, 3), "keys"]
        script.step("poll", "refused bad_signature", requests, offered(2, server.other, thiefs))
        yield script

    for name, changed in {"roots": {}, "other roots": {"roots": theirs}}.items():
        script = Script(server, f"roots of the app: an update brings {name}").enrolled(**changed)
        script.poll_release(4, "swapped")
        script.step("restart", "done", [], roots=shipped)
        asked = [server.asked(4), "keys"]
        script.step("poll", "denied 404", asked, offered(5, server.key, None))
        script.step("poll", "offline", asked, offered(5, server.key, stated(server.key, server.key, second)))
        vouched = stated(server.key, root, second)
        script.step("poll", "nothing", asked, {"release": answer(204), "keys": vouched}, version=0)
        requests = [server.asked(0, 3), "pack", "report 4 taken"]
        script.step("poll", "swapped", requests, offered(4, server.key, None), version=4)
        script.step("restart", "done", [], roots=shipped)
        yield script

    script = Script(server, "roots of the app: they are the ones that the server stated").enrolled(
        roots=shipped
    )
    script.poll_release(4, "swapped")
    script.step("restart", "done", [], roots=shipped)
    requests = [server.asked(4), "keys", "pack", "report 5 taken"]
    script.step("poll", "swapped", requests, offered(5, server.key, server.keys(NOW)), version=5)
    yield script
