"""Who looks at the page: a browser that was shown an operator's key, for some hours, by a cookie that no script reads.

The cookie is a time, an operator's name and an HMAC of both and of the hash of their key, by the operator key of the
server's folder: every replica knows it, nothing is kept, and another key of either ends the session. The key has 256
random bits: nobody guesses it.
"""

import hmac
import time
from collections.abc import Callable

COOKIE = "mnet_operator"
LIFETIME_S = 8 * 3600


def opened(operator_key: str, name: str, key_sha256: str, now: float | None = None) -> str:
    """The value of the cookie of an operator from now on."""
    until = str(int((time.time() if now is None else now) + LIFETIME_S))
    return f"{until}.{_seal(operator_key, until, name, key_sha256)}.{name}"


def whose(cookie: str | None, operator_key: str, key_hash: Callable[[str], str | None]) -> str | None:
    """The operator whose cookie this is; None where it is nobody's, or its time is over, or their key is another."""
    until, _, rest = (cookie or "").partition(".")
    seal, _, name = rest.partition(".")
    if not until.isascii() or not until.isdigit() or not rest.isascii() or not time.time() < int(until):
        return None
    if (known := key_hash(name)) is None:
        return None
    return name if hmac.compare_digest(seal, _seal(operator_key, until, name, known)) else None


def _seal(operator_key: str, until: str, name: str, key_sha256: str) -> str:
    return hmac.digest(
        operator_key.encode(), f"mnet page {until} {name} {key_sha256}".encode(), "sha256"
    ).hex()
