"""Vectors about the signed statement that announces a pack."""

import base64
import json
from collections.abc import Iterator
from typing import Any

from joserfc import jws as jose_jws
from joserfc import jwt
from joserfc.jwk import ECKey

from mnet.export.format.bundle import Bundle
from mnet.export.format.packs import MAX_VERSION
from mnet.toolchain.contract.release import Release, sign_release
from tests.vectors.vector import DEVICE, NOW, Vector


def release_vectors(bundle: Bundle, key: ECKey, other: ECKey) -> Iterator[Vector]:
    """Releases signed by `key`, which the phone pins, by `other`, or by nobody."""
    good = Release(DEVICE, bundle.id, 7, "0f" * 32, 4096, NOW, NOW + 60)
    claims = _claims(sign_release(key, good))

    def vector(name: str, verdict: str, jws: str, newer_than: int = 6, now: int | None = NOW) -> Vector:
        fields = {"jws": jws, "newer_than": newer_than, "now": now}
        return {"name": f"release: {name}", "kind": "release", **fields, "verdict": verdict}

    def signed(header: dict[str, Any] | None = None, payload: bytes | None = None, **changed: Any) -> str:
        header = {"alg": "ES256", "kid": key.kid, **(header or {})}
        if payload is None:
            payload = json.dumps({**claims, **changed}).encode()
        lax = jose_jws.JWSRegistry(strict_check_header=False)
        return jose_jws.serialize_compact(header, payload, key, algorithms=["ES256"], registry=lax)

    jws = sign_release(key, good)
    header, payload, signature = jws.split(".")
    yield vector("good", "accepted", jws)
    yield vector("first version", "accepted", signed(version=1), newer_than=0)
    yield vector("the largest version", "accepted", signed(version=MAX_VERSION))
    yield vector("a claim more", "accepted", signed(note="läßt grüßen"))
    yield vector("no kid, one pinned key", "accepted", _without_kid(key, claims))
    yield vector("expired, kept since before", "accepted", signed(exp=NOW - 1), now=None)
    yield vector("of another device", "wrong_device", signed(sub="another"))
    yield vector("of another bundle", "wrong_bundle", signed(bundle="c" * 64))
    yield vector("the version served", "stale_version", signed(version=6))
    yield vector("an older version", "stale_version", signed(version=2))
    yield vector("expired this second", "expired", signed(exp=NOW))
    for name, changed in {
        "version as text": {"version": "8"},
        "version true": {"version": True},
        "version with a fraction": {"version": 8.0},
        "version 0": {"version": 0},
        "version beyond the largest": {"version": MAX_VERSION + 1},
        "version of 63 bits": {"version": 2**63 - 1},
        "version of 400 digits": {"version": 10**400},
        "size of 400 digits": {"size": 10**400},
        "size negative": {"size": -1},
        "sha256 upper case": {"sha256": "0F" * 32},
        "sha256 a path": {"sha256": "../../etc/passwd"},
        "no device": {"sub": None},
        "exp no number": {"exp": "never"},
    }.items():
        yield vector(name, "malformed", signed(**changed))
    yield vector("payload a list", "malformed", signed(payload=b"[1, 2]"))
    yield vector("payload no JSON", "malformed", signed(payload=b"{'sub': 1}"))
    yield vector(
        "payload with rubbish behind", "malformed", signed(payload=json.dumps(claims).encode() + b" x")
    )
    yield vector(
        "payload with a comment", "malformed", signed(payload=b"/* */" + json.dumps(claims).encode())
    )
    yield vector("payload empty", "malformed", signed(payload=b""))
    missing = {claim: value for claim, value in claims.items() if claim != "sha256"}
    yield vector("no sha256", "malformed", signed(payload=json.dumps(missing).encode()))
    unsigned = _base64url(b'{"alg":"none"}')
    symmetric = _base64url(json.dumps({"alg": "HS256", "kid": key.kid}).encode())
    forged = {
        "by another key": jwt.encode({"alg": "ES256", "kid": other.kid}, claims, other),
        "by another key under our kid": jwt.encode({"alg": "ES256", "kid": key.kid}, claims, other),
        "alg none": f"{unsigned}.{payload}.",
        "alg none, signature kept": f"{unsigned}.{payload}.{signature}",
        "alg HS256": f"{symmetric}.{payload}.{signature}",
        "an unknown header entry": signed({"b65": False}),
        "claims changed": f"{header}.{_base64url(json.dumps(claims | {'version': 99}).encode())}.{signature}",
        "signature cut": jws[:-8],
        "signature of zeros": f"{header}.{payload}.{_base64url(bytes(64))}",
        "signature in DER's length": f"{header}.{payload}.{_base64url(bytes(range(1, 71)))}",
        "signature padded": f"{jws}==",
        "signature missing": f"{header}.{payload}",
        "a fourth part": f"{jws}.e30",
        "header no JSON": f"{_base64url(b'alg: ES256')}.{payload}.{signature}",
        "empty": "",
        "not base64url": f"{header}.{payload[:-1]}*.{signature}",
    }
    for name, text in forged.items():
        yield vector(name, "bad_signature", text)


def _claims(jws: str) -> dict[str, Any]:
    payload = jws.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))


def _without_kid(key: ECKey, claims: dict[str, Any]) -> str:
    return jwt.encode({"alg": "ES256"}, claims, key)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
