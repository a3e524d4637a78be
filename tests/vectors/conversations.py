"""Vectors about a conversation: what a server answers, step by step, and what a phone asks, runs and says after each.

`conversations.json` lists them. A step has a `clock` (Unix seconds, the phone's own), what the phone's owner does
(`enrol`, `upload`, `poll`, `measure` some `values`, or `restart`), and the `answers` of the server by route: status,
headers and body (base64), a list where there is one for each request; 404 for the rest. Then follow the `requests`
that the phone must have made, the `outcome`, the `version` that it runs and whether it says that this is `stale`. A
restart may find files of the state folder `damaged`, or gone where their content is null, and the app with other
`roots`, null for none.
"""

from collections.abc import Iterator

from joserfc.jwk import ECKey

from mnet.export.format.bundle import Bundle
from mnet.export.format.packs import MAX_VERSION, pack_digest, write_pack
from mnet.toolchain.contract.freshness import HEADER, nothing_newer
from tests.export.ranker import PackFactory, random_weights
from tests.vectors.enrolments import enrolments
from tests.vectors.key_conversations import rotations, thefts
from tests.vectors.measurements import measurements
from tests.vectors.nonsense import nonsense
from tests.vectors.script import DAY, Script, Server, answer
from tests.vectors.vector import DEVICE, NOW, Vector


def conversation_vectors(bundle: Bundle, packs: PackFactory, key: ECKey, other: ECKey) -> Iterator[Vector]:
    """All conversations."""
    server = Server(bundle, packs, key, other)
    for conversation in (
        *_ordinary(server),
        *_freezes(server),
        *_versions(server),
        *_refusals(server),
        *rotations(server),
        *thefts(server),
        *nonsense(server),
        *enrolments(server),
        *measurements(server),
    ):
        yield conversation.vector()


def _ordinary(server: Server) -> Iterator[Script]:
    script = Script(server, "a release is taken, reported, and runs after a restart").enrolled()
    script.poll_release(1, "swapped")
    script.poll_nothing(stated=True)
    script.step("restart", "done", [])
    script.poll_nothing(stated=True, keys=True)
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
    script.poll_nothing(stated=True, later=DAY - 1)
    script.poll_nothing(stated=True, later=1, keys=True)
    script.poll_nothing(stated=True, later=60)
    script.poll_nothing(stated=True, later=-2 * DAY, keys=True)
    yield script


def _freezes(server: Server) -> Iterator[Script]:
    script = Script(server, "frozen: nobody says for a day that there is nothing newer").enrolled()
    script.poll_release(1, "swapped")
    script.poll_nothing(stated=False, later=DAY - 1)
    script.poll_nothing(stated=False, later=1, keys=True, stale=True)
    for _ in range(3):
        script.poll_nothing(stated=False, later=100 * DAY, keys=True)
    script.step("restart", "done", [], stale=False)
    script.poll_nothing(stated=False, keys=True, stale=True)
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
