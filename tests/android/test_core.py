"""The core's own JUnit tests, on the JVM, compiled against Android's API."""

from pathlib import Path

from android_demo.hosttest.kotlin import run_tests
from tests.android.conftest import REPOSITORY


def test_the_core_passes_its_tests(core_tests: tuple[Path, list[Path]]) -> None:
    tests, classpath = core_tests
    assert run_tests(tests, classpath, {"mnet.vectors": REPOSITORY / "tests" / "vectors"}) > 100
