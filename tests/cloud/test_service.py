"""The service as a real process on loopback: what each caller may do, and what it answers to all else."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from prometheus_client.parser import text_string_to_metric_families

from mnet.export.format.bundle import Bundle
from mnet.export.format.packs import pack_digest, read_pack
from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.ledger import Ledger
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
    assert (pack.version, pack.generator) == (version, run.fingerprint)
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
        (["1"], "valid integer"),
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
    answer = device.post(f"/devices/{device.id}/context", {"samples": samples})
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
    assert (answer.status_code, answer.json()["versions"]) == (202, {device.id: version + 1})
    assert device.release(bundle.id, after=version).version == version + 1
    assert operator.post("/push", {"devices": [device.id, "nobody"]}).status_code == 404
    assert operator.post("/push", {}).json()["versions"][device.id] == version + 2


def test_health_needs_no_key(http: httpx.Client, bundle: Bundle) -> None:
    answer = http.get("/healthz")
    assert answer.status_code == 200
    assert answer.json() == {
        "database": "ok",
        "generation": "ok",
        "maintenance": "ok",
        "bundles": [bundle.id],
    }


def test_the_api_describes_itself(http: httpx.Client, server: ServerProcess) -> None:
    paths = httpx.get(f"{server.url}/openapi.json").json()["paths"]
    assert set(paths) == {
        "/v1/devices",
        "/v1/devices/{device}",
        "/v1/devices/{device}/bundles",
        "/v1/devices/{device}/context",
        "/v1/devices/{device}/release",
        "/v1/devices/{device}/releases",
        "/v1/devices/{device}/reports",
        "/v1/devices/{device}/token",
        "/v1/packs/{sha256}",
        "/v1/keys",
        "/v1/push",
        "/v1/rollouts/{rollout}",
        "/v1/rollouts/{rollout}/rollback",
        "/v1/audit",
        "/v1/healthz",
        "/metrics",
    }


def test_what_prometheus_reads(device: Device, bundle: Bundle, server: ServerProcess) -> None:
    """Uploads, taken and refused, as the difference of two scrapes; alerts are written on these names."""
    before = scrape(server)
    device.upload(CONTEXT)
    device.release(bundle.id)
    device.post(f"/devices/{device.id}/context", {"samples": [0]})
    device.post(f"/devices/{device.id}/context", {"samples": [1], "more": "x" * LIMITS.body_bytes})
    device.http.request("GUESS", f"/devices/{device.id}/context")
    after = scrape(server)

    def rise(name: str, **labels: str) -> float:
        key = name, frozenset(labels.items())
        return after.get(key, 0.0) - before.get(key, 0.0)

    route = "/v1/devices/{device}/context"
    assert rise("mnet_request_seconds_count", method="POST", route=route, status="202") == 1
    assert rise("mnet_request_seconds_count", method="none", route="none", status="405") == 1
    assert rise("mnet_refused_uploads_total", status="422") == 1
    assert rise("mnet_refused_uploads_total", status="413") == 1
    assert rise("mnet_releases_total") >= 1  # another test's push may still be under way
    assert rise("mnet_batch_size_count") >= 1
    assert ("mnet_queue_length", frozenset()) in after
    assert device.id not in httpx.get(f"{server.url}/metrics").text


def scrape(server: ServerProcess) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(httpx.get(f"{server.url}/metrics").text)
    samples = [sample for family in families for sample in family.samples]
    return {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}


def test_packs_that_no_device_can_ask_for_are_deleted(
    device: Device, bundle: Bundle, server: ServerProcess
) -> None:
    digests = []
    for version in range(1, 5):
        assert device.upload([200 + version, 11]) == version
        digests.append(device.release(bundle.id, after=version - 1).sha256)
    assert [device.get(f"/packs/{digest}").status_code for digest in digests] == [404, 404, 200, 200]


def test_secrets_and_contexts_stay_out_of_logs_and_files(
    device: Device, bundle: Bundle, server: ServerProcess
) -> None:
    device.upload([277, 278, 279])
    device.release(bundle.id)
    device.post(f"/devices/{device.id}/context", {"samples": [277, 278, 27_999]})
    state = server.enrolment_key.parent.parent
    log = (state / "server.log").read_text()
    assert device.id in log
    secrets = [device.token.partition(".")[2], server.operator_key.read_text().strip()]
    for secret in [*secrets, "277, 278", "277,278", "id 27999"]:
        assert secret not in log
    stored = b"".join(path.read_bytes() for path in state.glob("mnet.db*"))
    assert secrets[0].encode() not in stored
    for private in [*(state / "keys").iterdir(), *state.glob("mnet.db*")]:
        assert private.stat().st_mode & 0o777 == 0o600


def test_a_server_asked_to_stop_lets_go_of_whoever_waits(
    tiny_run: Path, tiny_bundle: Path, bundle: Bundle, tmp_path: Path
) -> None:
    with ServerProcess(tiny_run, tiny_bundle, tmp_path / "server") as server:
        url = httpx.URL(server.url)
        with (
            httpx.Client(base_url=f"{server.url}/v1", timeout=30) as http,
            socket.create_connection((url.host, url.port or 0), timeout=30) as poll,
        ):
            device = enrol(http, server, bundle)
            request = f"GET /v1/devices/{device.id}/release?timeout=60 HTTP/1.1\r\nHost: x\r\n"
            poll.sendall(f"{request}Authorization: Bearer {device.token}\r\n\r\n".encode())
            assert http.get("/healthz").status_code == 200  # sent later, so the poll has arrived too
            assert server.stop() == 0
            assert poll.recv(100).startswith(b"HTTP/1.1 204")


def test_a_killed_server_loses_nothing(
    tiny_run: Path, tiny_bundle: Path, bundle: Bundle, tmp_path: Path
) -> None:
    """Killed with a release still to be made: the next one makes it, every token and version stays good."""
    with ServerProcess(tiny_run, tiny_bundle, tmp_path / "server") as first:
        port = httpx.URL(first.url).port
        with httpx.Client(base_url=f"{first.url}/v1", timeout=30) as http:
            devices = [enrol(http, first, bundle) for _ in range(5)]
            accepted = {device.id: max(device.upload([n + 1]) for n in range(4)) for device in devices}
            first.kill()
    # One more that was accepted, but whose release the kill came before.
    database = Database(f"sqlite:///{tmp_path / 'server' / 'mnet.db'}")
    accepted[devices[0].id] = Ledger(database).add_context(devices[0].id, CONTEXT)
    database.close()
    with (
        ServerProcess(tiny_run, tiny_bundle, tmp_path / "server", port=port or 0) as second,
        httpx.Client(base_url=f"{second.url}/v1", timeout=30) as http,
    ):
        for device in devices:
            device.http = http
            release = device.release(bundle.id, after=accepted[device.id] - 1)
            assert release.version == accepted[device.id]
            assert pack_digest(device.get(f"/packs/{release.sha256}").content) == release.sha256
            assert device.upload([9]) == accepted[device.id] + 1
