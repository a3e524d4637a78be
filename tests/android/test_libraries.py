"""The libraries beside the core: what they offer, and that coroutines wait, end and hear as they should."""

import sys
from pathlib import Path

import pytest

import mnet
from android_demo.hosttest import api, kotlin
from android_demo.hosttest.kotlin import run_tests
from mnet.export.exporter import export_bundle
from tests.android.conftest import REPOSITORY, HostTests, or_skip
from tests.export.ranker import Ranker, ranker_spec


def test_the_api_of_the_core_is_the_one_that_was_reviewed(core_tests: HostTests) -> None:
    check_api("core")


@pytest.mark.parametrize("name", ["engine", "litert", "coroutines", "work"])
def test_the_api_of_a_library_is_the_one_that_was_reviewed(long_compilation: None, name: str) -> None:
    check_api(name)


def check_api(name: str) -> None:
    """What changed on purpose is written by `python -m android_demo.hosttest.api`."""
    dump = or_skip(lambda: api.dump_of(api.LIBRARIES[name]()))
    assert dump == (kotlin.DEMO / name / "api.txt").read_text(encoding="utf-8")


def test_a_phone_suspends_and_tells_by_a_flow(long_compilation: None, core_tests: HostTests) -> None:
    _, (core,) = core_tests
    classpath = [or_skip(kotlin.compile_coroutines), core, or_skip(kotlin.coroutines_jar)]
    tests = or_skip(lambda: kotlin.compile_tests("coroutines-test", kotlin.COROUTINES_TESTS, classpath))
    assert run_tests(tests, classpath, {"mnet.vectors": REPOSITORY / "tests" / "vectors"}) == 3


def test_a_tflite_bundle_is_swapped_on_litert(
    long_compilation: None, core_tests: HostTests, tmp_path: Path
) -> None:
    pytest.importorskip("litert_torch", reason="absent: litert-torch (pip install 'mnet-mobile[tflite]')")
    bundle = export_bundle(ranker_spec(Ranker(width=4).eval()), "tflite", tmp_path / "bundle")
    (tmp_path / "golden.pack").write_bytes(bundle.golden_pack())
    _, (core,) = core_tests
    classpath = [or_skip(kotlin.compile_litert), or_skip(kotlin.compile_litert_api), core]
    tests = or_skip(lambda: kotlin.compile_tests("litert-test", kotlin.LITERT_TESTS, classpath))
    properties = {
        "mnet.bundle": bundle.path,
        "mnet.pack": tmp_path / "golden.pack",
        "mnet.other": REPOSITORY / "tests" / "vectors" / "exported" / "ranker",
        "mnet.python": sys.executable,
    }
    assert run_tests(tests, classpath, properties) == 3


def test_the_version_of_the_libraries_is_that_of_the_package() -> None:
    lines = (kotlin.DEMO / "gradle.properties").read_text(encoding="utf-8").splitlines()
    assert f"version={mnet.__version__}" in lines
