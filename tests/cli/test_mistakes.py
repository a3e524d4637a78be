"""A user's mistake is one clear line and exit code 2, never a traceback."""

import json
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest


def mnet(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command as a person would, in a process of its own."""
    command = [sys.executable, "-m", "mnet.toolchain.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def assert_mistake(done: subprocess.CompletedProcess[str], *named: str) -> None:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    for name in named:
        assert name in errors[0]


MISTAKES = [
    (["train", "movielens-100k/sasrecc"], ["(did you mean movielens-100k/sasrec?)"]),
    (["train", "synthetic-drift/sasrec", "--set", "static.epoch=3"], ["static.epoch", "epochs?"]),
    (["train", "synthetic-drift/sasrec", "--set", "model.widht=3"], ["model.widht", "width?"]),
    (["train", "synthetic-drift/sasrec", "--set", "task.rankin=all"], ["task.rankin", "ranking?"]),
    (["train", "synthetic-drift/sasrec", "--set", "metanetwork.context.lenght=3"], ["lenght", "length?"]),
    (["train", "synthetic-drift/sasrec", "--set", "model.name=sasrek"], ["sasrek", "sasrec?"]),
    (["train", "movielens-100k/sasrec", "--data", "movielens-100k=none"], ["none", "no such file"]),
    (["demo", "--data", "movielens-100k=none"], ["none", "no such file"]),
    (["ablate", "synthetic-drift/sasrek"], ["synthetic-drift/sasrec"]),
    (["evaluate", "none"], ["none is not a run"]),
    (["export", "none", "--target", "android", "-o", "out"], ["none is not a run"]),
    (["matrix", "none", "-o", "out"], ["none is not a run"]),
    (["growth", "--target", "symbian", "-o", "out"], ["symbian", "android"]),
    (["verify", "none"], ["no bundle at none"]),
    (["bench", "none"], ["no bundle at none"]),
    (["simulate", "none", "-b", "none"], ["none is not a run"]),
    (["device", "--server", "http://127.0.0.1:9", "-b", "none", "--state", "out"], ["no bundle at none"]),
]


@pytest.mark.parametrize(("arguments", "named"), MISTAKES, ids=lambda value: " ".join(value)[:60])
def test_a_mistake_is_reported_before_pytorch_is_imported(
    arguments: list[str], named: list[str], tmp_path: Path
) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "mnet.toolchain.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert_mistake(done, *named)
    imported = set(re.findall(r"^import time: .*\| +(\S+)$", done.stderr, re.MULTILINE))
    assert "mnet.toolchain.cli.app" in imported
    assert not imported & {"torch", "numpy", "pandas", "lightning"}
    assert not list(tmp_path.iterdir())


def test_broken_line_in_the_data(tmp_path: Path) -> None:
    (tmp_path / "u.data").write_text("1\t2\t3\t4\n1\t2\t3\tnever\n")
    data = f"movielens-100k={tmp_path / 'u.data'}"
    assert_mistake(mnet("demo", "--data", data, "--out", tmp_path / "out"), "line 2")


@pytest.mark.parametrize("verb", ["evaluate", "export"])
def test_no_run_there(verb: str, tmp_path: Path) -> None:
    extra = ["--target", "android", "-o", tmp_path / "bundle"] if verb == "export" else []
    assert_mistake(mnet(verb, tmp_path, *extra), str(tmp_path))


def test_unknown_target(tiny_run: Path, tmp_path: Path) -> None:
    done = mnet("export", tiny_run, "--target", "symbian", "-o", tmp_path / "bundle")
    assert_mistake(done, "symbian", "android")


@pytest.mark.parametrize("verb", ["verify", "bench"])
def test_no_bundle_there(verb: str, tmp_path: Path) -> None:
    assert_mistake(mnet(verb, tmp_path / "none"), str(tmp_path / "none"))


@pytest.mark.parametrize("verb", ["verify", "bench"])
def test_bundle_of_another_schema(verb: str, tiny_bundle: Path, tmp_path: Path) -> None:
    from mnet.export.format.manifest import seal

    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, bundle)
    manifest = json.loads((bundle / "manifest.json").read_text())
    del manifest["id"]
    (bundle / "manifest.json").write_bytes(seal({**manifest, "schema": "mnet.bundle/3.0"}))
    assert_mistake(mnet(verb, bundle), "mnet.bundle/3.0")


def test_port_in_use(tiny_run: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = mnet("serve", tiny_run, "--bundle", tiny_bundle, "--state", tmp_path, "--port", port)
    assert_mistake(done, str(port))


def test_phone_without_a_key(tiny_bundle: Path, tmp_path: Path) -> None:
    done = mnet("device", "--server", "http://127.0.0.1:9", "--bundle", tiny_bundle, "--state", tmp_path)
    assert_mistake(done, "--enrolment-key")


def test_help_names_every_verb() -> None:
    done = mnet("--help")
    assert done.returncode == 0
    for verb in (
        "train",
        "evaluate",
        "export",
        "verify",
        "bench",
        "inspect",
        "matrix",
        "targets",
        "serve",
        "device",
        "push",
        "simulate",
        "demo",
    ):
        assert verb in done.stdout
