"""The public halves of the keys that sign releases: what a server states and a phone pins."""

import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

from mnet.export.format.packs import MAX_VERSION
from mnet.toolchain.contract.jws import ALGORITHM

# The header's `typ` of a key statement, so that no release passes for one (RFC 8725).
KEY_STATEMENT = "mnet-keys+jwt"
# By which a statement may be ahead of the phone's clock.
AHEAD_S = 24 * 3600


@dataclass(frozen=True)
class KeyStatement:
    """A server's public keys (JWKS) as of its statement `number`, which rises with each change of them."""

    keys: dict[str, Any]
    number: int


def read_statement(statement: str, known: Mapping[str, Any], now: int) -> KeyStatement:
    """What a JWS says of a server's keys; ValueError unless a `known` key signed it, or where it is of the far future.

    `now` in Unix seconds. Their numbers say which of two statements is newer, never a clock.
    """
    try:
        token = jwt.decode(statement, load_public_keys(known), algorithms=[ALGORITHM])
        if token.header.get("typ") != KEY_STATEMENT:
            raise ValueError("it is signed, but no statement of keys")
        keys = {"keys": token.claims["keys"]}
        number, at = token.claims["number"], token.claims["iat"]
        load_public_keys(keys)
    except (JoseError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"no statement by a known key: {error}") from error
    if type(at) is not int or type(number) is not int or not 0 <= number <= MAX_VERSION:
        raise ValueError(
            f"the statement's time is no number of seconds, or its number not 0 to {MAX_VERSION}"
        )
    if at > now + AHEAD_S:
        raise ValueError(f"the statement is of {at}, and it is {now}")
    return KeyStatement(keys, number)


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
