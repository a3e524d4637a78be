"""The signed permission "one new device may enrol": an app's own back end gives it to a user that it knows.

JWS compact (RFC 7515) of JWT claims, ES256, `typ` as below: `jti` (random, good for one enrolment), `iat`, `exp` (a
day later at most), and `cohort`, if the device is to be in one. Any JWT library makes it; what the back end asks of its
user before, such as a login, Play Integrity or App Attest, is its own.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError

from mnet.toolchain.contract.jws import ALGORITHM, SigningKey, sign
from mnet.toolchain.contract.keys import load_public_keys

PERMISSION = "mnet-enrolment+jwt"
LONGEST_S = 24 * 3600


@dataclass(frozen=True)
class Permission:
    """`id` may be used once, until `expires_at` (Unix seconds)."""

    id: str
    expires_at: int
    cohort: str | None


def permit(key: SigningKey, now: int, cohort: str | None = None, lifetime_s: int = 3600) -> str:
    """A permission from `now` (Unix seconds), signed by a back end's private key."""
    claims = {"jti": secrets.token_hex(16), "iat": now, "exp": now + lifetime_s}
    return sign(key, claims | ({} if cohort is None else {"cohort": cohort}), PERMISSION)


def read_permission(text: str, issuers: Mapping[str, Any], now: int) -> Permission:
    """What a back end of `issuers` (JWKS) permits at `now`; ValueError where it is none, or its time is over."""
    try:
        token = jwt.decode(text, load_public_keys(issuers), algorithms=[ALGORITHM])
        claims = token.claims
        permission = Permission(claims["jti"], claims["exp"], claims.get("cohort"))
    except (JoseError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"no permission of a known back end: {error}") from error
    if token.header.get("typ") != PERMISSION:
        raise ValueError("it is signed, but no permission to enrol")
    if type(permission.expires_at) is not int or not now < permission.expires_at <= now + LONGEST_S:
        raise ValueError(f"it expires at {permission.expires_at}, and it is {now}")
    if not isinstance(permission.id, str) or not 16 <= len(permission.id) <= 64:
        raise ValueError("its jti is not a text of 16 to 64 characters")
    if permission.cohort is not None and not isinstance(permission.cohort, str):
        raise ValueError("its cohort is no text")
    return permission
