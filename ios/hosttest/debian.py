"""Swift for this machine: Debian 13 in a folder of the cache, which nothing else on the machine sees.

Debian 12 has no Swift. `python -m ios.hosttest.debian` fetches it, as root, in about ten minutes and 3.5 GB; the
rest only looks, and says by name what is absent. An interrupted fetch is taken up by the next one.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from android_demo.hosttest.tools import Absent, Failed, run

CACHE = Path(os.environ.get("MNET_SWIFT") or Path.home() / ".cache" / "mnet-swift")
ROOT = CACHE / "root"
SUITE = "trixie"
PACKAGES = ("swiftlang", "g++", "libssl-dev", "libcurl4-openssl-dev")
# Where the repository lies for what runs in the folder.
REPOSITORY = Path("/mnet")
_OURS = Path(__file__).resolve().parent.parent.parent
_FOUND, _INSTALLED = CACHE / "base.complete", CACHE / "swift.complete"
_ENVIRONMENT = {
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PATH": "/usr/libexec/swift/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LD_LIBRARY_PATH": "/usr/libexec/swift/lib/swift/linux",
    "DEBIAN_FRONTEND": "noninteractive",
}
# A view of the file system that is this process's own, so that nothing stays mounted whatever happens to it.
_MOUNT = 'mount -t proc proc "$1/proc" && mount --bind "$2" "$1$3" && shift 3 && exec "$@"'


def inside(*command: object) -> list[str]:
    """The command that runs another one in the folder, as root; the repository lies at `REPOSITORY`.

    Raises Absent where Swift was not fetched, or this process may not do so.
    """
    if not _INSTALLED.is_file():
        raise Absent(f"Swift in {CACHE} (make ios fetches it)")
    _may_mount()
    return _chrooted(*command)


def fetch(say: Callable[[str], None]) -> None:
    """Fetch Swift unless it is there; what cannot be had is said."""
    try:
        _may_mount()
        CACHE.mkdir(parents=True, exist_ok=True)
        if not _FOUND.is_file():
            say(f"fetching Debian {SUITE} into {ROOT}")
            shutil.rmtree(ROOT, ignore_errors=True)
            # Which mounts /proc there: what is interrupted must leave nothing mounted.
            run(["unshare", "--mount", "debootstrap", "--variant=minbase", SUITE, ROOT])
            _FOUND.touch()
        if not _INSTALLED.is_file():
            say(f"installing {', '.join(PACKAGES)} there: about ten minutes")
            shutil.copy("/etc/resolv.conf", ROOT / "etc/resolv.conf")
            run(_chrooted("dpkg", "--configure", "--pending"))
            run(_chrooted("apt-get", "update"))
            options = ["--yes", "--no-install-recommends", "--fix-broken"]
            run(_chrooted("apt-get", "install", *options, *PACKAGES))
            run(_chrooted("apt-get", "clean"))
            _INSTALLED.write_text(" ".join(PACKAGES) + "\n")
    except (Absent, Failed, OSError) as error:
        say(f"  not fetched: {' '.join(str(error).split())[-300:]}")


def _may_mount() -> None:
    """Raises Absent unless this process may have a view of the file system of its own."""
    if os.geteuid() != 0:
        raise Absent("root, for Swift in a folder of its own")
    try:
        run(["unshare", "--mount", "true"])
    except Failed as failed:
        raise Absent(f"leave to mount: {failed}") from None


def _chrooted(*command: object) -> list[str]:
    (ROOT / REPOSITORY.relative_to("/")).mkdir(exist_ok=True)
    environment = [f"{name}={value}" for name, value in _ENVIRONMENT.items()]
    words = [ROOT, _OURS, REPOSITORY, "chroot", ROOT, "env", "-i", *environment, *command]
    return ["unshare", "--mount", "sh", "-c", _MOUNT, "sh", *map(str, words)]


if __name__ == "__main__":
    fetch(print)
