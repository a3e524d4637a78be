"""Who looks at the page: a browser that was shown the operator key, for some hours, by a cookie that no script reads.

The cookie is a time and an HMAC of it by the operator key: every replica knows it, nothing is kept, and another
operator key ends all sessions. The key has 256 random bits: nobody guesses it.
"""

import hmac
import time

COOKIE = "mnet_operator"
LIFETIME_S = 8 * 3600


def opened(operator_key: str, now: float | None = None) -> str:
    """The value of the cookie from now on."""
    until = str(int((time.time() if now is None else now) + LIFETIME_S))
    return f"{until}.{_seal(operator_key, until)}"


def is_open(cookie: str | None, operator_key: str) -> bool:
    """Whether a cookie is of this operator key, and its time is not over."""
    until, _, seal = (cookie or "").partition(".")
    if not until.isascii() or not until.isdigit() or not seal.isascii():
        return False
    return hmac.compare_digest(seal, _seal(operator_key, until)) and time.time() < int(until)


def _seal(operator_key: str, until: str) -> str:
    return hmac.digest(operator_key.encode(), f"mnet page {until}".encode(), "sha256").hex()
