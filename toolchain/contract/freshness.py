"""The short-lived signed statement "device D, bundle B: there is nothing newer than version V".

It comes with every answer that brings no release, in a header, so that somebody who keeps releases from a phone cannot
also keep that from it: without such a statement for a day, the phone knows that it may be stale (TUF's timestamp role).
"""

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from mnet.toolchain.contract.jws import ALGORITHM, SigningKey, sign

# The name of the header that carries it, in an answer of status 204.
HEADER = "Mnet-Nothing-Newer"
# The name of the header by which a phone learns that no weights came of what it sent; one that ignores it just waits.
NOT_MADE = "Mnet-Not-Made"
STATEMENT = "mnet-nothing-newer+jwt"
LIFETIME_S = 24 * 3600


def nothing_newer(key: SigningKey, device: str, bundle: str, version: int, now: int) -> str:
    """The statement as JWS compact, good from `now` (Unix seconds) for a day."""
    claims = {"sub": device, "bundle": bundle, "version": version, "iat": now, "exp": now + LIFETIME_S}
    return sign(key, claims, STATEMENT)


def fresh_until(statement: str, keys: KeySet, *, device: str, bundle: str, version: int, now: int) -> int:
    """Until when (Unix seconds) `version` is known to be the newest; ValueError where the statement does not say so.

    A day from `now` at most, whatever it says: a phone judges by its own clock.
    """
    try:
        token = jwt.decode(statement, keys, algorithms=[ALGORITHM])
        claims = token.claims
        about = claims["sub"], claims["bundle"], claims["version"]
        issued, expires = claims["iat"], claims["exp"]
    except (JoseError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"no statement by a known key: {error}") from error
    if token.header.get("typ") != STATEMENT:
        raise ValueError("it is signed, but says nothing of newer versions")
    if about != (device, bundle, version) or type(claims["version"]) is not int:
        raise ValueError(f"it is about {about}")
    if type(issued) is not int or type(expires) is not int:
        raise ValueError("its times are no numbers of seconds")
    if not now - LIFETIME_S <= issued <= now + LIFETIME_S or expires <= now:
        raise ValueError(f"it was issued at {issued} and expires at {expires}; it is {now}")
    return min(expires, now + LIFETIME_S)
