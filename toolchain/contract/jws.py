"""Signed statements: JWS compact (RFC 7515) of a JSON object, ES256 (RFC 7518) and no other algorithm."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from joserfc.jwk import ECKey

ALGORITHM = "ES256"
_ECDSA = ECDSA(hashes.SHA256(), deterministic_signing=True)
_json = json.JSONEncoder(separators=(",", ":")).encode


def sign(key: ECKey, claims: Mapping[str, Any], kind: str | None = None) -> str:
    """The claims as JWS compact; `kind` becomes the header's `typ`, so that no statement passes for another (RFC 8725).

    The nonce is that of RFC 6979, so that the same claims give the same text wherever they are signed.
    """
    signed = f"{_header(key.kid, kind)}.{_base64url(_json(claims).encode())}"
    private = key.private_key
    assert private is not None, "a signing key is private"
    r, s = decode_dss_signature(private.sign(signed.encode(), _ECDSA))
    return f"{signed}.{_base64url(r.to_bytes(32) + s.to_bytes(32))}"


@cache
def _header(kid: str, kind: str | None) -> str:
    typed = {} if kind is None else {"typ": kind}
    return _base64url(_json({"alg": ALGORITHM, "kid": kid, **typed}).encode())


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
