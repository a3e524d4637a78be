"""Who calls the service in its tests: plain HTTP with one secret, so that status and body are seen as on the wire."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import httpx

from mnet.export.format.bundle import Bundle
from mnet.export.format.packs import pack_digest
from mnet.toolchain.contract.keys import load_public_keys
from mnet.toolchain.contract.release import Release, verify_release
from mnet.toolchain.fleet.processes import ServerProcess

T = TypeVar("T")


class Caller:
    """Whoever holds one secret."""

    def __init__(self, http: httpx.Client, secret: str | None) -> None:
        self.http = http
        self.headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}

    def get(self, path: str, headers: dict[str, str] | None = None, **query: Any) -> httpx.Response:
        return self.http.get(path, headers=self.headers | (headers or {}), params=query)

    def put(self, path: str, body: Any) -> httpx.Response:
        return self.http.put(path, headers=self.headers, json=body)

    def delete(self, path: str) -> httpx.Response:
        return self.http.delete(path, headers=self.headers)

    def post(self, path: str, body: Any) -> httpx.Response:
        return self.http.post(path, headers=self.headers, json=body)


class Device(Caller):
    """An enrolled device."""

    def __init__(self, http: httpx.Client, enrolment: dict[str, Any]) -> None:
        super().__init__(http, enrolment["token"])
        self.id: str = enrolment["device"]
        self.token: str = enrolment["token"]
        self.keys = enrolment["keys"]

    def upload(self, samples: list[int]) -> int:
        answer = self.post(f"/devices/{self.id}/context", {"samples": samples})
        assert answer.status_code == 202, answer.text
        return int(answer.json()["version"])

    def release(self, bundle: str, after: int = 0, timeout: float = 20) -> Release:
        answer = self.get(f"/devices/{self.id}/release", after=after, timeout=timeout)
        assert answer.status_code == 200, answer.text
        return verify_release(
            answer.json()["release"],
            load_public_keys(self.keys),
            device=self.id,
            bundle=bundle,
            newer_than=after,
            now=int(time.time()),
        )


def enrol(http: httpx.Client, server: ServerProcess, bundle: Bundle) -> Device:
    enroller = Caller(http, server.enrolment_key.read_text().strip())
    answer = enroller.post("/devices", {"bundle": bundle.id})
    assert answer.status_code == 201, answer.text
    return Device(http, answer.json())


def operator(http: httpx.Client, server: ServerProcess) -> Caller:
    """Whoever holds the operator key."""
    return Caller(http, server.operator_key.read_text().strip())


def upload_under(
    kill: Callable[[], object],
    devices: Sequence[Device],
    count: int,
    upload: Callable[[Device, int], httpx.Response],
) -> dict[str, list[int]]:
    """`count` uploads of each device at once, `kill` amid them; the versions that each got, which must rise."""
    answered: dict[str, list[int]] = {device.id: [] for device in devices}
    some, failures = threading.Event(), list[BaseException]()

    def work(device: Device) -> None:
        try:
            for turn in range(count):
                answer = upload(device, turn)
                assert answer.status_code == 202, answer.text
                answered[device.id].append(answer.json()["version"])
                if turn == count // 3:
                    some.set()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(device,)) for device in devices]
    for thread in threads:
        thread.start()
    assert some.wait(120)
    kill()
    for thread in threads:
        thread.join()
    assert failures == []
    for versions in answered.values():
        assert len(versions) == count
        assert versions == sorted(set(versions))
    return answered


def eventually(look: Callable[[], T], good: Callable[[T], bool], within_s: float = 30.0) -> T:
    """What `look` finds once that is `good`."""
    end = time.monotonic() + within_s
    while not good(found := look()):
        assert time.monotonic() < end, f"after {within_s} s it is {found}"
        time.sleep(0.05)
    return found


def catch_up(device: Device, bundle: str, version: int) -> None:
    """Poll until the device has that version; none on the way may be older than the one before."""
    seen = [0]
    while seen[-1] < version:
        seen.append(device.release(bundle, after=seen[-1], timeout=60).version)
    release = device.release(bundle)
    assert pack_digest(device.get(f"/packs/{release.sha256}").content) == release.sha256
