"""Where the cloud keeps weight packs: a folder, or an object store by URL."""

import re
from collections.abc import Collection, Iterator, Sequence

from mnet.export.format.packs import pack_digest
from mnet.toolchain.object_store import ObjectStore

PackName = tuple[str, str]  # whose it is, and SHA-256
SHARED = "shared"  # in place of a device: a pack that many have

_NAME = re.compile(r"([0-9A-Za-z_]+)-([0-9a-f]{64})\.safetensors")
_FIRST = "0123456789abcdefs"  # of a device id, and of SHARED


class PackStore:
    """Packs by device and SHA-256, written once. Of generated ones no two devices share one, so that each is deleted
    without a look; what an operator pushed to many is stored once under SHARED, and deleted when no release names it.
    """

    def __init__(self, url: str) -> None:
        """Open `url`, e.g. `file:///var/lib/mnet/packs` or `s3://bucket/packs`; UserError where that fails."""
        self._objects = ObjectStore(url)

    def put_all(self, packs: Sequence[tuple[str, bytes]]) -> list[str]:
        """Keep some packs, each of a device or SHARED; they survive a power loss once this returns.

        Returns their SHA-256s.
        """
        digests = [pack_digest(data) for _, data in packs]
        self._objects.write(
            {_name(device, sha256): data for (device, data), sha256 in zip(packs, digests, strict=True)}
        )
        return digests

    def read(self, device: str, sha256: str) -> bytes:
        """A whole pack; FileNotFoundError if it is not kept."""
        return self._objects.read(_name(device, sha256))

    def discard(self, packs: Collection[PackName]) -> None:
        """Delete these packs; one that is gone already is no error."""
        self._objects.remove([_name(*pack) for pack in packs])

    def discard_device(self, device: str) -> None:
        """Delete every pack of a device."""
        self._objects.remove_all(f"{device}-")

    def older_than(self, before: float) -> Iterator[list[PackName]]:
        """Packs last written before that moment (Unix seconds), in parts of some hundreds at most."""
        for entries in self._objects.written(_FIRST):
            found = [(_NAME.fullmatch(name), written) for name, written in entries]
            yield [(name[1], name[2]) for name, written in found if name and written < before]

    def probe(self) -> None:
        """Write something, and take it back; raises StoreAway where that fails."""
        self._objects.write({"probe": b"mnet"})
        self._objects.remove(["probe"])

    def tidy(self, before: float) -> None:
        """Delete what writes left behind that were killed before that moment (Unix seconds)."""
        self._objects.tidy(before)


def _name(device: str, sha256: str) -> str:
    """Raises ValueError for a device or digest that could lead out of the store."""
    name = f"{device}-{sha256}.safetensors"
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"{device!r} is not a device, or {sha256!r} no SHA-256")
    return name
