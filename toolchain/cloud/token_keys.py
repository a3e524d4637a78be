"""Signing keys on a PKCS#11 token: an HSM, a smart card, SoftHSM. Their private halves never leave it.

Such a key is named by its URI (RFC 7512), which stands in the file where another key's PEM would:
`pkcs11:token=mnet;object=signing-1?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/secrets/pin`.
"""

import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import unquote, unquote_to_bytes

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key
from joserfc.jwk import ECKey

from mnet.toolchain.contract.jws import ALGORITHM, KeyAway
from mnet.toolchain.errors import UserError

SCHEME = "pkcs11:"
PIN = "MNET_PKCS11_PIN"

T = TypeVar("T")


@dataclass(frozen=True)
class TokenUri:
    """Where a key is: the library of the token, which token, and which key pair on it, by label or id (or both)."""

    module: str
    token: Mapping[str, str | bytes]
    key: Mapping[str, str | bytes]
    pin_file: Path | None
    label: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a URI; UserError where it is none that names one key, or holds a PIN. No message shows one."""
        path, _, query = text.strip().removeprefix(SCHEME).partition("?")
        named, asked = _attributes(path, ";"), _attributes(query, "&")
        if "pin-value" in asked:
            raise UserError(
                "a PIN does not belong into a PKCS#11 URI, which is kept and shown: write it to a file and name that "
                f"by pin-source=file:/path, or set {PIN}"
            )
        if strange := sorted(
            (named.keys() - {"token", "serial", "object", "id", "type"})
            | (asked.keys() - {"module-path", "pin-source"})
        ):
            raise UserError(
                f"the PKCS#11 URI says {', '.join(strange)}; a token is named by token or serial, a key by object or "
                "id, then ?module-path=/path/of/library.so&pin-source=file:/path/of/pin"
            )
        token: dict[str, str | bytes] = {}
        if "token" in named:
            token["token_label"] = unquote(named["token"])
        if "serial" in named:
            token["token_serial"] = unquote_to_bytes(named["serial"])
        key: dict[str, str | bytes] = {}
        if "object" in named:
            key["label"] = unquote(named["object"])
        if "id" in named:
            key["id"] = unquote_to_bytes(named["id"])
        for lacks, what in (
            (not token, "no token: token=LABEL"),
            (not key, "no key: object=LABEL or id=%01"),
            ("module-path" not in asked, "no library of the token: ?module-path=/path/of/library.so"),
        ):
            if lacks:
                raise UserError(f"the PKCS#11 URI names {what}")
        source = unquote(asked.get("pin-source", "")).removeprefix("file:")
        if source.startswith("|"):
            raise UserError("the PKCS#11 URI gets its PIN from a command, which is not run: name a file")
        label = unquote(named.get("token") or named["serial"])
        return cls(unquote(asked["module-path"]), token, key, Path(source) if source else None, label)

    @property
    def key_label(self) -> str:
        """The key's label or, without one, its id in hexadecimal."""
        name = self.key.get("label", self.key.get("id"))
        return name.hex() if isinstance(name, bytes) else str(name)

    def pin(self) -> str:
        """The PIN of the token's user, as it is now; UserError where there is none."""
        if self.pin_file is not None:
            try:
                return self.pin_file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise UserError(
                    f"the PIN of token {self.label} cannot be read from {self.pin_file}: {type(error).__name__}"
                ) from None
        if pin := os.environ.get(PIN):
            return pin
        raise UserError(f"token {self.label} needs a PIN: pin-source=file:/path in the URI, or {PIN}")


class TokenKey:
    """A P-256 key pair on a token, as `contract.jws.KeyElsewhere` asks; safe to use from several threads."""

    def __init__(self, uri: str) -> None:
        """Find the pair at a PKCS#11 `uri` and have it sign once. Raises UserError that says what is missing."""
        self.uri = TokenUri.parse(uri)
        self._found: tuple[Any, Any] | None = None
        try:
            self._module = _module(self.uri.module)
            public = load_der_public_key(self._module.run(self.uri, self._public_half))
            r_and_s = self.es256(b"mnet")
        except KeyAway as error:
            raise UserError(str(error)) from error
        self._check(public, r_and_s)
        assert isinstance(public, EllipticCurvePublicKey)
        bare = ECKey.import_key(public)
        self.public = ECKey.import_key(
            bare.as_dict(private=False), {"kid": bare.thumbprint(), "use": "sig", "alg": ALGORITHM}
        )

    @cached_property
    def kid(self) -> str:
        """The RFC 7638 thumbprint, as of a key in a PEM."""
        return str(self.public.kid)

    def es256(self, data: bytes) -> bytes:
        """ECDSA of the SHA-256 of `data`, r and s of 32 bytes each. Raises KeyAway."""
        from pkcs11 import Mechanism

        digest = hashlib.sha256(data).digest()
        return self._module.run(
            self.uri, lambda session: bytes(self._private(session).sign(digest, mechanism=Mechanism.ECDSA))
        )

    def _private(self, session: Any) -> Any:
        """The private key's handle, which is good for one session."""
        from pkcs11 import KeyType, ObjectClass

        if self._found is None or self._found[0] is not session:
            key = session.get_key(object_class=ObjectClass.PRIVATE_KEY, key_type=KeyType.EC, **self.uri.key)
            self._found = session, key
        return self._found[1]

    def _public_half(self, session: Any) -> bytes:
        """As SubjectPublicKeyInfo, DER: of the public key that has the private one's id and label."""
        from pkcs11 import KeyType, ObjectClass
        from pkcs11.util.ec import encode_ec_public_key

        self._private(session)
        pair = {"object_class": ObjectClass.PUBLIC_KEY, "key_type": KeyType.EC, **self.uri.key}
        return bytes(encode_ec_public_key(session.get_key(**pair)))

    def _check(self, public: Any, r_and_s: bytes) -> None:
        where = f"{self.uri.key_label} on token {self.uri.label}"
        if not isinstance(public, EllipticCurvePublicKey) or not isinstance(public.curve, SECP256R1):
            raise UserError(f"the key {where} is not a P-256 key (secp256r1)")
        halves = int.from_bytes(r_and_s[:32]), int.from_bytes(r_and_s[32:])
        try:
            public.verify(encode_dss_signature(*halves), b"mnet", ECDSA(hashes.SHA256()))
        except Exception as error:  # InvalidSignature
            raise UserError(f"the public and the private key {where} are no pair") from error


class _Module:
    """A token's library in this process, its sessions, and one caller at a time.

    Who has lost a session, as after a restart of the HSM, gets another: the library begins again, with all sessions.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._turn = threading.Lock()
        self._sessions: dict[str, Any] = {}
        self._refused: dict[str, str] = {}

    def run(self, uri: TokenUri, work: Callable[[Any], T]) -> T:
        """What `work` gives of a session of the token, logged in; twice if the first was lost. Raises KeyAway."""
        from pkcs11.exceptions import PKCS11Error

        with self._turn:
            if (session := self._sessions.get(uri.label)) is not None:
                with suppress(PKCS11Error):
                    return work(session)
                self._drop()
            try:
                return work(self._open(uri))
            except PKCS11Error as error:
                self._drop()
                raise KeyAway(self._said(uri, error)) from error
            except UserError as error:
                raise KeyAway(str(error)) from error

    def _open(self, uri: TokenUri) -> Any:
        import pkcs11

        token, pin = pkcs11.lib(self._path).get_token(**uri.token), uri.pin()
        if self._refused.get(uri.label) == pin:
            raise UserError(
                f"token {uri.label} refused the PIN, which is not tried again, lest the token locks it"
            )
        try:
            session = token.open(user_pin=pin)
        except (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange):
            self._refused[uri.label] = pin
            raise
        except pkcs11.UserAlreadyLoggedIn:  # by another user of the library in this process
            session = token.open()
        self._sessions[uri.label] = session
        return session

    def _drop(self) -> None:
        """Forget all sessions; the library begins again with the next call."""
        import pkcs11

        self._sessions.clear()
        with suppress(pkcs11.PKCS11Error):
            pkcs11.lib(self._path).finalize()

    def _said(self, uri: TokenUri, error: Exception) -> str:
        import pkcs11

        token, key = f"token {uri.label}", uri.key_label
        known: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
            ((pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange), f"{token} refused the PIN"),
            (
                (pkcs11.PinLocked,),
                f"{token} has locked its PIN after wrong ones: its security officer unlocks it",
            ),
            ((pkcs11.NoSuchToken,), f"the PKCS#11 module {self._path} knows no {token}"),
            (
                (pkcs11.MultipleTokensReturned,),
                f"the PKCS#11 module {self._path} knows several tokens {uri.label}",
            ),
            ((pkcs11.NoSuchKey,), f"{token} has no P-256 key pair {key}, of a private and a public key"),
            ((pkcs11.MultipleObjectsReturned,), f"{token} has several keys {key}: name one by id=%01 too"),
        )
        for kinds, said in known:
            if isinstance(error, kinds):
                return said
        if "loading" in str(error):  # no kind of its own
            return f"the PKCS#11 module {self._path} cannot be loaded: {str(error).rpartition(': ')[2]}"
        return f"{token} does not answer: {type(error).__name__}"


@cache
def _module(path: str) -> _Module:
    try:
        import pkcs11  # noqa: F401
    except ImportError as error:
        raise UserError("a key on a token needs python-pkcs11: pip install 'mnet-mobile[hsm]'") from error
    return _Module(path)


def _attributes(text: str, separator: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(separator) if part)
    return {name: value for name, _, value in pairs}
