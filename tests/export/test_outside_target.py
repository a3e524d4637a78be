"""A runtime is one file, wherever it is: a target of another package, found through its entry point."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mnet.export.exporter import export_bundle
from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import BundleError
from mnet.export.session import open_session
from mnet.export.targets import GROUP, find_target, target_names
from mnet.export.verify import verify_bundle
from tests.export.ranker import PackFactory, Ranker, random_weights, ranker_spec


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package as pip leaves it: the module, and a dist-info that names its entry point."""
    site = tmp_path_factory.mktemp("site")
    shutil.copy(Path(__file__).parent / "outside" / "mnet_toy.py", site)
    info = site / "mnet_toy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mnet-toy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\ntoy = mnet_toy\nbroken = mnet_toy_broken\n")
    return site


@pytest.fixture
def here(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(installed))


@pytest.fixture(scope="module")
def made(model: Ranker, installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(installed))
        return export_bundle(ranker_spec(model), "toy", tmp_path_factory.mktemp("toy") / "b")


@pytest.mark.usefixtures("here")
def test_it_is_exported_verified_and_swapped(made: Bundle, model: Ranker) -> None:
    assert "toy" in target_names()
    assert {slot.binding.kind for slot in made.manifest.slots} == {"entry"}
    found = verify_bundle(made)
    assert found.packs == 25
    assert found.max_error < 1e-5
    session, packs = open_session(made), PackFactory(made, model)
    for version in range(1, 4):
        session.swap(packs.pack(random_weights(made, seed=version), version))
    assert session.version == 3


@pytest.mark.usefixtures("here")
def test_one_that_cannot_be_imported_says_which_package_is_to_blame() -> None:
    with pytest.raises(BundleError, match="target broken cannot be imported from mnet_toy_broken"):
        find_target("broken")


def test_without_its_package_the_bundle_is_refused_by_name(made: Bundle) -> None:
    with pytest.raises(BundleError, match="unknown target 'toy'; known targets: android, executorch, ios"):
        open_session(made)


def test_every_command_takes_it_with_no_line_of_ours_changed(made: Bundle, installed: Path) -> None:
    path = os.pathsep.join([str(installed), *sys.path])

    def mnet(*arguments: object) -> str:
        command = [sys.executable, "-m", "mnet.toolchain.cli", *map(str, arguments)]
        environment = os.environ | {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)
        assert done.returncode == 0, done.stderr
        return done.stdout

    rows = {row["target"]: row for row in json.loads(mnet("targets", "--json"))}
    assert rows["toy"] | {"base": ["fp32"], "install": "mnet-toy", "here": "runs"} == rows["toy"]
    assert json.loads(mnet("verify", made.path, "--json"))["packs"] == 25
    (report,) = json.loads(mnet("bench", made.path, "--swaps", 4, "--json"))
    assert (report["target"], report["swap"]["count"]) == ("toy", 4)
    nodes = json.loads(mnet("inspect", made.path, "--json"))["nodes"]
    assert {"method": "main", "engine": "NumPy", "op": "aten.linear.default", "count": 2} in nodes
