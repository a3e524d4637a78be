"""Conversations with a server, or a state folder, that makes no sense."""

from collections.abc import Iterator

from tests.vectors.script import Script, Server, answer


def nonsense(server: Server) -> Iterator[Script]:
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
