"""The public halves of the keys that sign releases: what a server states and a phone pins."""

import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

ALGORITHM = "ES256"
# The header's `typ` of a key statement, so that no release passes for one (RFC 8725).
KEY_STATEMENT = "mnet-keys+jwt"


def read_statement(statement: str, known: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """The public keys (JWKS) that a statement tells of, and its time; ValueError unless a `known` key signed it."""
    try:
        token = jwt.decode(statement, load_public_keys(known), algorithms=[ALGORITHM])
        if token.header.get("typ") != KEY_STATEMENT:
            raise ValueError("it is signed, but no statement of keys")
        keys, at = {"keys": token.claims["keys"]}, token.claims["iat"]
        load_public_keys(keys)
    except (JoseError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"no statement by a known key: {error}") from error
    if type(at) is not int:
        raise ValueError("the statement's time is not a number of seconds")
    return keys, at


def signer(jws: str) -> str | None:
    """The `kid` in a JWS's header, which nobody has verified yet; None where there is none to read."""
    try:
        header = json.loads(urlsafe_b64decode(jws.partition(".")[0] + "=="))
        return str(header["kid"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def public_keys(*keys: ECKey) -> dict[str, Any]:
    """The public halves as a JWKS (RFC 7517), for devices to pin."""
    return dict(KeySet(list(keys)).as_dict(private=False))


def load_public_keys(jwks: Mapping[str, Any]) -> KeySet:
    """Read a JWKS of public keys; ValueError where it holds none or is not one."""
    try:
        return KeySet.import_key_set({"keys": list(jwks["keys"])})
    except (JoseError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"not a JSON Web Key Set: {error}") from error
