"""Where the cloud keeps weight packs: a folder, or any object store that fsspec reaches, as `s3://`."""

import itertools
import os
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from export.packs import pack_digest
from toolchain.durable import write_all_durably
from toolchain.errors import UserError

PackName = tuple[str, str]  # device and SHA-256

_AT_ONCE = 500
_NAME = re.compile(r"([0-9A-Za-z_]+)-([0-9a-f]{64})\.safetensors")


class PackStore:
    """Packs by device and SHA-256, written once. No two devices share one, so that each is deleted without a look."""

    def __init__(self, url: str) -> None:
        """Open `url`, as `file:///var/lib/mnet/packs` or `s3://bucket/packs`; UserError where that fails."""
        try:
            self._fs, self._root = fsspec.core.url_to_fs(url, use_listings_cache=False)
            self._local = isinstance(self._fs, LocalFileSystem)
            if self._local:
                Path(self._root).mkdir(mode=0o700, parents=True, exist_ok=True)
            else:
                self._fs.info(self._root.partition("/")[0])  # the bucket
        except ImportError as error:
            raise UserError(f"{url}: {error}; pip install 'mnet[s3]'") from error
        except Exception as error:  # each store has its own
            raise UserError(f"cannot keep packs at {url}: {type(error).__name__}: {error}") from error

    def put_all(self, packs: Sequence[tuple[str, bytes]]) -> list[str]:
        """Keep some packs, each of a device; they survive a power loss once this returns. Returns their SHA-256s."""
        digests = [pack_digest(data) for _, data in packs]
        paths = [self._path(device, sha256) for (device, _), sha256 in zip(packs, digests, strict=True)]
        contents = [data for _, data in packs]
        if self._local:  # fsspec does not fsync
            write_all_durably(dict(zip(map(Path, paths), contents, strict=True)))
        elif packs:
            self._fs.pipe(dict(zip(paths, contents, strict=True)))
        return digests

    def read(self, device: str, sha256: str) -> bytes:
        """A whole pack; FileNotFoundError if it is not kept."""
        data: bytes = self._fs.cat_file(self._path(device, sha256))
        return data

    def discard(self, packs: Collection[PackName]) -> None:
        """Delete these packs; one that is gone already is no error."""
        self._remove([self._path(*pack) for pack in packs])

    def discard_device(self, device: str) -> None:
        """Delete every pack of a device."""
        if self._local:
            self._remove([str(path) for path in Path(self._root).glob(f"{device}-*")])
        else:
            self._remove(list(self._fs.find(self._root, prefix=f"{device}-")))

    def older_than(self, before: float) -> Iterator[list[PackName]]:
        """Packs last written before that moment (Unix seconds), in parts."""
        for entries in self._listed():
            found = [(_NAME.fullmatch(Path(path).name), written) for path, written in entries]
            yield [(name[1], name[2]) for name, written in found if name and written < before]

    def _listed(self) -> Iterator[list[tuple[str, float]]]:
        """Paths with the time of their last write, in parts: a whole bucket's would not fit into memory."""
        if self._local:
            with os.scandir(self._root) as entries:
                while some := list(itertools.islice(entries, _AT_ONCE)):
                    yield [(entry.path, entry.stat().st_mtime) for entry in some if entry.is_file()]
            return
        for first in "0123456789abcdef":
            paths = self._fs.find(self._root, prefix=first, detail=True)
            yield [(path, entry["LastModified"].timestamp()) for path, entry in paths.items()]

    def _remove(self, paths: list[str]) -> None:
        if self._local:
            for path in paths:
                Path(path).unlink(missing_ok=True)
        elif paths:
            self._fs.rm(paths)

    def _path(self, device: str, sha256: str) -> str:
        return f"{self._root}/{device}-{sha256}.safetensors"
