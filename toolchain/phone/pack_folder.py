"""Weight packs on a phone's disk, each under its own SHA-256: written once, never changed."""

import re
from pathlib import Path

from mnet.export.format.packs import pack_digest
from mnet.toolchain.durable import write_durably
from mnet.toolchain.state_folder import read_own

# What `put` leaves: a pack, or a part of one that a power loss cut.
_OWN = re.compile(r"[0-9a-f]{64}\.safetensors|\.[0-9a-f]{64}\.safetensors\.[0-9a-f]{8}\.tmp")


class PackFolder:
    """A content-addressed folder of weight packs, for its owner only."""

    def __init__(self, folder: Path) -> None:
        """Open or create it; OSError where that fails, or where it is a link to another place."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.is_symlink():
            raise NotADirectoryError(20, f"{folder.name} is a link")
        folder.chmod(0o700)
        self._folder = folder

    def put(self, data: bytes) -> str:
        """Keep a pack; it survives a power loss once this returns. Returns its SHA-256."""
        sha256 = pack_digest(data)
        # A damaged file of that name is replaced: only equal content counts as already there.
        try:
            if read_own(self.path(sha256)) == data:
                return sha256
        except OSError:
            pass  # not there, or no regular file
        write_durably(self.path(sha256), data, mode=0o600)
        return sha256

    def path(self, sha256: str) -> Path:
        """Where the pack of that digest (64 hex digits) is, if it is kept."""
        return self._folder / f"{sha256}.safetensors"

    def keep_only(self, digests: set[str]) -> None:
        """Delete every pack but these, and what an interrupted `put` left behind; files of others stay."""
        kept = {self.path(sha256) for sha256 in digests}
        for path in self._folder.iterdir():
            if path not in kept and _OWN.fullmatch(path.name):
                path.unlink(missing_ok=True)
