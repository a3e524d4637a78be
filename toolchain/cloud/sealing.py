"""What the database does not tell without a key of the deployment outside it.

Contexts are sealed (AES-256-GCM), each for its device, and packs salted, so that their hashes do not say which contexts
are equal, or which one somebody guessed.
"""

import hashlib
import hmac
import json
import secrets
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12


class Sealer:
    """Seals and opens the contexts of one deployment."""

    def __init__(self, secret: str) -> None:
        """`secret` has 256 random bits, as of `create_key`."""
        self._cipher = AESGCM(hashlib.sha256(f"mnet contexts {secret}".encode()).digest())
        self._salts = hashlib.sha256(f"mnet packs {secret}".encode()).digest()
        self.name = hashlib.sha256(f"mnet contexts' name {secret}".encode()).hexdigest()[:16]

    def salt(self, device: str) -> str:
        """What makes the packs of a device differ from those of others with the same context; as of `pack_salt`."""
        return pack_salt(self._salts, device)

    def seal(self, device: str, samples: Sequence[Any]) -> str:
        """A context as a text that tells nothing without the key; the same one is another text each time."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        data = json.dumps(list(samples), separators=(",", ":")).encode()
        return b64encode(nonce + self._cipher.encrypt(nonce, data, device.encode())).decode()

    def open(self, device: str, sealed: str) -> list[Any] | None:
        """The context; None where another key sealed it, or it is another device's."""
        try:
            data = b64decode(sealed)
            plain = self._cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], device.encode())
        except (InvalidTag, ValueError):
            return None
        found: list[Any] = json.loads(plain)
        return found


def pack_salt(secret: bytes, device: str) -> str:
    """32 hexadecimal digits that nobody without the secret can guess, the same for a device each time."""
    return hmac.digest(secret, device.encode(), "sha256").hex()[:32]
