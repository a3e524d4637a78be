"""The Swift package on this machine. Whatever lacks a tool skips, and names it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from ios.hosttest import swift
from ios.hosttest.judge import Judge
from tests.once import built_or_skipped

VECTORS = Path(__file__).parent.parent / "vectors"
T = TypeVar("T")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whichever test comes first waits for the compiler, which has no haste on a busy machine."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(450))


def or_skip(build: Callable[[], T]) -> T:
    """What `build` gives; skips the test where a tool is absent."""
    return built_or_skipped(swift.BUILD, build)


@pytest.fixture(scope="session")
def judge() -> Iterator[Judge]:
    """The Swift phone."""
    command = or_skip(lambda: swift.program(swift.JUDGE))
    with Judge(command, VECTORS / "exported") as process:
        yield process
