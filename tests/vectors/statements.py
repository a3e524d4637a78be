"""Vectors about the statement by which a server tells of new keys."""

import json
from collections.abc import Iterator
from typing import Any

from joserfc import jws as jose_jws
from joserfc.jwk import ECKey

from mnet.export.format.bundle import Bundle
from mnet.toolchain.cloud.signing_keys import Keyring
from mnet.toolchain.contract.keys import public_keys
from mnet.toolchain.contract.release import Release, sign_release
from tests.vectors.vector import DEVICE, NOW, Vector

TYPE = "mnet-keys+jwt"


def statement_vectors(bundle: Bundle, key: ECKey, other: ECKey) -> Iterator[Vector]:
    """Statements of both keys by `key`, which the phone pins, or by `other`."""
    keys = public_keys(other, key)["keys"]

    def vector(name: str, verdict: str, statement: str) -> Vector:
        return {"name": f"keys: {name}", "kind": "keys", "statement": statement, "verdict": verdict}

    def signed(payload: bytes, header: dict[str, Any] | None = None, by: ECKey = key) -> str:
        header = {"alg": "ES256", "kid": by.kid, "typ": TYPE} if header is None else header
        return jose_jws.serialize_compact(header, payload, by, algorithms=["ES256"])

    def stated(**claims: Any) -> bytes:
        return json.dumps(claims).encode()

    by_new, by_old = Keyring(other, (key,)).statements(NOW)
    yield vector("by the pinned key", "accepted", by_old)
    yield vector("a claim more", "accepted", signed(stated(keys=keys, iat=NOW, note="läßt grüßen")))
    release = Release(DEVICE, bundle.id, 7, "0f" * 32, 4096, NOW, NOW + 60)
    good = stated(keys=keys, iat=NOW)
    header, payload, signature = by_old.split(".")
    for name, statement in {
        "by the new key alone": by_new,
        "by the new key under our kid": signed(good, {"alg": "ES256", "kid": key.kid, "typ": TYPE}, by=other),
        "a release": sign_release(key, release),
        "of no type": signed(good, {"alg": "ES256", "kid": key.kid}),
        "of another type": signed(good, {"alg": "ES256", "kid": key.kid, "typ": "JWT"}),
        "alg none": f"eyJhbGciOiJub25lIn0.{payload}.",
        "signature cut": f"{header}.{payload}.{signature[:-8]}",
        "no keys": signed(stated(iat=NOW)),
        "keys a text": signed(stated(keys="key-2", iat=NOW)),
        "an empty list of keys": signed(stated(keys=[], iat=NOW)),
        "a key without its point": signed(stated(keys=[{**keys[0], "x": ""}], iat=NOW)),
        "a key off the curve": signed(stated(keys=[{**keys[0], "x": keys[1]["x"]}], iat=NOW)),
        "no time": signed(stated(keys=keys)),
        "time as text": signed(stated(keys=keys, iat=str(NOW))),
        "time true": signed(stated(keys=keys, iat=True)),
        "payload no JSON": signed(b"{'keys': []}"),
        "empty": "",
    }.items():
        yield vector(name, "not_believed", statement)
