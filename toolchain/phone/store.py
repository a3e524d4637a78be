"""What a phone keeps over a power loss: who it is, and its last two verified versions."""

import json
import math
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from mnet.export.format.errors import Reason, Refused
from mnet.export.format.packs import pack_digest
from mnet.toolchain.contract.release import Release
from mnet.toolchain.durable import write_durably
from mnet.toolchain.errors import UserError
from mnet.toolchain.phone.identity import Identity
from mnet.toolchain.phone.measurements import Measurements
from mnet.toolchain.phone.pack_folder import PackFolder
from mnet.toolchain.state_folder import claim, lock, read_own

# What a server's folder holds; a phone takes none of it for its own.
SERVER_NAMES = ("keys", "mnet.db")


@dataclass(frozen=True)
class Kept:
    """A verified release, with the signed text that it was read from."""

    jws: str
    release: Release


class WeightStore:
    """A phone's state folder: `identity.json`, `current.jws`, `previous.jws`, `fresh.json`, `packs/` and
    `measurements.json`.

    All of it is for its owner only, and for one phone at a time: `owner.json` is locked until `close`.
    A version is kept in the order pack, previous release, current release, each durably: whatever moment the
    power fails at, `current.jws` names a pack that is wholly there, or the one before it does.
    """

    def __init__(self, folder: Path) -> None:
        """Open or create the folder; UserError if it cannot be written, is another's, or is in use."""
        own = os.path.lexists(folder / "identity.json")
        try:
            self._marker = claim(folder, "phone", SERVER_NAMES if own else (*SERVER_NAMES, "packs"))
        except OSError as error:
            raise UserError(f"cannot keep the phone's state in {folder}: {error.strerror}") from error
        try:
            lock(self._marker, folder, "phone")
            self._packs = PackFolder(folder / "packs")
        except BaseException as error:
            self.close()
            if not isinstance(error, OSError):
                raise
            raise UserError(f"cannot keep the phone's state in {folder}: {error.strerror}") from error
        self._identity = folder / "identity.json"
        self._current = folder / "current.jws"
        self._previous = folder / "previous.jws"
        self._fresh = folder / "fresh.json"
        self.measurements = Measurements(folder / "measurements.json")

    def close(self) -> None:
        """Let another phone have the folder."""
        if self._marker >= 0:
            os.close(self._marker)
            self._marker = -1

    def identity(self) -> Identity | None:
        """Who this phone was enrolled as; None before enrolment. Refused with malformed if the file is damaged."""
        try:
            return Identity.checked(json.loads(read_own(self._identity)))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            detail = (
                f"{self._identity} is damaged ({type(error).__name__}: {error}), the phone must enrol again"
            )
            raise Refused(Reason.MALFORMED, detail) from error

    def save_identity(self, identity: Identity) -> None:
        """Keep who the phone is, with its token."""
        write_durably(self._identity, json.dumps(asdict(identity)).encode(), mode=0o600)

    def fresh_until(self) -> float | None:
        """Until when (Unix seconds) the kept version is known to be the newest; None where nothing is known."""
        try:
            until = json.loads(read_own(self._fresh))
        except (OSError, ValueError, RecursionError):
            return None
        return float(until) if type(until) in (int, float) and math.isfinite(until) else None

    def save_fresh_until(self, until: float) -> None:
        """Keep until when the version is known to be the newest."""
        write_durably(self._fresh, json.dumps(until).encode(), mode=0o600)

    def clear_versions(self) -> None:
        """Forget every version; the phone stays known to its server."""
        for path in (self._current, self._previous):
            path.unlink(missing_ok=True)
        self.measurements.clear()
        self._packs.keep_only(set())

    def releases(self) -> list[str]:
        """The kept releases as JWS, newest first; nothing in them is verified yet."""
        texts = []
        for path in (self._current, self._previous):
            with suppress(OSError):
                texts.append(read_own(path).decode(errors="replace"))
        return texts

    def pack(self, release: Release) -> bytes:
        """The kept pack of a verified release; Refused if it is gone or not the one released."""
        path = self._packs.path(release.sha256)
        try:
            data = read_own(path)
        except OSError as error:
            raise Refused(Reason.MISSING_FILE, f"no pack {path.name}") from error
        check_bytes(data, release)
        return data

    def save(self, new: Kept, pack: bytes, running: Kept | None) -> None:
        """Keep a verified version as the current one, and the one that ran until now as the previous one."""
        digests = {self._packs.put(pack)}
        if running is not None:
            write_durably(self._previous, running.jws.encode(), mode=0o600)
            digests.add(running.release.sha256)
        write_durably(self._current, new.jws.encode(), mode=0o600)
        self._packs.keep_only(digests)


def check_bytes(data: bytes, release: Release) -> None:
    """Refuse bytes that are not the pack that a release names: wrong_size or wrong_hash."""
    if len(data) != release.size:
        raise Refused(Reason.WRONG_SIZE, f"the pack is {len(data)} bytes, its release says {release.size}")
    if (digest := pack_digest(data)) != release.sha256:
        raise Refused(Reason.WRONG_HASH, f"the pack is {digest}, its release says {release.sha256}")
