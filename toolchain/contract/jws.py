"""Signed statements: JWS compact (RFC 7515) of a JSON object, ES256 (RFC 7518) and no other algorithm."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from functools import cache
from typing import Any, Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from joserfc.jwk import ECKey

ALGORITHM = "ES256"
_ECDSA = ECDSA(hashes.SHA256(), deterministic_signing=True)
_json = json.JSONEncoder(separators=(",", ":")).encode


class KeyAway(Exception):
    """A key that lies elsewhere cannot be reached; it may be back soon."""


class KeyElsewhere(Protocol):
    """A private P-256 key that does not lie in this process, as in an HSM, and its public half, which does."""

    @property
    def kid(self) -> str:
        """The name of the key: its RFC 7638 thumbprint."""
        ...

    @property
    def public(self) -> ECKey:
        """The public half, by the same name."""
        ...

    def es256(self, data: bytes) -> bytes:
        """The ECDSA signature of the SHA-256 of `data`: r and s, 32 bytes each. Raises KeyAway."""
        ...


SigningKey = ECKey | KeyElsewhere


def sign(key: SigningKey, claims: Mapping[str, Any], kind: str | None = None) -> str:
    """The claims as JWS compact; `kind` becomes the header's `typ`, so that no statement passes for another (RFC 8725).

    The nonce of a key in this process is that of RFC 6979, so that the same claims give the same text wherever they are
    signed; that of another is its own. Raises KeyAway for a key elsewhere that cannot be reached.
    """
    signed = f"{_header(str(key.kid), kind)}.{_base64url(_json(claims).encode())}"
    return f"{signed}.{_base64url(_es256(key, signed.encode()))}"


def _es256(key: SigningKey, data: bytes) -> bytes:
    if not isinstance(key, ECKey):
        return key.es256(data)
    private = key.private_key
    assert private is not None, "a signing key is private"
    r, s = decode_dss_signature(private.sign(data, _ECDSA))
    return r.to_bytes(32) + s.to_bytes(32)


@cache
def _header(kid: str, kind: str | None) -> str:
    typed = {} if kind is None else {"typ": kind}
    return _base64url(_json({"alg": ALGORITHM, "kid": kid, **typed}).encode())


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
