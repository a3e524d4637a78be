"""The service as a real process on loopback: what each caller may do, and what it answers to all else."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from mnet.export.format.bundle import Bundle
from mnet.export.format.packs import pack_digest, read_pack
from mnet.toolchain.cloud.settings import Limits
from mnet.toolchain.contract.freshness import HEADER, LIFETIME_S, fresh_until
from mnet.toolchain.contract.keys import load_public_keys
from mnet.toolchain.contract.release import Release
from mnet.toolchain.fleet.processes import ServerProcess
from mnet.toolchain.training.run import load_run
from tests.cloud.callers import Caller, Device, enrol

LIMITS = Limits()
CONTEXT = [3, 14, 15, 92, 65, 35]


def test_a_context_becomes_the_weights_that_the_metanetwork_generates(
    device: Device, bundle: Bundle, tiny_run: Path
) -> None:
    version = device.upload(CONTEXT)
    release = device.release(bundle.id)
    assert release.version == version
    data = device.get(f"/packs/{release.sha256}").content
    assert (len(data), pack_digest(data)) == (release.size, release.sha256)
    pack = read_pack(data, bundle.manifest)
    run = load_run(tiny_run)
    assert (pack.version, pack.generator.partition(".")[0]) == (version, run.fingerprint)
    expected = run.metanetwork.generate(run.task.context(CONTEXT))
    for name, values in pack.parameters.items():
        torch.testing.assert_close(values, expected[name][0])


@pytest.mark.parametrize("secret", [None, "wrong", "0123456789abcdef.wrong", "\x7f" * 300])
def test_nothing_is_answered_without_the_right_key(
    http: httpx.Client, device: Device, secret: str | None
) -> None:
    stranger = Caller(http, secret)
    for answer in (
        stranger.post("/devices", {"bundle": "x"}),
        stranger.post(f"/devices/{device.id}/context", {"samples": CONTEXT}),
        stranger.get(f"/devices/{device.id}/release"),
        stranger.get(f"/packs/{'0' * 64}"),
        stranger.post("/push", {}),
    ):
        assert answer.status_code == 401, answer.request.url
        assert set(answer.json()) == {"detail"}


@pytest.mark.parametrize("secret", ["", "Authorization: Bearer 0123456789abcdef.wrong\r\n"])
def test_a_stranger_is_answered_before_it_has_sent_its_body(server: ServerProcess, secret: str) -> None:
    url = httpx.URL(server.url)
    with socket.create_connection((url.host, url.port or 0), timeout=30) as stranger:
        head = f"POST /v1/devices HTTP/1.1\r\nHost: x\r\n{secret}Content-Length: 200000\r\n\r\n"
        stranger.sendall(head.encode())
        assert stranger.recv(100).startswith(b"HTTP/1.1 401")


def test_what_one_device_may_do_is_bounded(
    http: httpx.Client, device: Device, bundle: Bundle, operator: Caller
) -> None:
    before = max((entry["id"] for entry in operator.get("/audit", limit=1).json()), default=0)
    answers = [device.put(f"/devices/{device.id}/bundles", {"bundles": [bundle.id]}) for _ in range(12)]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429] * 2
    mine = [entry for entry in operator.get("/audit").json() if entry["id"] > before]
    assert not [entry for entry in mine if entry["detail"].get("device") == device.id], "nothing has changed"


def test_each_key_opens_its_own_door_only(
    http: httpx.Client, server: ServerProcess, device: Device, operator: Caller
) -> None:
    enroller = Caller(http, server.enrolment_key.read_text().strip())
    assert device.post("/push", {}).status_code == 401
    assert device.post("/devices", {"bundle": "x"}).status_code == 401
    assert enroller.post("/push", {}).status_code == 401
    assert operator.post("/devices", {"bundle": "x"}).status_code == 401
    assert operator.get(f"/devices/{device.id}/release").status_code == 401


def test_nothing_of_a_device_is_readable_by_another(
    http: httpx.Client, server: ServerProcess, bundle: Bundle, device: Device
) -> None:
    device.upload(CONTEXT)
    sha256 = device.release(bundle.id).sha256
    other = enrol(http, server, bundle)
    assert other.get(f"/devices/{device.id}/release").status_code == 403
    assert other.post(f"/devices/{device.id}/context", {"samples": CONTEXT}).status_code == 403
    assert other.get("/devices/nobody/release").status_code == 403
    assert other.get(f"/packs/{sha256}").status_code == 404
    assert device.get(f"/packs/{sha256}").status_code == 200


def test_a_phone_of_another_bundle_is_told_at_once(http: httpx.Client, server: ServerProcess) -> None:
    answer = Caller(http, server.enrolment_key.read_text().strip()).post("/devices", {"bundle": "f" * 64})
    assert answer.status_code == 409
    assert "generates for bundle" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([1, 999_999], "unknown item id 999999"),
        ([0], "unknown item id 0"),
        ([], "at least 1 item"),
        ([1] * (LIMITS.context + 1), f"at most {LIMITS.context} items"),
        (["1"], "a sample is an item id, one of 1..300"),
        (["1", 2], "body.samples.texts.1: Input should be a valid string"),
        ([""], "at least 1 character"),
        (["\ud800"], "body.samples.texts.0"),
        ([{"item": 1}], "a sample is an item id, one of 1..300"),
        ([{"item": float("nan")}], "body.samples.objects.0"),
        ([{"text": "\ud800"}], "body.samples.objects.0"),
        ([{}, [1.0]], "body.samples.objects.1: Input should be a valid dictionary"),
        ([True], "valid integer"),
        ([1.5], "valid integer"),
        ([10**30], "body.samples.ids.0"),
        ([[]], "at least 1 item"),
        ([[1.5], 2], "body.samples.vectors.1: Input should be a valid list"),
        ([[1.5, "2"]], "valid number"),
        ([[1.5]], "a sample is an item id, one of 1..300"),
        ([-1], "greater than or equal to 0"),
        ("1,2", "valid list"),
        (None, "valid list"),
    ],
)
def test_a_context_that_is_none_is_explained(device: Device, samples: Any, message: str) -> None:
    # Written here: httpx refuses to send what is no number or no text.
    content, headers = json.dumps({"samples": samples}), device.headers | {"Content-Type": "application/json"}
    answer = device.http.post(f"/devices/{device.id}/context", headers=headers, content=content)
    assert answer.status_code == 422
    assert message in answer.json()["detail"]
    assert len(answer.content) < 1000, "the context is not repeated"


def test_bodies_have_a_limit(device: Device) -> None:
    path = f"/devices/{device.id}/context"
    declared = device.post(path, {"samples": [1], "more": "x" * LIMITS.body_bytes})

    def chunks() -> Iterator[bytes]:
        for _ in range(2 * LIMITS.body_bytes // 1024):
            yield b" " * 1024

    headers = device.headers | {"Content-Type": "application/json"}
    sent = device.http.post(path, headers=headers, content=chunks())
    for answer in (declared, sent):
        assert (answer.status_code, answer.json()) == (413, {"detail": "the body is over 262144 bytes"})
    assert device.http.post(path, headers=headers, content=b"{").status_code == 422


def test_a_download_goes_on_by_range(device: Device, bundle: Bundle) -> None:
    device.upload(CONTEXT)
    release = device.release(bundle.id)
    whole = device.get(f"/packs/{release.sha256}").content
    rest = device.get(f"/packs/{release.sha256}", headers={"Range": "bytes=1000-"})
    assert rest.status_code == 206
    assert rest.content == whole[1000:]


@pytest.mark.parametrize("sha256", ["0" * 63, "F" * 64, "..%2Fkeys%2Foperator.key"])
def test_a_pack_has_a_digest_for_a_name(device: Device, sha256: str) -> None:
    assert device.get(f"/packs/{sha256}").status_code in (404, 422)


def test_concurrent_uploads_keep_versions_rising(device: Device, bundle: Bundle) -> None:
    versions: list[int] = []

    def upload(worker: int) -> None:
        versions.extend(device.upload([worker + 1, turn + 1]) for turn in range(5))

    threads = [threading.Thread(target=upload, args=(worker,)) for worker in range(6)]
    for thread in threads:
        thread.start()
    seen: list[int] = []
    while not seen or seen[-1] < 30:
        seen.append(device.release(bundle.id, after=seen[-1] if seen else 0).version)
    for thread in threads:
        thread.join()
    assert sorted(versions) == list(range(1, 31))
    assert seen == sorted(set(seen))


def test_a_poll_waits_for_the_release_and_no_longer(device: Device, bundle: Bundle) -> None:
    start = time.monotonic()
    assert device.get(f"/devices/{device.id}/release", timeout=0.3).status_code == 204
    assert 0.3 <= time.monotonic() - start < 10
    found: list[Release] = []
    poll = threading.Thread(target=lambda: found.append(device.release(bundle.id, timeout=60)))
    poll.start()
    version = device.upload(CONTEXT)
    poll.join(30)
    assert [release.version for release in found] == [version]
    assert device.get(f"/devices/{device.id}/release", after=version, timeout=0).status_code == 204


def test_a_poll_in_vain_says_signed_that_there_is_nothing_newer_and_a_stale_phone_is_counted(
    device: Device, server: ServerProcess, bundle: Bundle
) -> None:
    answer = device.get(f"/devices/{device.id}/release", after=3, timeout=0)
    keys, now = load_public_keys(device.keys), int(time.time())
    about = {"device": device.id, "bundle": bundle.id, "version": 3}
    until = fresh_until(answer.headers[HEADER], keys, now=now, **about)
    assert now + LIFETIME_S - 60 < until <= now + LIFETIME_S
    report = {"version": 0, "outcome": "stale"}
    assert device.post(f"/devices/{device.id}/reports", report).status_code == 204
    assert 'mnet_reports_total{outcome="stale"}' in httpx.get(f"{server.url}/metrics").text


def test_a_push_releases_anew_from_the_last_context(device: Device, bundle: Bundle, operator: Caller) -> None:
    assert operator.post("/push", {"devices": [device.id]}).status_code == 404
    version = device.upload(CONTEXT)
    device.release(bundle.id)
    answer = operator.post("/push", {"devices": [device.id]})
    assert answer.status_code == 202
    assert device.release(bundle.id, after=version).version == version + 1
    assert device.release(bundle.id, after=version).version == version + 1
    assert operator.post("/push", {"devices": [device.id, "nobody"]}).status_code == 404
    assert operator.post("/push", {}).json()["rollout"] > answer.json()["rollout"]
    assert device.release(bundle.id, after=version + 1).version == version + 2
