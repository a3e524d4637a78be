"""Vectors about the statement by which a server tells of new keys."""

import json
from collections.abc import Iterator
from typing import Any

from joserfc import jws as jose_jws
from joserfc.jwk import ECKey

from mnet.export.format.bundle import Bundle
from mnet.export.format.packs import MAX_VERSION
from mnet.toolchain.cloud.signing_keys import Keyring, Stated
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

    by_new, by_old = Keyring(other, (key,), Stated(3)).statements(NOW)
    yield vector("by the pinned key", "accepted", by_old)
    yield vector("a claim more", "accepted", signed(stated(keys=keys, number=3, iat=NOW, note="läßt grüßen")))
    release = Release(DEVICE, bundle.id, 7, "0f" * 32, 4096, NOW, NOW + 60)
    good = stated(keys=keys, number=3, iat=NOW)
    yield vector("by a clock that is behind", "accepted", signed(stated(keys=keys, number=3, iat=0)))
    yield vector("an hour ahead", "accepted", signed(stated(keys=keys, number=3, iat=NOW + 3600)))
    yield vector("the largest number", "accepted", signed(stated(keys=keys, number=MAX_VERSION, iat=NOW)))
    header, payload, signature = by_old.split(".")
    for name, statement in {
        "by the new key alone": by_new,
        "by the new key under our kid": signed(good, {"alg": "ES256", "kid": key.kid, "typ": TYPE}, by=other),
        "a release": sign_release(key, release),
        "of no type": signed(good, {"alg": "ES256", "kid": key.kid}),
        "of another type": signed(good, {"alg": "ES256", "kid": key.kid, "typ": "JWT"}),
        "alg none": f"eyJhbGciOiJub25lIn0.{payload}.",
        "signature cut": f"{header}.{payload}.{signature[:-8]}",
        "no keys": signed(stated(number=3, iat=NOW)),
        "keys a text": signed(stated(keys="key-2", number=3, iat=NOW)),
        "an empty list of keys": signed(stated(keys=[], number=3, iat=NOW)),
        "a key without its point": signed(stated(keys=[{**keys[0], "x": ""}], number=3, iat=NOW)),
        "a key off the curve": signed(stated(keys=[{**keys[0], "x": keys[1]["x"]}], number=3, iat=NOW)),
        "no time": signed(stated(keys=keys, number=3)),
        "time as text": signed(stated(keys=keys, number=3, iat=str(NOW))),
        "time true": signed(stated(keys=keys, number=3, iat=True)),
        "time in 2099": signed(stated(keys=keys, number=3, iat=4_070_908_800)),
        "no number": signed(stated(keys=keys, iat=NOW)),
        "number negative": signed(stated(keys=keys, number=-1, iat=NOW)),
        "number true": signed(stated(keys=keys, number=True, iat=NOW)),
        "number with a fraction": signed(stated(keys=keys, number=3.0, iat=NOW)),
        "number too large": signed(stated(keys=keys, number=MAX_VERSION + 1, iat=NOW)),
        "number beyond all integers": signed(
            stated(keys=keys, number=3, iat=NOW).replace(b'"number": 3', b'"number": 1e999')
        ),
        "payload no JSON": signed(b"{'keys': []}"),
        "empty": "",
    }.items():
        yield vector(name, "not_believed", statement)
