"""SoftHSM: a token in a folder, behind the same library call as an HSM in a rack."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
SECRET = "pin-83621794"


@dataclass(frozen=True)
class Token:
    """One token, initialised, whose PIN is in a file."""

    folder: Path
    label: str

    @property
    def config(self) -> Path:
        """What `SOFTHSM2_CONF` must name while it is used."""
        return self.folder / "softhsm2.conf"

    @property
    def pin(self) -> Path:
        """The file that holds the PIN."""
        return self.folder / "pin"

    def uri(self, key: str) -> str:
        """The PKCS#11 URI of a key by its label."""
        return f"pkcs11:token={self.label};object={key}?module-path={MODULE}&pin-source=file:{self.pin}"

    def generate(self, *keys: str, curve: str = "secp256r1") -> None:
        """Generate key pairs of these labels on the token."""
        import pkcs11
        from pkcs11.util.ec import encode_named_curve_parameters

        parameters = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters(curve)}
        with self._session() as session:
            for key in keys:
                domain = session.create_domain_parameters(pkcs11.KeyType.EC, parameters, local=True)
                domain.generate_keypair(store=True, label=key, id=key.encode())

    def mix(self, label: str, private: str, public: str) -> None:
        """A copy of one pair's private and of another's public key, under one label."""
        import pkcs11

        with self._session() as session:
            for kind, key in (("PRIVATE_KEY", private), ("PUBLIC_KEY", public)):
                half = session.get_key(object_class=pkcs11.ObjectClass[kind], label=key)
                half.copy({pkcs11.Attribute.LABEL: label, pkcs11.Attribute.TOKEN: True})

    def lose_sessions(self) -> None:
        """Every session of this process ends, as when an HSM starts again."""
        import pkcs11

        pkcs11.lib(str(MODULE)).reinitialize()

    def let_go(self) -> None:
        """End the library in this process, so that the next use reads its configuration again."""
        import pkcs11

        pkcs11.lib(str(MODULE)).finalize()

    @contextmanager
    def away(self) -> Iterator[None]:
        """For as long, nobody finds the token: not this process, nor any other."""
        tokens, aside = self.folder / "tokens", self.folder / "aside"
        tokens.rename(aside)
        tokens.mkdir()
        try:
            yield
        finally:
            tokens.rmdir()
            aside.rename(tokens)

    @contextmanager
    def _session(self) -> Iterator[Any]:
        import pkcs11

        library = pkcs11.lib(str(MODULE))
        library.reinitialize()
        with library.get_token(token_label=self.label).open(rw=True, user_pin=SECRET) as session:
            yield session
        library.finalize()


@contextmanager
def softhsm(folder: Path, label: str = "mnet") -> Iterator[Token]:
    """A new token; skips the test where SoftHSM or python-pkcs11 is not installed, and names it."""
    pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed")
    if shutil.which("softhsm2-util") is None or not MODULE.exists():
        pytest.skip("SoftHSM (Debian: softhsm2) is not installed")
    token = Token(folder, label)
    (folder / "tokens").mkdir(parents=True)
    token.config.write_text(f"directories.tokendir = {folder / 'tokens'}\nlog.level = ERROR\n")
    token.pin.write_text(SECRET)
    _run(token, ["--init-token", "--free", "--label", label, "--pin", SECRET, "--so-pin", f"so-{SECRET}"])
    yield token


def _run(token: Token, arguments: Sequence[str]) -> None:
    where = {**os.environ, "SOFTHSM2_CONF": str(token.config)}
    subprocess.run(["softhsm2-util", *arguments], check=True, capture_output=True, env=where, timeout=30)
