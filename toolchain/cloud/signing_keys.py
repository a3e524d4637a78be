"""The private keys of a server: the one that signs releases, and the secrets that people hold."""

import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from mnet.toolchain.contract.jws import ALGORITHM, sign
from mnet.toolchain.contract.keys import KEY_STATEMENT, public_keys
from mnet.toolchain.durable import write_durably
from mnet.toolchain.errors import UserError

SIGNING = "signing.pem"
# The number of the server's statement of its keys; it rises with each change of them.
NUMBER = "number"


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


@dataclass(frozen=True)
class Keyring:
    """The key that signs releases, and earlier ones that devices may still know as the only good one."""

    signing: ECKey
    retiring: tuple[ECKey, ...] = ()
    number: int = 0

    @classmethod
    def load(cls, folder: Path) -> "Keyring":
        """Read `signing.pem` and every `retiring-*.pem` of a folder; raises UserError as `load_signing_key` does."""
        signing = load_signing_key(folder / SIGNING)
        retiring = (load_signing_key(path) for path in sorted(folder.glob("retiring-*.pem")))
        return cls(signing, tuple(key for key in retiring if key.kid != signing.kid), _number(folder))

    @property
    def jwks(self) -> dict[str, Any]:
        """The public halves, for devices to pin."""
        return public_keys(self.signing, *self.retiring)

    def statements(self, now: int) -> list[str]:
        """The public keys at `now` (Unix seconds), signed once by each key: a device believes one that it knows."""
        claims = {"keys": self.jwks["keys"], "number": self.number, "iat": now}
        return [sign(key, claims, KEY_STATEMENT) for key in (self.signing, *self.retiring)]


def rotate(folder: Path) -> ECKey:
    """Create a new signing key; the one before vouches for it until `retire`. Returns the new one."""
    old = load_signing_key(folder / SIGNING)
    _raise_number(folder)
    # First, so that a power loss in between leaves the old key under two names, and never none.
    write_durably(folder / f"retiring-{str(old.kid)[:16]}.pem", old.as_pem(private=True), mode=0o600)
    return create_signing_key(folder / SIGNING)


def retire(folder: Path) -> list[str]:
    """Delete the keys before the signing one; returns their names. A device that never learnt the new one is lost."""
    keyring = Keyring.load(folder)
    _raise_number(folder)
    for path in folder.glob("retiring-*.pem"):
        path.unlink()
    return [str(key.kid) for key in keyring.retiring]


def _number(folder: Path) -> int:
    try:
        return int((folder / NUMBER).read_text(encoding="ascii"))
    except FileNotFoundError:
        return 0
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / NUMBER} cannot be read: {error}") from error


def _raise_number(folder: Path) -> None:
    """Before the keys change: after a power loss in between, the change is made again under the next number."""
    write_durably(folder / NUMBER, str(_number(folder) + 1).encode())


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
