"""What whoever runs the service sees of it: health, the API, metrics, logs, its end and its death."""

import socket
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from mnet.export.format.bundle import Bundle
from mnet.export.format.packs import pack_digest
from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.ledger import Ledger
from mnet.toolchain.fleet.processes import ServerProcess
from tests.cloud.callers import Device, enrol, eventually
from tests.cloud.test_service import CONTEXT, LIMITS


def test_health_needs_no_key(http: httpx.Client, bundle: Bundle) -> None:
    answer = http.get("/healthz")
    assert answer.status_code == 200
    assert answer.json() == {
        "database": "ok",
        "packs": "ok",
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
        "/v1/devices/{device}/measurements",
        "/v1/devices/{device}/release",
        "/v1/devices/{device}/releases",
        "/v1/devices/{device}/reports",
        "/v1/devices/{device}/token",
        "/v1/cohorts",
        "/v1/cohorts/{cohort}",
        "/v1/packs/{sha256}",
        "/v1/keys",
        "/v1/push",
        "/v1/reach",
        "/v1/rollouts/{rollout}",
        "/v1/rollouts/{rollout}/comparison",
        "/v1/rollouts/{rollout}/rollback",
        "/v1/rollouts/{rollout}/stop",
        "/v1/fleet",
        "/v1/livez",
        "/v1/readyz",
        "/v1/audit",
        "/v1/audit/check",
        "/v1/operators",
        "/v1/operators/{name}",
        "/v1/rollouts/{rollout}/approve",
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


def test_a_lost_pack_is_made_again_as_a_new_version(
    device: Device, bundle: Bundle, server: ServerProcess
) -> None:
    """Lost with its disk, as after a restore: 404 once, then the weights of the same context."""
    version = device.upload([5, 6, 7])
    lost = device.release(bundle.id)
    (server.enrolment_key.parent.parent / "packs" / f"{device.id}-{lost.sha256}.safetensors").unlink()
    assert device.get(f"/packs/{lost.sha256}").status_code == 404
    again = device.release(bundle.id, after=version)
    assert again.version == version + 1
    assert pack_digest(device.get(f"/packs/{again.sha256}").content) == again.sha256


def test_secrets_and_contexts_stay_out_of_logs_and_files(
    device: Device, bundle: Bundle, server: ServerProcess
) -> None:
    device.upload([277, 278, 279])
    device.release(bundle.id)
    device.post(f"/devices/{device.id}/context", {"samples": [277, 278, 27_999]})
    state = server.enrolment_key.parent.parent
    # A release is handed to its device before it is logged.
    log = eventually((state / "server.log").read_text, lambda text: device.id in text)
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
