"""The public halves of the keys that sign releases: what a server states and a phone pins."""

import json
from base64 import urlsafe_b64decode
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

from mnet.export.format.packs import MAX_VERSION
from mnet.toolchain.contract.jws import ALGORITHM, SigningKey
from mnet.toolchain.errors import UserError

# The header's `typ` of a key statement, so that no release passes for one (RFC 8725).
KEY_STATEMENT = "mnet-keys+jwt"
# By which a statement may be ahead of the phone's clock.
AHEAD_S = 24 * 3600


@dataclass(frozen=True)
class KeyStatement:
    """A server's public keys (JWKS) as of its statement `number`, which rises with each change of them.

    `epoch` rises when the keys before may be in a thief's hands: nothing that they signed counts any more.
    """

    keys: dict[str, Any]
    number: int
    epoch: int


@dataclass(frozen=True)
class Roots:
    """Offline keys (JWKS): `threshold` of them must sign a statement of keys, and nothing else vouches for one."""

    keys: dict[str, Any]
    threshold: int

    @classmethod
    def checked(cls, fields: Any) -> "Roots":
        """From parsed JSON; ValueError, KeyError or TypeError where it cannot be such."""
        known, threshold = load_public_keys(fields["keys"]), fields["threshold"]
        if type(threshold) is not int or not 1 <= threshold <= len({key.kid for key in known.keys}):
            raise ValueError("the threshold is not 1 to the number of root keys")
        return cls(fields["keys"], threshold)

    @classmethod
    def load(cls, path: Path) -> "Roots":
        """Read what `mnet keys pin` wrote for apps to ship; raises UserError where it is not that."""
        try:
            return cls.checked(json.loads(path.read_bytes()))
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(f"{path} holds no root keys such as `mnet keys pin` writes: {error}") from error


def believed_statement(
    statements: Iterable[str], known: Mapping[str, Any], roots: Roots | None, now: int
) -> KeyStatement | None:
    """The newest of these JWS that a phone may believe: by enough of its roots or, without such, by a known key."""
    vouchers = defaultdict[str, set[str]](set)  # by the payload: who signed it
    found: dict[str, KeyStatement] = {}
    for text in statements:
        try:
            statement = read_statement(text, known if roots is None else roots.keys, now)
        except ValueError:
            continue  # by another key than the known ones
        payload = text.split(".")[1]
        found[payload] = statement
        vouchers[payload].add(str(signer(text)))
    needed = 1 if roots is None else roots.threshold
    good = [statement for payload, statement in found.items() if len(vouchers[payload]) >= needed]
    return max(good, key=lambda each: (each.epoch, each.number), default=None)


def read_statement(statement: str, known: Mapping[str, Any], now: int) -> KeyStatement:
    """What a JWS says of a server's keys; ValueError unless a `known` key signed it, or where it is of the far future.

    `now` in Unix seconds. Their numbers say which of two statements is newer, never a clock.
    """
    try:
        token = jwt.decode(statement, load_public_keys(known), algorithms=[ALGORITHM])
        if token.header.get("typ") != KEY_STATEMENT or "kid" not in token.header:
            raise ValueError("it is signed, but no statement of keys")
        keys = {"keys": token.claims["keys"]}
        number, epoch, at = token.claims["number"], token.claims.get("epoch", 0), token.claims["iat"]
        load_public_keys(keys)
    except (JoseError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"no statement by a known key: {error}") from error
    if type(at) is not int or any(
        type(value) is not int or not 0 <= value <= MAX_VERSION for value in (number, epoch)
    ):
        raise ValueError(f"its time is no number of seconds, or its number or epoch not 0 to {MAX_VERSION}")
    if at > now + AHEAD_S:
        raise ValueError(f"the statement is of {at}, and it is {now}")
    return KeyStatement(keys, number, epoch)


def signer(jws: str) -> str | None:
    """The `kid` in a JWS's header, which nobody has verified yet; None where there is none to read."""
    try:
        header = json.loads(urlsafe_b64decode(jws.partition(".")[0] + "=="))
        return str(header["kid"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def public_keys(*keys: SigningKey) -> dict[str, Any]:
    """The public halves as a JWKS (RFC 7517), for devices to pin."""
    halves: list[Any] = [key if isinstance(key, ECKey) else key.public for key in keys]
    return dict(KeySet(halves).as_dict(private=False))


def load_public_keys(jwks: Mapping[str, Any]) -> KeySet:
    """Read the P-256 keys of a JWKS, which alone can sign here; ValueError where it holds none or is not one.

    What else is said of a key, as what it is for, does not count: each of them signs releases.
    """
    try:
        usable = [key for key in jwks["keys"] if (key.get("kty"), key.get("crv")) == ("EC", "P-256")]
        keys = [{name: key[name] for name in ("kty", "crv", "kid", "x", "y")} for key in usable]
        return KeySet.import_key_set({"keys": keys})
    except (JoseError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"not a JSON Web Key Set with a P-256 key: {error!r}") from error
