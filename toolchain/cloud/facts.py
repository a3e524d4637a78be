"""What a database knows of itself: which keys its phones trust, and from when to when it has lost what it knew."""

import json
import secrets
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, delete, func, insert, select

from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.sealing import Sealer
from mnet.toolchain.cloud.signing_keys import Keyring
from mnet.toolchain.cloud.tables import Context, Device, Fact
from mnet.toolchain.errors import UserError

TOKENS, RESTORED, SIGNING, SEALING = "token_secret", "restored", "signing_key", "sealing_key"
RESTORING = "restoring"  # a restore that has begun, and did not end


@dataclass(frozen=True)
class Restored:
    """A database that was restored for the `epoch`-th time lacks what was between the backup and the restore."""

    since: float
    until: float
    epoch: int


def trusted_key(database: Database, keyring: Keyring) -> None:
    """Keep the name of the signing key that the phones of a database trust.

    Raises UserError for a key that they never heard of: nothing vouches for it, and they would refuse every release.
    """
    stated, kids = keyring.stated, {str(key.kid) for key in (keyring.signing, *keyring.retiring)}
    with database.writing() as connection:
        known, _, epoch = (get(connection, SIGNING) or "").partition(" ")
        strange = known not in ("", *kids) and stated.epoch <= int(epoch or 0)
        phones = connection.scalar(select(func.count()).select_from(Device)) or 0
        if strange and phones:
            raise UserError(
                f"the {phones} phones of this database trust the signing key {known[:12]}, and the key folder holds "
                f"{str(keyring.signing.kid)[:12]}: put the right keys there, e.g. those of a backup"
            )
        put(connection, SIGNING, f"{keyring.signing.kid} {stated.epoch}")


def sealing_key(database: Database, sealer: Sealer) -> None:
    """Keep by which key contexts are sealed. Raises UserError for another one while there are contexts."""
    with database.writing() as connection:
        known, contexts = (
            get(connection, SEALING),
            connection.scalar(select(func.count()).select_from(Context)),
        )
        if known not in (None, sealer.name) and contexts:
            raise UserError(
                f"the {contexts} contexts of this database are sealed by the key {known}, and the key folder holds "
                f"{sealer.name}: put the right contexts.key there, e.g. that of another replica, or of a backup"
            )
        put(connection, SEALING, sealer.name)


def enrolled(url: str) -> int:
    """How many devices the database at this URL has."""
    database = Database(url)
    try:
        with database.reading() as connection:
            return connection.scalar(select(func.count()).select_from(Device)) or 0
    finally:
        database.close()


class Facts:
    """The facts of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def token_secret(self) -> bytes:
        """What the tokens of this database are sealed with; made at the first call."""
        with self._database.writing() as connection:
            if (found := get(connection, TOKENS)) is None:
                put(connection, TOKENS, found := secrets.token_hex(32))
        return bytes.fromhex(found)

    def restored(self) -> Restored | None:
        """Of the last restore; None for a database that never was."""
        with self._database.reading() as connection:
            found = get(connection, RESTORED)
        return None if found is None else Restored(**json.loads(found))


def check_whole(database: Database) -> None:
    """Raise UserError for a database whose restore was interrupted: it would give out versions that phones refuse."""
    with database.reading() as connection:
        if restoring(connection):
            raise UserError("the restore of this database was interrupted: run the same `mnet restore` again")


def restoring(connection: Connection) -> bool:
    """Whether a restore has begun and did not end."""
    return get(connection, RESTORING) is not None


def begin_restore(connection: Connection) -> None:
    """Keep that the rows of a backup are there, and no more than these."""
    put(connection, RESTORING, "")


def note_restored(connection: Connection, since: float, until: float) -> None:
    """Keep that the database was restored, from a backup of `since`."""
    connection.execute(delete(Fact).where(Fact.name == RESTORING))
    before = get(connection, RESTORED)
    epoch = 1 if before is None else Restored(**json.loads(before)).epoch + 1
    put(connection, RESTORED, json.dumps(asdict(Restored(since, until, epoch))))


def get(connection: Connection, name: str) -> str | None:
    """A fact; None where it is not known."""
    return connection.scalar(select(Fact.value).where(Fact.name == name))


def put(connection: Connection, name: str, value: str) -> None:
    """Replace a fact."""
    connection.execute(delete(Fact).where(Fact.name == name))
    connection.execute(insert(Fact).values(name=name, value=value))
