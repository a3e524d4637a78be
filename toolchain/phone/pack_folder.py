"""Weight packs on a phone's disk, each under its own SHA-256: written once, never changed."""

from pathlib import Path

from mnet.export.format.packs import pack_digest
from mnet.toolchain.durable import write_durably


class PackFolder:
    """A content-addressed folder of weight packs."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder

    def put(self, data: bytes) -> str:
        """Keep a pack; it survives a power loss once this returns. Returns its SHA-256."""
        sha256 = pack_digest(data)
        path = self.path(sha256)
        # A damaged file of that name is replaced: only equal content counts as already there.
        if not (path.is_file() and path.read_bytes() == data):
            write_durably(path, data)
        return sha256

    def path(self, sha256: str) -> Path:
        """Where the pack of that digest (64 hex digits) is, if it is kept."""
        return self._folder / f"{sha256}.safetensors"

    def keep_only(self, digests: set[str]) -> None:
        """Delete every pack but these, and what an interrupted `put` left behind."""
        kept = {self.path(sha256) for sha256 in digests}
        for path in self._folder.iterdir():
            if path not in kept:
                path.unlink(missing_ok=True)
