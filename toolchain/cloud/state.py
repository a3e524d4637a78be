"""The folder that a server keeps between starts: its keys, and the database and packs that it has to itself."""

import os
from dataclasses import dataclass
from pathlib import Path

from mnet.toolchain.cloud.signing_keys import SIGNING, Keyring, create_key, create_signing_key, read_key
from mnet.toolchain.errors import UserError
from mnet.toolchain.state_folder import claim, mark


@dataclass(frozen=True)
class Keys:
    """The secrets of phones to be and of operators, and the keys that sign."""

    enrolment: str
    operator: str
    keyring: Keyring


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
        """Private key of the releases, PEM."""
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
    def database(self) -> Path:
        """SQLite; it holds contexts, so it is private too."""
        return self.folder / "mnet.db"

    @classmethod
    def open(cls, folder: Path) -> "ServerState":
        """Open a state folder and create what it lacks; UserError if it cannot be written."""
        state = cls(folder)
        try:
            marker = claim(folder, "server", ("identity.json", "current.jws"))
            mark(marker, "server")
            os.close(marker)
            state.keys.mkdir(mode=0o700, exist_ok=True)
            if not state.signing_key.exists():
                create_signing_key(state.signing_key)
            for path in (state.enrolment_key, state.operator_key):
                if not path.exists():
                    create_key(path)
        except OSError as error:
            raise UserError(f"cannot keep the server's state in {folder}: {error.strerror}") from error
        return state

    def read_keys(self) -> Keys:
        """The keys as they are on disk now; UserError where one cannot be used."""
        return Keys(read_key(self.enrolment_key), read_key(self.operator_key), Keyring.load(self.keys))

    def database_url(self) -> str:
        """The embedded database, created for its owner only."""
        self.database.touch(mode=0o600)
        return f"sqlite:///{self.database.resolve()}"

    def packs_url(self) -> str:
        """The local folder of packs."""
        return f"file://{(self.folder / 'packs').resolve()}"
