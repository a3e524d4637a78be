"""The mark `slow`, from what a test uses: `make check` leaves these out.

A test is slow if it, one of its fixtures, or a function of the tests that either calls, refers to something below that
trains, exports, starts a server or a database, or runs a whole toolchain.
"""

import types
from collections.abc import Iterator
from typing import Any

import pytest

# By whatever name the module has them, as `mnet.export_module` or `coreml.write_baked`.
USES = frozenset(
    {
        # training and all that starts with it
        "ablate",
        "tune",
        # exports and real runtimes
        "export_run",
        "export_bundle",
        "export_module",
        "measure_cell",
        "measure_point",
        "bench_bundle",
        "write_program",
        "write_baked",
        # processes: servers, phones, databases
        "ServerProcess",
        "PhoneProcess",
        "SimulateProcess",
        "PostgresServer",
        "compile_core",
        "compiled",
        "run_tests",
        "Judge",
        # code of the pages, which does all of it
        "exec",
    }
)
# Names that others have too: these count where the function imports them, the module has them, or `subprocess`.
ALSO = frozenset(
    {
        "train",
        "tell",
        "Popen",
        "run",
        "check_output",
        "check_call",
        "isolated",
    }
)
# What a test has the fixture `mnet` do.
VERBS = frozenset(
    {"ablate", "check", "demo", "export", "faults", "growth", "matrix", "room", "simulate", "train"}
)
QUICK_PROCESSES = frozenset({"test_a_mistake_is_reported_before_pytorch_is_imported"})


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: trains, exports or starts processes; set by tests/slow.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    known: dict[types.CodeType, bool] = {}
    for item in items:
        if isinstance(item, pytest.Function) and any(_is_slow(each, known) for each in _functions(item)):
            item.add_marker("slow")


def _functions(item: pytest.Function) -> Iterator[Any]:
    """The test and its fixtures."""
    if item.originalname not in QUICK_PROCESSES:
        yield item.function
    for definitions in item._fixtureinfo.name2fixturedefs.values():
        yield from (definition.func for definition in definitions)


def _is_slow(function: Any, known: dict[types.CodeType, bool]) -> bool:
    code = getattr(function, "__code__", None)
    if code is None:
        return False
    if code not in known:
        known[code] = False  # ends a circle
        known[code] = any(_uses(each, function.__globals__, known) for each in _codes(code))
    return known[code]


def _uses(code: types.CodeType, names: dict[str, Any], known: dict[types.CodeType, bool]) -> bool:
    if "mnet" in code.co_varnames[: code.co_argcount] and any(verb in code.co_consts for verb in VERBS):
        return True
    for name in code.co_names:
        thing = names.get(name)
        local = name in code.co_varnames + code.co_cellvars
        if name in USES or (name in ALSO and (thing is not None or local or "subprocess" in code.co_names)):
            return True
        if getattr(thing, "__module__", "").startswith("tests"):
            parts = vars(thing).values() if isinstance(thing, type) else (thing,)
            if any(_is_slow(part, known) for part in parts):
                return True
    return False


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """The code and that of the functions within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)
