"""What a phone keeps over a power loss: who it is, and its last two verified versions."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from mnet.export.format.errors import Reason, Refused
from mnet.export.format.packs import pack_digest
from mnet.toolchain.contract.keys import load_public_keys
from mnet.toolchain.contract.release import Release
from mnet.toolchain.durable import write_durably
from mnet.toolchain.errors import UserError
from mnet.toolchain.phone.client import Identity
from mnet.toolchain.phone.pack_folder import PackFolder


@dataclass(frozen=True)
class Kept:
    """A verified release, with the signed text that it was read from."""

    jws: str
    release: Release


class WeightStore:
    """A phone's state folder: `identity.json` (0600), `current.jws`, `previous.jws` and `packs/`.

    A version is kept in the order pack, previous release, current release, each durably: whatever moment the
    power fails at, `current.jws` names a pack that is wholly there, or the one before it does.
    """

    def __init__(self, folder: Path) -> None:
        """Open or create the folder; UserError if it cannot be written."""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._packs = PackFolder(folder / "packs")
        except OSError as error:
            raise UserError(f"cannot keep the phone's state in {folder}: {error.strerror}") from error
        self._identity = folder / "identity.json"
        self._current = folder / "current.jws"
        self._previous = folder / "previous.jws"

    def identity(self) -> Identity | None:
        """Who this phone was enrolled as; None before enrolment. UserError if the file is damaged."""
        try:
            identity = Identity(**json.loads(self._identity.read_bytes()))
            load_public_keys(identity.keys)
            return identity
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise UserError(f"{self._identity} is damaged ({error}): delete it to enrol anew") from error

    def save_identity(self, identity: Identity) -> None:
        """Keep who the phone is, with its token: readable by the owner only."""
        write_durably(self._identity, json.dumps(asdict(identity)).encode(), mode=0o600)

    def releases(self) -> list[str]:
        """The kept releases as JWS, newest first; nothing in them is verified yet."""
        paths = [path for path in (self._current, self._previous) if path.is_file()]
        return [path.read_text(errors="replace") for path in paths]

    def pack(self, release: Release) -> bytes:
        """The kept pack of a verified release; Refused if it is gone or not the one released."""
        path = self._packs.path(release.sha256)
        if not path.is_file():
            raise Refused(Reason.MISSING_FILE, f"no pack {path.name}")
        data = path.read_bytes()
        check_bytes(data, release)
        return data

    def save(self, new: Kept, pack: bytes, running: Kept | None) -> None:
        """Keep a verified version as the current one, and the one that ran until now as the previous one."""
        digests = {self._packs.put(pack)}
        if running is not None:
            write_durably(self._previous, running.jws.encode())
            digests.add(running.release.sha256)
        write_durably(self._current, new.jws.encode())
        self._packs.keep_only(digests)


def check_bytes(data: bytes, release: Release) -> None:
    """Refuse bytes that are not the pack that a release names: wrong_size or wrong_hash."""
    if len(data) != release.size:
        raise Refused(Reason.WRONG_SIZE, f"the pack is {len(data)} bytes, its release says {release.size}")
    if (digest := pack_digest(data)) != release.sha256:
        raise Refused(Reason.WRONG_HASH, f"the pack is {digest}, its release says {release.sha256}")
