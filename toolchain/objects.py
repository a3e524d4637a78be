"""Files in a folder, or objects in any store that fsspec reaches by URL, as `s3://`; each whole or not there."""

import itertools
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from toolchain.durable import write_all_durably
from toolchain.errors import UserError

_AT_ONCE = 500


class ObjectStore:
    """What is at one URL: names without `/` and their bytes."""

    def __init__(self, url: str) -> None:
        """Open `url`, as `/var/lib/mnet`, `file:///var/lib/mnet` or `s3://bucket/mnet`; UserError where that fails."""
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
            raise UserError(f"cannot keep files at {url}: {type(error).__name__}: {error}") from error

    def write(self, files: Mapping[str, bytes]) -> None:
        """Write files; they survive a power loss once this returns, and each is replaced in one step."""
        placed = {self._path(name): data for name, data in files.items()}
        if self._local:  # fsspec neither renames into place nor fsyncs
            write_all_durably({Path(path): data for path, data in placed.items()})
        elif placed:
            self._fs.pipe(placed)

    def read(self, name: str) -> bytes:
        """A whole file; FileNotFoundError if there is none."""
        data: bytes = self._fs.cat_file(self._path(name))
        return data

    def names(self, prefix: str = "") -> list[str]:
        """The names that begin with `prefix`."""
        if self._local:
            return [path.name for path in Path(self._root).glob(f"{prefix or '[!.]'}*")]
        return [path.rpartition("/")[2] for path in self._fs.find(self._root, prefix=prefix)]

    def remove(self, names: Collection[str]) -> None:
        """Delete files; one that is gone already is no error."""
        if self._local:
            for name in names:
                Path(self._path(name)).unlink(missing_ok=True)
        elif names:
            self._fs.rm([self._path(name) for name in names])

    def written(self, prefixes: str) -> Iterator[list[tuple[str, float]]]:
        """Every name with the time of its last write (Unix seconds), in parts: a whole bucket's is too much at once.

        `prefixes` are the characters that names begin with.
        """
        if self._local:
            with os.scandir(self._root) as entries:
                while some := list(itertools.islice(entries, _AT_ONCE)):
                    yield [(entry.name, entry.stat().st_mtime) for entry in some if entry.is_file()]
            return
        for prefix in prefixes:
            found = self._fs.find(self._root, prefix=prefix, detail=True)
            yield [
                (path.rpartition("/")[2], entry["LastModified"].timestamp()) for path, entry in found.items()
            ]

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"
