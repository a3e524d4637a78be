"""The app's code on this machine. Whatever lacks a tool skips, and names it."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from android_demo.hosttest import engine, kotlin
from android_demo.hosttest.tools import Absent

REPOSITORY = Path(__file__).parent.parent.parent
T = TypeVar("T")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Known where these tests are named on the command line, as `make android` does."""
    parser.addoption("--android", action="store_true", help="also the tests that need the engine compiled")


def or_skip(build: Callable[[], T]) -> T:
    """What `build` gives; skips the test where a tool is absent."""
    try:
        return build()
    except Absent as absent:
        pytest.skip(f"absent: {absent}")


@pytest.fixture(scope="session")
def core_tests() -> tuple[Path, list[Path]]:
    """The compiled tests of the core, and what they run with."""
    core = or_skip(kotlin.compile_core)
    return or_skip(lambda: kotlin.compile_tests("core-test", kotlin.CORE_TESTS, [core])), [core]


@pytest.fixture(scope="session")
def host_tests(request: pytest.FixtureRequest) -> tuple[Path, list[Path]]:
    """The compiled tests that need a runtime, and what they run with."""
    if not request.config.getoption("--android", default=False):
        pytest.skip("compiles for a minute: make android runs it")
    core_tests: tuple[Path, list[Path]] = request.getfixturevalue("core_tests")
    classpath = [core_tests[0], *or_skip(engine.classpath)]
    return or_skip(lambda: kotlin.compile_tests("host-test", engine.HOST_TESTS, classpath)), classpath


@pytest.fixture(scope="session")
def library() -> Path:
    """ExecuTorch's Java API on the desktop runtime."""
    return or_skip(engine.build_library)
