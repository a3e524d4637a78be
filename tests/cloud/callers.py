"""Who calls the service in its tests: plain HTTP with one secret, so that status and body are seen as on the wire."""

import time
from typing import Any

import httpx

from export.bundle import Bundle
from toolchain.cloud.keys import load_public_keys
from toolchain.cloud.release import Release, verify_release
from toolchain.fleet.processes import ServerProcess


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
