"""Weight packs on disk, each under its own SHA-256: written once, never changed."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from export.packs import pack_digest
from toolchain.durable import write_all_durably

_SUFFIX = ".safetensors"


class PackFolder:
    """A content-addressed folder of weight packs; the server and the phone keep theirs alike."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder

    def put(self, data: bytes) -> str:
        """Keep a pack; it survives a power loss once this returns. Returns its SHA-256."""
        return self.put_all([data])[0]

    def put_all(self, packs: Iterable[bytes]) -> list[str]:
        """Keep some packs; they survive a power loss once this returns. Returns their SHA-256s."""
        named = [(pack_digest(data), data) for data in packs]
        # A damaged file of that name is replaced: only equal content counts as already there.
        write_all_durably(
            {self.path(sha256): data for sha256, data in named if not self._holds(sha256, data)}
        )
        return [sha256 for sha256, _ in named]

    def path(self, sha256: str) -> Path:
        """Where the pack of that digest (64 hex digits) is, if it is kept."""
        return self.folder / f"{sha256}{_SUFFIX}"

    def digests(self) -> Iterator[str]:
        """The SHA-256 of every pack that is kept."""
        for path in self.folder.glob(f"[!.]*{_SUFFIX}"):
            yield path.name.removesuffix(_SUFFIX)

    def discard(self, digests: Iterable[str]) -> None:
        """Delete these packs; a download under way goes on."""
        for sha256 in digests:
            self.path(sha256).unlink(missing_ok=True)

    def keep_only(self, digests: set[str]) -> None:
        """Delete every pack but these, and what an interrupted `put` left behind."""
        kept = {self.path(sha256) for sha256 in digests}
        for path in self.folder.iterdir():
            if path not in kept:
                path.unlink(missing_ok=True)

    def _holds(self, sha256: str, data: bytes) -> bool:
        path = self.path(sha256)
        return path.is_file() and path.read_bytes() == data
