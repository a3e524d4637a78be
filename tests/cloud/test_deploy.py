"""The compose file as it is read, for nobody runs Docker here: HTTPS alone, a secret a service, no loose image; and the
packages of the image, by their hashes."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.docs.markdown import ROOT

IMAGE = re.compile(r"[\w./-]+:[\w.-]*\d+\.?\d[\w.-]*(@sha256:[0-9a-f]{64})?")

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_no_secret_is_in_the_environment_and_no_image_is_loose(name: str) -> None:
    service = SERVICES[name]
    for variable, value in service.get("environment", {}).items():
        assert not re.search("PASSWORD$|SECRET|KEY$", variable), variable
        assert "@" not in str(value), variable
    assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"])
    assert "build" in service or IMAGE.fullmatch(service["image"])


def test_phones_are_served_over_https_alone_and_each_secret_is_a_file_of_its_own() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == ["443:443"]
    nginx = COMPOSE["configs"]["nginx"]["content"]
    assert re.findall(r"listen (.*);", nginx) == ["443 ssl"]
    files = [secret["file"] for secret in COMPOSE["secrets"].values()]
    assert len(set(files)) == len(files) >= 4


# name -> version and SHA-256s of deploy/requirements.txt
PINNED = {
    canonicalize_name(name): (version, re.findall(r"--hash=sha256:([0-9a-f]{64})\b", hashes))
    for name, version, hashes in re.findall(
        r"^([\w.-]+)==(\S+)((?: \\\n    --hash=\S+)*)$",
        (ROOT / "deploy" / "requirements.txt").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
}
# What the Dockerfile's Python is, for the markers of requirements.
MACHINE = {
    "python_version": "3.11",
    "python_full_version": "3.11.14",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "os_name": "posix",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
}


def test_the_image_installs_the_versions_of_the_constraints_and_nothing_without_a_hash() -> None:
    text = (ROOT / "deploy" / "requirements.txt").read_text(encoding="utf-8")
    assert len(PINNED) == len(re.findall(r"^\S", text, re.MULTILINE)) > 50, (
        "a line that is no pin with hashes"
    )
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()[1:]
    tested = {
        canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)
    }
    for name, (version, hashes) in PINNED.items():
        assert hashes, name
        assert version.partition("+")[0] == tested[name], name  # "+cpu": a build of the same version
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    installs = [line for line in dockerfile.splitlines() if "pip install" in line]
    assert all("--require-hashes" in line or "--no-index --no-deps" in line for line in installs)
    assert IMAGE.fullmatch(re.findall(r"^FROM (\S+)$", dockerfile, re.MULTILINE)[0])


def test_the_image_installs_all_that_it_needs_and_no_more() -> None:
    """The closure of the requirements that this environment's packages state, for the image's Python."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = re.findall(r"--extra (\w+)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert {"postgres", "s3", "hsm"} == set(extras)
    own = [
        *project["dependencies"],
        *(line for name in extras for line in project["optional-dependencies"][name]),
    ]
    waiting, needed = [(line, "") for line in own], set[tuple[str, str]]()
    while waiting:
        line, extra = waiting.pop()
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate({**MACHINE, "extra": extra}):
            continue
        for asked in {(canonicalize_name(wanted.name), each) for each in ("", *wanted.extras)} - needed:
            needed.add(asked)
            waiting += [(each, asked[1]) for each in requires(asked[0]) or ()]
    assert {name for name, _ in needed} == set(PINNED)


def test_the_bill_of_materials_lists_what_the_image_installs(tmp_path: Path) -> None:
    """By the line of `make sbom`, which the workflow of a release runs."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (line,) = re.findall(r"^\t\$\(BIN\)/(cyclonedx-py .*)$", makefile, re.MULTILINE)
    assert "make sbom" in (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    out = tmp_path / "sbom.json"
    command, *arguments = shlex.split(line)
    done = subprocess.run(
        [Path(sys.executable).parent / command, *arguments[:-1], out],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    sbom = json.loads(out.read_bytes())
    assert (sbom["bomFormat"], sbom["metadata"]["component"]["name"]) == ("CycloneDX", "mnet-mobile")
    listed = {
        each["name"]: (
            each["version"],
            [found["content"] for place in each["externalReferences"] for found in place.get("hashes", ())],
        )
        for each in sbom["components"]
    }
    assert {name: (version, set(hashes)) for name, (version, hashes) in listed.items()} == {
        name: (version, set(hashes)) for name, (version, hashes) in PINNED.items()
    }
    assert all(each["purl"].startswith(f"pkg:pypi/{each['name']}@") for each in sbom["components"])


def test_digests_are_written_next_to_each_tag_and_a_second_time_replaced(tmp_path: Path) -> None:
    """With a stand-in for `docker`, which alone could ask a registry."""
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    stand_in = tmp_path / "docker"
    images = {service["image"] for service in SERVICES.values() if "image" in service}
    for digit in "ab":
        stand_in.write_text(f"#!/bin/sh\ntest $# = 6 && printf 'sha256:%064d\\n' 0 | tr 0 {digit}\n")
        stand_in.chmod(0o755)
        path = f"{tmp_path}:{os.environ['PATH']}"
        command = [sys.executable, tmp_path / "deploy" / "digests.py"]
        subprocess.run(command, env={**os.environ, "PATH": path}, check=True, timeout=60)
        pinned = yaml.safe_load((tmp_path / "deploy" / "compose.yaml").read_text())["services"].values()
        digest = f"@sha256:{digit * 64}"
        assert {each["image"] for each in pinned if "image" in each} == {
            image.partition("@")[0] + digest for image in images
        }
        assert f"-slim-bookworm{digest}\n" in (tmp_path / "deploy" / "Dockerfile").read_text()
    stand_in.write_text("#!/bin/sh\necho no such host >&2; exit 1\n")
    failed = subprocess.run(
        command, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=60
    )
    assert (failed.returncode, "no such host" in failed.stderr) == (1, True)


def test_the_image_is_built_of_all_that_the_package_is_made_of() -> None:
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    copied = {
        name for line in re.findall("^COPY (.*) .*$", dockerfile, re.MULTILINE) for name in line.split()
    }
    folders = re.findall(r'^    "mnet[\w.]*": "(\w+)",$', (ROOT / "setup.py").read_text(), re.MULTILINE)
    assert len(folders) >= 4
    assert {*folders, "setup.py", "pyproject.toml", "deploy/requirements.txt"} <= copied
    assert all((ROOT / name).exists() for name in copied)
