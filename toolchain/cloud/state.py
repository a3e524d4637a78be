"""The folder that a server keeps between starts: its keys, and the database and packs that it has to itself."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnet.toolchain.cloud.facts import enrolled
from mnet.toolchain.cloud.signing_keys import (
    SIGNING,
    Keyring,
    create_key,
    create_signing_key,
    keep_token_key,
    read_issuers,
    read_key,
)
from mnet.toolchain.errors import UserError
from mnet.toolchain.state_folder import claim, mark


@dataclass(frozen=True)
class Keys:
    """The secrets of phones to be and of operators, and the keys that sign.

    `contexts` seals what devices uploaded; None in a folder of before there was such a key. `issuers` are the back ends
    (JWKS) whose permission a device needs to enrol; None: `enrolment` is enough.
    """

    enrolment: str
    operator: str
    keyring: Keyring
    issuers: dict[str, Any] | None = None
    contexts: str | None = None


@dataclass(frozen=True)
class ServerState:
    """The folder that a server keeps between starts; its keys are readable by their owner only."""

    folder: Path

    @property
    def keys(self) -> Path:
        """Where the keys are; the same on every replica."""
        return self.folder / "keys"

    @property
    def signing_key(self) -> Path:
        """Private key of the releases: PEM, or the PKCS#11 URI of one on a token."""
        return self.keys / SIGNING

    @property
    def enrolment_key(self) -> Path:
        """What a phone needs to enrol."""
        return self.keys / "enrolment.key"

    @property
    def operator_key(self) -> Path:
        """What `mnet push` needs."""
        return self.keys / "operator.key"

    @property
    def contexts_key(self) -> Path:
        """What the contexts in the database are sealed with."""
        return self.keys / "contexts.key"

    @property
    def database(self) -> Path:
        """SQLite; it holds contexts, so it is private too."""
        return self.folder / "mnet.db"

    @classmethod
    def open(cls, folder: Path, database: str | None = None, signing_key: str | None = None) -> "ServerState":
        """Open a state folder and create what it lacks; UserError if it cannot be written.

        The signing key is that at the PKCS#11 URI `signing_key` or, without one, a new PEM. UserError too where the
        folder lacks the signing key that the phones of a database trust: the one at the URL `database` or, without one,
        in the folder.
        """
        state = cls(folder)
        try:
            marker = claim(folder, "server", ("identity.json", "current.jws"))
            mark(marker, "server")
            os.close(marker)
            state.keys.mkdir(mode=0o700, exist_ok=True)
            if not state.signing_key.exists():
                if (database or state.database.exists()) and (
                    phones := enrolled(database or state.database_url())
                ):
                    raise UserError(
                        f"{state.signing_key} is missing, and {phones} phones of the database trust no other key: put "
                        "it back, e.g. from a backup (`mnet restore`)"
                    )
                if signing_key is None:
                    create_signing_key(state.signing_key)
                else:
                    keep_token_key(state.signing_key, signing_key)
            elif signing_key is not None:
                raise UserError(
                    f"{state.signing_key} is there already: `mnet keys rotate --signing-key` follows it"
                )
            for path in (state.enrolment_key, state.operator_key, state.contexts_key):
                if not path.exists():
                    create_key(path)
        except OSError as error:
            raise UserError(f"cannot keep the server's state in {folder}: {error.strerror}") from error
        return state

    def read_keys(self) -> Keys:
        """The keys as they are on disk now; UserError where one cannot be used."""
        return Keys(
            read_key(self.enrolment_key),
            read_key(self.operator_key),
            Keyring.load(self.keys),
            read_issuers(self.keys),
            read_key(self.contexts_key) if self.contexts_key.exists() else None,
        )

    def database_url(self) -> str:
        """The embedded database, created for its owner only."""
        self.database.touch(mode=0o600)
        return f"sqlite:///{self.database.resolve()}"

    def packs_url(self) -> str:
        """The local folder of packs."""
        return f"file://{(self.folder / 'packs').resolve()}"
