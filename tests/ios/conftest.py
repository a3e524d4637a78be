"""The Swift package on this machine. Whatever lacks a tool skips, and names it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from android_demo.hosttest.tools import Absent
from ios.hosttest import swift
from ios.hosttest.judge import Judge
from tests.once import one_at_a_time

VECTORS = Path(__file__).parent.parent / "vectors"
T = TypeVar("T")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whichever test comes first waits for the compiler, which has no haste on a busy machine."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(1800))


def or_skip(build: Callable[[], T]) -> T:
    """What `build` gives; skips the test where a tool is absent."""
    try:
        with one_at_a_time(swift.BUILD):
            return build()
    except Absent as absent:
        pytest.skip(f"absent: {absent}")


@pytest.fixture(scope="session")
def judge() -> Iterator[Judge]:
    """The Swift phone."""
    command = or_skip(lambda: swift.program(swift.JUDGE))
    with Judge(command, VECTORS / "exported") as process:
        yield process
