"""What an operator does to a running fleet, over HTTP: stages, stops, roll-backs, revoked and erased devices."""

import signal
import time
from pathlib import Path

import httpx
import pytest

from mnet.export.format.bundle import Bundle
from mnet.export.format.packs import read_pack
from mnet.toolchain.cloud.signing_keys import rotate
from mnet.toolchain.contract.keys import read_statement
from mnet.toolchain.fleet.processes import ServerProcess
from mnet.toolchain.training.export_run import export_run
from tests.cloud.callers import Caller, Device, enrol, eventually
from tests.cloud.callers import operator as operator_of


def weights(device: Device, bundle: Bundle, after: int) -> tuple[int, dict[str, list[float]]]:
    """The version and values of what a device is given next."""
    release = device.release(bundle.id, after=after)
    pack = read_pack(device.get(f"/packs/{release.sha256}").content, bundle.manifest)
    assert pack.version == release.version
    return pack.version, {name: tensor.flatten().tolist() for name, tensor in pack.parameters.items()}


def test_a_roll_back_gives_the_weights_of_before_as_a_new_version(
    device: Device, bundle: Bundle, operator: Caller
) -> None:
    first, before = weights(device, bundle, device.upload([1, 2, 3]) - 1)
    # The context has changed since; a push would give other weights, the phone has those of the first.
    pushed = operator.post("/push", {"devices": [device.id]}).json()
    second, _ = weights(device, bundle, first)
    assert second == first + 1
    back = operator.post(f"/rollouts/{pushed['rollout']}/rollback", {})
    assert (back.status_code, back.json()["begun"]) == (202, True)
    assert weights(device, bundle, second) == (second + 1, before)
    path = f"/rollouts/{pushed['rollout']}"
    eventually(lambda: operator.get(path).json()["state"], "rolled back".__eq__)
    assert operator.post(f"{path}/rollback", {}).json()["begun"] is False
    assert operator.post(f"/rollouts/{pushed['rollout']}", {"percent": 100}).status_code == 409
    for path in ("/rollouts/999999", "/rollouts/999999/rollback"):
        assert operator.post(path, {"percent": 1}).status_code == 404
    history = operator.get(f"/devices/{device.id}/releases").json()
    assert [(each["version"], each["rollout"]) for each in history] == [
        (second + 1, None),
        (second, pushed["rollout"]),
        (first, None),
    ]


def test_a_reported_self_test_failure_stops_the_roll_out(
    http: httpx.Client, server: ServerProcess, bundle: Bundle, operator: Caller
) -> None:
    devices = [enrol(http, server, bundle) for _ in range(3)]
    versions = {device.id: device.upload([5, 6]) for device in devices}
    for device in devices:
        device.release(bundle.id, after=versions[device.id] - 1)
    pushed = operator.post("/push", {"devices": list(versions)}).json()
    newer = [device.release(bundle.id, after=versions[device.id]) for device in devices]
    for device, release in zip(devices, newer, strict=True):
        assert device.get(f"/packs/{release.sha256}").status_code == 200
    report = f"/devices/{devices[0].id}/reports"
    assert devices[0].post(report, {"version": newer[0].version, "outcome": "bored"}).status_code == 422
    assert devices[1].post(report, {"version": newer[0].version, "outcome": "taken"}).status_code == 403
    for device, outcome in zip(devices, ["self_test_failed"] * 3, strict=True):
        body = {"version": newer[0].version, "outcome": outcome}
        assert device.post(f"/devices/{device.id}/reports", body).status_code == 204
    status = operator.get(f"/rollouts/{pushed['rollout']}").json()
    assert (status["state"], status["outcomes"]) == ("stopped", {"self_test_failed": 3})
    assert operator.get("/audit", limit=1).json()[0]["action"] == "stopped"


def test_a_revoked_token_and_an_erased_device_are_worth_nothing(
    http: httpx.Client, server: ServerProcess, device: Device, bundle: Bundle, operator: Caller
) -> None:
    other = enrol(http, server, bundle)
    device.upload([9, 9])
    sha256 = device.release(bundle.id).sha256
    packs = server.enrolment_key.parent.parent / "packs"
    assert list(packs.glob(f"{device.id}-*"))
    assert other.delete(f"/devices/{device.id}").status_code == 403
    assert operator.delete(f"/devices/{device.id}/token").status_code == 204
    assert device.get(f"/packs/{sha256}").status_code == 401
    assert operator.delete(f"/devices/{device.id}").status_code == 204
    assert not list(packs.glob(f"{device.id}-*"))
    assert operator.get(f"/devices/{device.id}/releases").json() == []
    assert other.delete(f"/devices/{other.id}").status_code == 204
    assert other.get(f"/devices/{other.id}/release", timeout=0).status_code == 401
    for path in (f"/devices/{device.id}", f"/devices/{device.id}/token"):
        assert operator.delete(path).status_code == 404
    entries = operator.get("/audit", limit=3).json()
    assert [(entry["actor"], entry["action"]) for entry in entries] == [
        ("device", "erased"),
        ("operator", "erased"),
        ("operator", "revoked"),
    ]


def test_bundles_and_keys_are_replaced_without_a_dropped_request(
    tiny_run: Path, bundle: Bundle, tmp_path: Path
) -> None:
    """A second bundle and a new key at SIGHUP: one context gives a pack for each bundle, signed by the new key."""
    bundles = tmp_path / "bundles"
    (bundles / "android").parent.mkdir()
    (bundles / "android").symlink_to(bundle.path)
    with (
        ServerProcess(tiny_run, bundles, tmp_path / "server", options=["--retain", "0"]) as server,
        httpx.Client(base_url=f"{server.url}/v1", timeout=30) as http,
    ):
        device, operator = enrol(http, server, bundle), operator_of(http, server)
        version = device.upload([1, 2])
        device.release(bundle.id)
        ios = export_run(tiny_run, "onnx", bundles / "onnx")
        refused = device.put(f"/devices/{device.id}/bundles", {"bundles": [ios.id]})
        assert refused.status_code == 409
        new_key = rotate(server.enrolment_key.parent)
        server.process.send_signal(signal.SIGHUP)
        while ios.id not in http.get("/healthz").json()["bundles"]:
            device.upload([1, 2])  # not one of which may fail
        (new, old) = http.get("/keys").json()["statements"]
        keys = read_statement(old, device.keys, int(time.time())).keys
        assert {key["kid"] for key in keys["keys"]} > {key["kid"] for key in device.keys["keys"]}
        with pytest.raises(ValueError, match="known key"):
            read_statement(new, device.keys, int(time.time()))
        device.keys = keys
        assert new_key.kid == keys["keys"][0]["kid"]
        answer = device.put(f"/devices/{device.id}/bundles", {"bundles": [ios.id, bundle.id]})
        assert answer.status_code == 200
        version = device.upload([3, 4])
        for each in (bundle, ios):
            answer = device.get(
                f"/devices/{device.id}/release", after=version - 1, timeout=20, bundle=each.id
            )
            assert answer.status_code == 200
        assert device.release(ios.id, after=version - 1).bundle == ios.id
        reloaded = next(e for e in operator.get("/audit").json() if e["action"] == "reloaded")
        assert sorted(reloaded["detail"]["bundles"]) == sorted([bundle.id, ios.id])


def test_an_upload_too_many_is_told_to_wait(tiny_run: Path, bundle: Bundle, tmp_path: Path) -> None:
    options = ["--uploads", "3", "--max-context", "5", "--max-body", "1", "--log", "json"]
    with (
        ServerProcess(tiny_run, bundle.path, tmp_path / "server", options=options) as server,
        httpx.Client(base_url=f"{server.url}/v1", timeout=30) as http,
    ):
        device, other = (enrol(http, server, bundle) for _ in range(2))
        path = f"/devices/{device.id}/context"
        assert device.post(path, {"samples": [1] * 6}).status_code == 422
        assert device.post(path, {"samples": [1], "more": "x" * 1024}).status_code == 413
        answers = [device.post(path, {"samples": [1]}) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [202, 202, 202, 429]
        assert answers[-1].headers["Retry-After"] == "60"
        assert other.upload([1]) == 1
        other.release(bundle.id)
    log = (tmp_path / "server" / "server.log").read_text().splitlines()
    assert log
    assert all(line.startswith('{"') for line in log)
