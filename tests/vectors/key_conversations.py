"""Conversations about keys: rotations, and the theft of the signing key."""

from collections.abc import Iterator

from joserfc.jwk import ECKey

from mnet.export.format.packs import MAX_VERSION
from mnet.toolchain.cloud.signing_keys import Keyring, Stated
from mnet.toolchain.contract.jws import sign
from mnet.toolchain.contract.keys import KEY_STATEMENT, public_keys
from tests.vectors.script import DAY, Answer, Script, Server, answer
from tests.vectors.vector import NOW


def rotations(server: Server) -> Iterator[Script]:
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
        {"release": answer(200, {"release": server.release(3)}), "keys": answers["keys"]},
    )
    script.step("restart", "done", [], stale=False)
    yield script


def thefts(server: Server) -> Iterator[Script]:
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
