"""Tokens of devices, sealed so that a restored server knows those that it gave out after its backup.

A token is `DEVICE.SEALED`: when it was given out, for which bundle, 128 random bits, and an HMAC of all that by a
secret of the database. The database keeps its SHA-256, and that alone is what lets a known device in.
"""

import hashlib
import hmac
import secrets
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass

from mnet.toolchain.cloud.facts import Restored

_FORM = struct.Struct(">I8s16s32s")  # Unix seconds, of the bundle, random, HMAC-SHA256
_SIGNED = _FORM.size - 32
_AHEAD_S = 60  # by which the clocks of replicas may differ


@dataclass(frozen=True)
class Tokens:
    """Gives out the tokens of one database; `restored` says whose it may have lost."""

    secret: bytes
    restored: Restored | None = None

    def issue(self, device: str, bundle: str, now: float) -> str:
        """A new token for a device that runs `bundle`."""
        signed = struct.pack(">I8s16s", int(now), _mark(bundle), secrets.token_bytes(16))
        return f"{device}.{urlsafe_b64encode(signed + self._seal(device, signed)).decode()}"

    def lost(self, token: str, bundles: Iterable[str]) -> str | None:
        """The bundle of a device that this server enrolled and then forgot by being restored; None for any other."""
        device, _, sealed = token.partition(".")
        if self.restored is None:
            return None
        try:
            at, mark, _, seal = _FORM.unpack(data := urlsafe_b64decode(sealed))
        except (ValueError, struct.error):
            return None
        if not hmac.compare_digest(seal, self._seal(device, data[:_SIGNED])):
            return None
        if not self.restored.since - _AHEAD_S <= at <= self.restored.until + _AHEAD_S:
            return None
        return next((bundle for bundle in bundles if _mark(bundle) == mark), None)

    def _seal(self, device: str, signed: bytes) -> bytes:
        return hmac.digest(self.secret, device.encode() + b"." + signed, "sha256")


def hash_token(token: str) -> str:
    """What is kept of a secret: its SHA-256 in hex. 128 random bits or more need no salt and no stretching."""
    return hashlib.sha256(token.encode()).hexdigest()


def _mark(bundle: str) -> bytes:
    return hashlib.sha256(bundle.encode()).digest()[:8]
