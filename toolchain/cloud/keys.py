"""Keys: the one that signs releases, its public half for devices to pin, and the secrets that people hold."""

import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

from toolchain.durable import write_durably
from toolchain.errors import UserError

ALGORITHM = "ES256"


def create_signing_key(path: Path) -> ECKey:
    """Create a P-256 key and keep it as PEM at `path`, readable by its owner only."""
    key = ECKey.generate_key("P-256")
    write_durably(path, key.as_pem(private=True), mode=0o600)
    return _named(key)


def load_signing_key(path: Path) -> ECKey:
    """Read a P-256 private key from PEM.

    Raises UserError where it cannot be read, others may read it, or it is another kind of key.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise UserError(f"the signing key {path} can be read by others: run `chmod 600 {path}`")
        key = ECKey.import_key(path.read_bytes())
    except (OSError, ValueError, JoseError) as error:
        raise UserError(f"the signing key {path} cannot be read: {error}") from error
    if not key.is_private or key.curve_name != "P-256":
        raise UserError(f"the signing key {path} is not a private P-256 key")
    return _named(key)


def _named(key: ECKey) -> ECKey:
    """Give a key its RFC 7638 thumbprint as `kid`, so that the same PEM has the same name everywhere."""
    return ECKey.import_key(
        key.as_dict(private=True), {"kid": key.thumbprint(), "use": "sig", "alg": ALGORITHM}
    )


def public_keys(*keys: ECKey) -> dict[str, Any]:
    """The public halves as a JWKS (RFC 7517), for devices to pin."""
    return dict(KeySet(list(keys)).as_dict(private=False))


def load_public_keys(jwks: Mapping[str, Any]) -> KeySet:
    """Read a JWKS of public keys; ValueError where it holds none or is not one."""
    try:
        return KeySet.import_key_set({"keys": list(jwks["keys"])})
    except (JoseError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a JSON Web Key Set: {error}") from error


def create_key(path: Path) -> None:
    """Create a secret of 256 random bits, readable by its owner only: an enrolment key or an operator key."""
    write_durably(path, f"{secrets.token_urlsafe(32)}\n".encode(), mode=0o600)


def read_key(path: Path) -> str:
    """The secret that `create_key` left at `path`; UserError where there is none."""
    try:
        key = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise UserError(f"cannot read the key file {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        key = ""
    if not re.fullmatch(r"[A-Za-z0-9_-]{20,}", key):
        raise UserError(f"{path} is not a key file that `mnet serve` made")
    return key
