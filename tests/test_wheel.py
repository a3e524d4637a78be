"""The wheel: it holds everything that the package needs, and works from a folder with names like its own."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = {
    "mnet": "mnet",
    "toolchain": "mnet/toolchain",
    "export": "mnet/export",
    "device_models": "mnet/device_models",
}


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the files of git, so that nothing which lies about is packed, and without the network."""
    source = tmp_path_factory.mktemp("source")
    listed = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True).split("\0")
    wanted = (*FOLDERS, "pyproject.toml", "setup.py", "README.md", "LICENSE")
    for name in listed:
        if name.split("/")[0] in wanted and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("mnet_mobile-*.whl")
    return built


def test_it_holds_every_file_of_the_packages(wheel: Path) -> None:
    listed = subprocess.check_output(["git", "ls-files", "-z", *FOLDERS], cwd=ROOT, text=True).split("\0")
    expected = {
        FOLDERS[folder] + "/" + rest
        for folder, _, rest in (name.partition("/") for name in listed if name)
        if (ROOT / folder / rest).is_file()
    }
    names = set(zipfile.ZipFile(wheel).namelist())
    missing = {name for name in expected - names if not name.endswith(".md") or "starter" in name}
    assert not missing
    for kind in ("py.typed", ".yaml", ".json", ".html.j2", "migrations/versions/"):
        assert any(kind in name for name in names), kind
    assert not [name for name in names if not name.startswith(("mnet/", "mnet_mobile-"))]


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment with the wheel; its dependencies are those of this one, by a path file."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    packages = next((folder / "lib").glob("python*")) / "site-packages"
    zipfile.ZipFile(wheel).extractall(packages)
    # Not as `.pth` lines that run code: the editable install of this checkout must stay out.
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return folder / "bin"


@pytest.mark.timeout(900)
def test_it_runs_in_a_folder_with_names_like_its_own(installed: Path, tmp_path: Path) -> None:
    for name in ("export.py", "toolchain.py", "device_models.py", "tests.py"):
        (tmp_path / name).write_text("raise ImportError('a file of the user, which nobody asked for')\n")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}

    def python(*arguments: str) -> str:
        command = [str(installed / "python"), *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    where = python("-c", "import mnet, mnet.toolchain; print(mnet.__file__, mnet.toolchain.__file__)").split()
    assert all(str(installed.parent) in place for place in where)
    mnet = ("-m", "mnet.toolchain.cli")
    short = ("--set", "static.epochs=1", "--set", "metanetwork.fit.epochs=1")
    assert python(*mnet, "--version").startswith("mnet ")
    python(*mnet, "init", "shop")
    python(*mnet, "train", "synthetic-drift/sasrec", *short, "--out", "runs/drift")
    python(*mnet, "export", "runs/drift", "--target", "android", "-o", "bundles/drift")
    assert "True" in python(*mnet, "verify", "bundles/drift")
