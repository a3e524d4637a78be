"""The app's code on this machine. Whatever lacks a tool skips, and names it."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from android_demo.hosttest import engine, kotlin
from mnet.export.format.bundle import Bundle
from mnet.export.format.manifest import MANIFEST_FILE, seal
from tests.once import built_or_skipped

REPOSITORY = Path(__file__).parent.parent.parent
T = TypeVar("T")
# Compiled tests, and what they run with.
HostTests = tuple[Path, list[Path]]
Manifest = dict[str, Any]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Known where these tests are named on the command line, as `make android` does."""
    parser.addoption("--android", action="store_true", help="also the tests that need the engine compiled")


def or_skip(build: Callable[[], T]) -> T:
    """What `build` gives; skips the test where a tool is absent."""
    return built_or_skipped(kotlin.BUILD, build)


@pytest.fixture(scope="session")
def core_tests() -> HostTests:
    """The compiled tests of the core, and what they run with."""
    core = or_skip(kotlin.compile_core)
    return or_skip(lambda: kotlin.compile_tests("core-test", kotlin.CORE_TESTS, [core])), [core]


@pytest.fixture(scope="session")
def long_compilation(request: pytest.FixtureRequest) -> None:
    """For tests that need more than the core compiled."""
    if not request.config.getoption("--android", default=False):
        pytest.skip("compiles for a minute: make android runs it")


@pytest.fixture(scope="session")
def host_tests(long_compilation: None, core_tests: HostTests) -> HostTests:
    """The compiled tests that need a runtime, and what they run with."""
    classpath = [core_tests[0], *or_skip(engine.classpath)]
    return or_skip(lambda: kotlin.compile_tests("host-test", engine.HOST_TESTS, classpath)), classpath


@pytest.fixture(scope="session")
def library() -> Path:
    """ExecuTorch's Java API on the desktop runtime."""
    return or_skip(engine.build_library)


@pytest.fixture(scope="session")
def bundle(tiny_bundle: Path) -> Bundle:
    """The bundle that the app serves."""
    return Bundle.load(tiny_bundle)


@pytest.fixture(scope="session")
def properties(
    host_tests: HostTests,
    library: Path,
    bundle: Bundle,
    tiny_run: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """What `Machine.kt` hands the host tests: by `inputs`, `bytes` and `unkeyed`, bundles with their golden packs."""
    by_bytes = Bundle.load(REPOSITORY / "tests" / "vectors" / "exported" / "convnet")
    unkeyed = resealed(by_bytes, tmp_path_factory.mktemp("unkeyed"), without_keys)
    kinds = {"inputs": bundle, "bytes": by_bytes, "unkeyed": Bundle.load(unkeyed)}
    packs = tmp_path_factory.mktemp("golden")
    for kind, each in kinds.items():
        (packs / kind).write_bytes(each.golden_pack())
    return {
        "mnet.jni": library,
        "mnet.bundle": bundle.path,
        "mnet.updated": resealed(
            bundle, tmp_path_factory.mktemp("updated"), lambda m: {**m, "created": "later"}
        ),
        **{f"mnet.{kind}": each.path for kind, each in kinds.items()},
        **{f"mnet.{kind}.golden": packs / kind for kind in kinds},
        "mnet.vectors": REPOSITORY / "tests" / "vectors",
        "mnet.python": sys.executable,
        "mnet.repository": REPOSITORY,
        "mnet.run": tiny_run,
        "mnet.items": 300,
    }


def resealed(bundle: Bundle, folder: Path, change: Callable[[Manifest], Manifest]) -> Path:
    """The same files as another bundle, as the next version of an app may bring it."""
    shutil.copytree(bundle.path, folder, dirs_exist_ok=True)
    manifest = json.loads((folder / MANIFEST_FILE).read_bytes())
    del manifest["id"]
    (folder / MANIFEST_FILE).write_bytes(seal(change(manifest)))
    return folder


def without_keys(manifest: Manifest) -> Manifest:
    """As an exporter would leave it that knows nothing of XNNPACK's cache of weights."""
    slots = [{**slot, "binding": {**slot["binding"], "keys": []}} for slot in manifest["slots"]]
    return {**manifest, "slots": slots}
