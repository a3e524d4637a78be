"""Downloads from the sites that publish the data sets, checked, with a progress bar."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import httpx
from rich.progress import BarColumn, DownloadColumn, TransferSpeedColumn

from mnet.toolchain.console import Bars, Printer
from mnet.toolchain.errors import UserError


@dataclass(frozen=True)
class Source:
    """A file on a site: `algorithm` (as in hashlib) and hex `digest` are what the publisher, or we, know it by."""

    url: str
    algorithm: str
    digest: str


def folder_of(name: str) -> Path:
    """Where the data set `name` is kept: a folder of its own in `$MNET_DATA`, or in `~/.cache/mnet`."""
    return Path(os.environ.get("MNET_DATA") or Path.home() / ".cache" / "mnet") / name


def find(name: str, path: Path | None, file: str, source: Source, where: str) -> Path:
    """`path` or, without one, the file in the data set's folder, downloaded there once.

    Raises UserError, which says to give what is at `where`.
    """
    found = path or folder_of(name) / file
    if path is None and not found.is_file():
        download(name, source, found)
    if not found.is_file():
        raise UserError(f"{name}: {found} is no file; give {where}")
    return found


def download(name: str, source: Source, file: Path) -> None:
    """Fetch `source` into `file`: the whole of it, or nothing.

    Raises UserError when the server cannot be reached, or what it sends is not what `source` names.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.part")
    # An MD5 is good against accidents; some publishers give nothing else to compare with.
    digest = hashlib.new(source.algorithm, usedforsecurity=False)
    try:
        with (
            httpx.stream("GET", source.url, follow_redirects=True) as response,
            Bars(Printer(stderr=True), BarColumn(20), DownloadColumn(), TransferSpeedColumn()) as progress,
        ):
            response.raise_for_status()
            total = int(response.headers.get("content-length", 0)) or None
            bar = progress.add_task(name, total=total)
            with part.open("wb") as out:
                for chunk in response.iter_bytes():
                    out.write(chunk)
                    digest.update(chunk)
                    progress.advance(bar, len(chunk))
    except httpx.HTTPError as error:
        part.unlink(missing_ok=True)
        raise UserError(
            f"{name}: cannot download {source.url} ({error}); download it yourself and say where it is with "
            f"--data {name}=PATH"
        ) from None
    if digest.hexdigest() != source.digest:
        part.unlink()
        raise UserError(
            f"{name}: what {source.url} sends has {source.algorithm} {digest.hexdigest()}, expected "
            f"{source.digest}; try again"
        )
    part.replace(file)
