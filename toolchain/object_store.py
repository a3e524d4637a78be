"""Files in a folder, or objects in any store that fsspec reaches by URL, e.g. `s3://`; each whole or not there."""

import itertools
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from mnet.toolchain.durable import unfinished, write_named_durably
from mnet.toolchain.errors import UserError

_AT_ONCE = 500


class StoreAway(OSError):
    """The store cannot be reached, or fails; it may be back soon."""


class ObjectStore:
    """What is at one URL: names without `/` and their bytes. Each call raises StoreAway where the store fails."""

    def __init__(self, url: str) -> None:
        """Open `url`, e.g. `/var/lib/mnet`, `file:///var/lib/mnet` or `s3://bucket/mnet`; UserError if it fails."""
        try:
            self._fs, self._root = fsspec.core.url_to_fs(url, use_listings_cache=False)
            self._local = isinstance(self._fs, LocalFileSystem)
            if self._local:
                Path(self._root).mkdir(mode=0o700, parents=True, exist_ok=True)
            else:
                self._fs.info(self._root.partition("/")[0])  # the bucket
        except ImportError as error:
            raise UserError(f"{url}: {error}; pip install 'mnet-mobile[s3]'") from error
        except Exception as error:  # each store has its own
            shown = re.sub("//[^/]*@", "//", url)  # without a password
            raise UserError(f"cannot keep files at {shown}: {type(error).__name__}: {error}") from error

    def write(self, files: Mapping[str, bytes]) -> None:
        """Write files; they survive a power loss once this returns, and each is replaced in one step."""
        placed = {self._path(name): data for name, data in files.items()}
        with _reached():
            if self._local:  # fsspec neither renames into place nor fsyncs
                write_named_durably(placed)
            elif placed:
                self._fs.pipe(placed)

    def read(self, name: str) -> bytes:
        """A whole file; FileNotFoundError if there is none."""
        with _reached():
            data: bytes = self._fs.cat_file(self._path(name))
            return data

    def names(self, prefix: str = "") -> list[str]:
        """The names that begin with `prefix`."""
        with _reached():
            if self._local:
                return [path.name for path in Path(self._root).glob(f"{prefix or '[!.]'}*")]
            return [path.rpartition("/")[2] for path in self._fs.find(self._root, prefix=prefix)]

    def remove(self, names: Collection[str]) -> None:
        """Delete files; one that is gone already is no error."""
        with _reached():
            if self._local:
                for name in names:
                    Path(self._path(name)).unlink(missing_ok=True)
            elif names:
                self._fs.rm([self._path(name) for name in names])

    def remove_all(self, prefix: str) -> None:
        """Delete the files whose names begin with `prefix`, and what killed writes of such left behind."""
        self.remove(self.names(prefix))
        if self._local:
            with _reached():
                for path in unfinished(Path(self._root), prefix):
                    path.unlink(missing_ok=True)

    def tidy(self, before: float) -> None:
        """Delete what writes left behind that were killed before that moment (Unix seconds)."""
        if self._local:
            with _reached():
                for path in unfinished(Path(self._root)):
                    with suppress(FileNotFoundError):
                        if path.stat().st_mtime < before:
                            path.unlink()

    def written(self, prefixes: str) -> Iterator[list[tuple[str, float]]]:
        """Every name with the time of its last write (Unix seconds), in parts: a whole bucket's is too much at once.

        `prefixes` are the characters that names begin with.
        """
        found = self._written_here() if self._local else self._written_there(prefixes)
        while True:
            with _reached():
                some = list(itertools.islice(found, _AT_ONCE))
            if not some:
                return
            yield some

    def _written_here(self) -> Iterator[tuple[str, float]]:
        with os.scandir(self._root) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # deleted since it was listed
                    if entry.is_file():
                        yield entry.name, entry.stat().st_mtime

    def _written_there(self, prefixes: str) -> Iterator[tuple[str, float]]:
        for prefix in prefixes:
            for path, entry in self._fs.find(self._root, prefix=prefix, detail=True).items():
                yield path.rpartition("/")[2], entry["LastModified"].timestamp()

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


@contextmanager
def _reached() -> Iterator[None]:
    """Each store's client has errors of its own, and not all of them are OSErrors."""
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:
        raise StoreAway(f"{type(error).__name__}: {error}") from error
