"""The private keys of a server: the one that signs releases, and the secrets that people hold."""

import json
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from mnet.toolchain.cloud.token_keys import SCHEME, TokenKey
from mnet.toolchain.contract.jws import ALGORITHM, SigningKey, sign
from mnet.toolchain.contract.keys import KEY_STATEMENT, Roots, load_public_keys, public_keys
from mnet.toolchain.durable import write_durably
from mnet.toolchain.errors import UserError

SIGNING = "signing.pem"
# What the server states of its keys, in the same folder: see `Stated`.
STATED = "stated.json"
# The public root keys and how many must vouch, for apps to ship.
ROOTS = "roots.json"
# The public keys of apps' back ends, which alone permit enrolments where there are some (JWKS).
ISSUERS = "issuers.json"


def create_signing_key(path: Path) -> ECKey:
    """Create a P-256 key and keep it as PEM at `path`, readable by its owner only."""
    key = _named(ECKey.generate_key("P-256"))
    write_durably(path, key.as_pem(private=True), mode=0o600)
    return key


def load_signing_key(path: Path) -> SigningKey:
    """Read a P-256 private key from PEM, or find the one on a token whose PKCS#11 URI stands in the file.

    Raises UserError where it cannot be read or found, others may read it, or it is another kind of key.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise UserError(f"the signing key {path} can be read by others: run `chmod 600 {path}`")
        kept = path.read_bytes()
        if kept.startswith(SCHEME.encode()):
            return TokenKey(kept.decode())
        key = ECKey.import_key(kept)
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
class Stated:
    """The `number` and `epoch` of the server's statement of its keys, the roots that alone vouch for it, if any, and
    the statement by each of these (JWS)."""

    number: int = 0
    epoch: int = 0
    roots: Roots | None = None
    vouched: tuple[str, ...] = ()

    @classmethod
    def load(cls, folder: Path) -> "Stated":
        """What `save` wrote; raises UserError where it is damaged."""
        path = folder / STATED
        try:
            fields = json.loads(path.read_bytes())
            roots = None if fields["roots"] is None else Roots.checked(fields["roots"])
            return cls(int(fields["number"]), int(fields["epoch"]), roots, tuple(fields["vouched"]))
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} cannot be read: {error}") from error

    def save(self, folder: Path) -> None:
        """Keep it in the folder of the keys; there is nothing secret in it."""
        write_durably(folder / STATED, json.dumps(asdict(self)).encode())

    def next(
        self, keys: dict[str, Any], roots: Sequence[SigningKey], now: int, *, stolen: bool = False
    ) -> "Stated":
        """The statement of other keys (JWKS), vouched for by private root keys; UserError where these are too few."""
        number, epoch = self.number + 1, self.epoch + stolen
        claims = {"keys": keys["keys"], "number": number, "epoch": epoch, "iat": now}
        known = {} if self.roots is None else {key["kid"] for key in self.roots.keys["keys"]}
        vouching = {str(root.kid): root for root in roots if root.kid in known}
        if self.roots is not None and len(vouching) < self.roots.threshold:
            raise UserError(
                f"{self.roots.threshold} root keys must vouch for a change of keys: --root FILE for each"
            )
        signed = tuple(sign(root, claims, KEY_STATEMENT) for root in vouching.values())
        return Stated(number, epoch, self.roots, signed)


@dataclass(frozen=True)
class Keyring:
    """The key that signs releases, and earlier ones that devices may still know as the only good one."""

    signing: SigningKey
    retiring: tuple[SigningKey, ...] = ()
    stated: Stated = Stated()

    @classmethod
    def load(cls, folder: Path) -> "Keyring":
        """Read `signing.pem`, every `retiring-*.pem` and what is stated of them; UserError as `load_signing_key`."""
        signing = load_signing_key(folder / SIGNING)
        retiring = (load_signing_key(path) for path in sorted(folder.glob("retiring-*.pem")))
        others = tuple(key for key in retiring if key.kid != signing.kid)
        return cls(signing, others, Stated.load(folder))

    @property
    def jwks(self) -> dict[str, Any]:
        """The public halves, for devices to pin."""
        return public_keys(self.signing, *self.retiring)

    def statements(self, now: int) -> list[str]:
        """The public keys at `now` (Unix seconds), signed once by each key, and by each root that vouches for them."""
        stated = self.stated
        claims = {"keys": self.jwks["keys"], "number": stated.number, "epoch": stated.epoch, "iat": now}
        own = [sign(key, claims, KEY_STATEMENT) for key in (self.signing, *self.retiring)]
        return [*own, *stated.vouched]


def pin_roots(folder: Path, roots: Sequence[SigningKey], threshold: int) -> None:
    """From now on, phones that enrol believe `threshold` of these root keys (private) alone. UserError if some are."""
    keyring = Keyring.load(folder)
    if keyring.stated.roots is not None:
        raise UserError("the server has root keys, which phones have pinned: they cannot be changed")
    try:
        pinned = Roots.checked({"keys": public_keys(*roots), "threshold": threshold})
    except ValueError as error:
        raise UserError(f"--threshold {threshold}: {error}") from error
    write_durably(folder / ROOTS, json.dumps(asdict(pinned)).encode())
    replace(keyring.stated, roots=pinned).next(keyring.jwks, roots, int(time.time())).save(folder)


def rotate(
    folder: Path, roots: Sequence[SigningKey] = (), *, stolen: bool = False, uri: str | None = None
) -> SigningKey:
    """Sign by a new key; the one before vouches for it until `retire`. Returns the new one.

    It is created as PEM or, with the PKCS#11 `uri` of a key pair on a token, is that one. `stolen`: the ones before
    count no more, nor does anything that they signed; only roots can say so. UserError where the server has roots and
    `roots` (private) are too few of them, or where a PEM would follow a key on a token.
    """
    try:
        signed_by = (folder / SIGNING).read_bytes()
    except OSError as error:
        raise UserError(f"the signing key {folder / SIGNING} cannot be read: {error}") from error
    if uri is None and signed_by.startswith(SCHEME.encode()):
        raise UserError(
            "the signing key lies on a token, and the next one does too: name it by --signing-key"
        )
    new, kept = _new(uri)
    if stolen:  # without the ones before, which may be out of reach
        stated = Stated.load(folder)
        if stated.roots is None:
            raise UserError("only root keys can declare a signing key stolen, and this server has none")
        before: tuple[SigningKey, ...] = ()
    else:
        keyring = Keyring.load(folder)
        stated, before = keyring.stated, (keyring.signing, *keyring.retiring)
        if new.kid in (key.kid for key in before):
            raise UserError(f"{uri} is a key that the server has already: generate another pair on the token")
    stated = stated.next(public_keys(new, *before), roots, int(time.time()), stolen=stolen)
    if stolen:
        _forget_retiring(folder)
    else:
        # First, so that a power loss in between leaves the old key under two names, and never none.
        write_durably(folder / f"retiring-{str(before[0].kid)[:16]}.pem", signed_by, mode=0o600)
    stated.save(folder)
    write_durably(folder / SIGNING, kept, mode=0o600)
    return new


def keep_token_key(path: Path, uri: str) -> SigningKey:
    """Have the key pair at a PKCS#11 `uri` be the signing key at `path`; UserError where it cannot sign."""
    key, kept = _new(uri)
    write_durably(path, kept, mode=0o600)
    return key


def _new(uri: str | None) -> tuple[SigningKey, bytes]:
    """A key, and what is kept of it: PEM of a new one, or the URI of that on a token."""
    if uri is not None:
        return TokenKey(uri), f"{uri.strip()}\n".encode()
    key = _named(ECKey.generate_key("P-256"))
    return key, key.as_pem(private=True)


def retire(folder: Path, roots: Sequence[SigningKey] = ()) -> list[str]:
    """Delete the keys before the signing one; returns their names. A device that never learnt the new one is lost."""
    keyring = Keyring.load(folder)
    keyring.stated.next(public_keys(keyring.signing), roots, int(time.time())).save(folder)
    _forget_retiring(folder)
    return [str(key.kid) for key in keyring.retiring]


def _forget_retiring(folder: Path) -> None:
    for path in folder.glob("retiring-*.pem"):
        path.unlink()


def add_issuer(folder: Path, key: ECKey) -> None:
    """From now on a device enrols with a permission of this back end, or of another one that was added."""
    known = read_issuers(folder) or {"keys": []}
    issuers = {"keys": [*known["keys"], *public_keys(key)["keys"]]}
    write_durably(folder / ISSUERS, json.dumps(issuers).encode())


def read_issuers(folder: Path) -> dict[str, Any] | None:
    """The public keys (JWKS) that `add_issuer` kept; None where the enrolment key is enough. UserError if damaged."""
    path = folder / ISSUERS
    try:
        issuers: dict[str, Any] = json.loads(path.read_bytes())
        load_public_keys(issuers)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    return issuers


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
    if not re.fullmatch(r"[A-Za-z0-9_.-]{20,}", key):
        raise UserError(f"{path} is not a key file that `mnet serve` made")
    return key
