"""Requests that the OpenAPI document leads to, and mutations of them: whatever comes, the server answers and lives.

The number of requests is an option: `pytest tests/cloud/test_fuzz.py -s --mutations 10000`.
"""

import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from mnet.export.format.bundle import Bundle
from mnet.toolchain.fleet.processes import ServerProcess
from tests.cloud.callers import enrol, operator
from tests.cloud.conftest import BACKENDS

WILD: list[Any] = [
    *(None, True, -1, 0, 2**31, 2**63 - 1, 2**63, 10**40, 1e308, -0.0, 0.5),
    *("", "\x00", "\ud800", "ß" * 40, "x" * 5000, "../../etc/passwd", "' OR 1=1 --", "{}", "NaN"),
    *([], {}, [[]], [None], {"": None}, [1] * 3000, {"samples": {"samples": []}}),
]
# Bodies that are no JSON, or that a careless parser falls over.
RAW = [
    b"",
    b"{",
    b"\xff\xfe",
    b"[" * 30_000,
    b'{"samples": [1e999]}',
    b'{"a":1}{"a":2}',
    b"NaN",
    b"null",
    b"\x00",
]


class Mutator:
    """Draws requests from an OpenAPI document; seeded."""

    def __init__(self, document: dict[str, Any], known: dict[str, Any], seed: int) -> None:
        self._schemas = document["components"]["schemas"]
        self._known = known
        self._draw = random.Random(seed)
        self._operations = [
            (method.upper(), path, operation)
            for path, operations in document["paths"].items()
            for method, operation in operations.items()
        ]

    def request(self) -> tuple[str, str, dict[str, str], bytes | None]:
        """Method, path with query, headers and body of a request that is at times a good one."""
        method, path, operation = self._draw.choice(self._operations)
        query: dict[str, Any] = {}
        headers = {"Authorization": f"Bearer {self._secret(method, path, operation)}"}
        for parameter in operation.get("parameters", ()):
            # Who erased the phone of the test would learn little from then on.
            name = "" if method == "DELETE" else parameter["name"]
            value = self._value(name, parameter["schema"])
            if parameter["in"] == "path":
                path = path.replace(f"{{{parameter['name']}}}", _in_a_path(value))
            elif parameter["name"] == "timeout":
                query["timeout"] = 0  # a poll that waits would only make the test wait
            elif parameter["in"] == "query" and self._draw.random() < 0.7:
                query[parameter["name"]] = _text(value)
            elif parameter["in"] == "header":
                headers[parameter["name"]] = _in_a_header(value)
        body = None
        if "requestBody" in operation:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            raw = self._draw.random() < 0.15
            body = self._draw.choice(RAW) if raw else json.dumps(self._value("body", schema)).encode()
            headers["Content-Type"] = self._draw.choice(
                ["application/json", "application/json", "text/plain", ""]
            )
        if self._draw.random() < 0.05:
            method = self._draw.choice(["PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "POST"])
        return method, str(httpx.URL(path, params=query)), headers, body

    def _secret(self, method: str, path: str, operation: dict[str, Any]) -> str:
        """The right one, mostly."""
        if self._draw.random() < 0.1:
            return str(self._draw.choice(list(self._known["secrets"].values())))
        role = "operator" if "operators" in operation.get("tags", ()) else "phone"
        return str(self._known["secrets"]["enroller" if (method, path) == ("POST", "/v1/devices") else role])

    def _value(self, name: str, schema: dict[str, Any]) -> Any:
        """A value of the schema, or one in five times a wild one."""
        if self._draw.random() < 0.2:
            return self._draw.choice(WILD)
        if name in self._known and self._draw.random() < 0.8:
            return self._known[name]
        if "$ref" in schema:
            return self._value(name, self._schemas[schema["$ref"].rpartition("/")[2]])
        if choices := schema.get("anyOf") or schema.get("oneOf"):
            return self._value(name, self._draw.choice(choices))
        match schema.get("type"):
            case "object":
                properties = schema.get("properties", {}).items()
                return {key: self._value(key, of) for key, of in properties if self._draw.random() < 0.9}
            case "array":
                return [self._value("", schema["items"]) for _ in range(self._draw.choice([0, 1, 1, 5]))]
            case "integer":
                return self._draw.randint(-2, 400)
            case "number":
                return self._draw.uniform(-1, 120)
            case "boolean":
                return self._draw.random() < 0.5
            case "null":
                return None
        return "".join(self._draw.choices("abc019_-.%", k=self._draw.randint(0, 70)))


def _text(value: Any) -> str:
    return str(value).encode("utf-8", "replace").decode()


def _in_a_header(value: Any) -> str:
    """As much of it as the client agrees to send."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in _text(value)[:200]).strip()


def _in_a_path(value: Any) -> str:
    return "".join(f"%{byte:02x}" for byte in _text(value)[:300].encode())


@pytest.fixture(params=BACKENDS)
def fuzzed(
    request: pytest.FixtureRequest, tiny_run: Path, bundle: Bundle, tmp_path: Path
) -> Iterator[ServerProcess]:
    """A server on a database of each kind: they differ in what integers and texts they take."""
    if request.param == "sqlite":
        yield request.getfixturevalue("server")
        return
    url = request.getfixturevalue("postgres").new_database()
    options = ["--uploads", "1000000", "--database", url]
    with ServerProcess(tiny_run, bundle.path, tmp_path / "server", options=options) as server:
        yield server


def test_no_request_makes_the_server_fail(
    fuzzed: ServerProcess, bundle: Bundle, request: pytest.FixtureRequest
) -> None:
    server = fuzzed
    with httpx.Client(base_url=f"{server.url}/v1", timeout=30) as http:
        device = enrol(http, server, bundle)
        for number in (2**31, 2**63 - 1, 2**63):
            assert device.get(f"/devices/{device.id}/release", after=number, timeout=0).status_code == 422
            report = {"version": number, "outcome": "taken"}
            assert device.post(f"/devices/{device.id}/reports", report).status_code == 422
            assert operator(http, server).get(f"/rollouts/{number}").status_code == 422
            assert operator(http, server).get("/audit", before=number).status_code == 422
    count, statuses = request.config.getoption("--mutations"), Counter[int]()
    document = httpx.get(f"{server.url}/openapi.json").json()
    secrets = {
        "phone": device.token,
        "operator": server.operator_key.read_text().strip(),
        "enroller": server.enrolment_key.read_text().strip(),
    }
    known = {"device": device.id, "bundle": bundle.id, "devices": [device.id], "secrets": secrets}
    mutator = Mutator(document, known, seed=5)
    with httpx.Client(base_url=server.url, timeout=60) as http:
        for _ in range(count):
            method, path, headers, body = mutator.request()
            answer = http.request(method, path, headers=headers, content=body)
            statuses[answer.status_code] += 1
            assert answer.status_code < 500, (method, path, headers, body and body[:300], answer.text)
            if answer.status_code >= 400 and answer.content:
                assert set(answer.json()) == {"detail"}, (method, path)
    print(f"\n{count} requests: {dict(sorted(statuses.items()))}")
    assert httpx.get(f"{server.url}/v1/healthz").status_code == 200
    assert len(statuses) > 4, "some get past each check"
