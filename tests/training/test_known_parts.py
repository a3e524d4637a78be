"""Keys that are read from the source are those that the code itself takes."""

import importlib
import inspect
from dataclasses import fields
from pathlib import Path

import pytest

from mnet.toolchain.data import DATASETS
from mnet.toolchain.source import accepted_keys, class_reference, class_value, module_value
from mnet.toolchain.tasks import TASKS, find_task

PARTS = [
    (task, path) for task in TASKS for path in {**find_task(task).models, **find_task(task).encoders}.values()
]


def test_the_registries_are_read_from_the_source() -> None:
    assert module_value("mnet.toolchain.tasks", "TASKS") == TASKS
    assert module_value("mnet.toolchain.data", "DATASETS") == DATASETS
    for task, path in TASKS.items():
        for kind in ("models", "encoders"):
            assert class_value(path, kind) == getattr(find_task(task), kind)


@pytest.mark.parametrize("task", TASKS)
def test_a_task_takes_what_its_settings_do(task: str) -> None:
    settings = class_reference(TASKS[task], "Settings")
    assert settings
    known = accepted_keys(settings)
    assert known == list(find_task(task).Settings.model_fields)


@pytest.mark.parametrize(("task", "path"), PARTS)
def test_a_part_takes_what_the_source_says(task: str, path: str) -> None:
    module, _, name = path.partition(":")
    made_by = getattr(importlib.import_module(module), name)
    config = getattr(made_by, "config_class", None)
    expected = (
        [field.name for field in fields(config)] if config else list(inspect.signature(made_by).parameters)
    )
    assert accepted_keys(path) == expected


OWN = """
from dataclasses import dataclass
from elsewhere import Imported

class Plain:
    def __init__(self, width, *, depth=1): ...

class Inherits(Plain): ...

class Anything:
    def __init__(self, **settings): ...

@dataclass
class Base:
    one: int

@dataclass
class Derived(Base):
    two: int = 2

def build(width): ...
"""


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("Plain", ["width", "depth"]),
        ("Inherits", ["width", "depth"]),
        ("Anything", None),
        ("Derived", ["one", "two"]),
        ("build", ["width"]),
        ("Imported", None),
        ("Missing", None),
    ],
)
def test_a_module_of_the_user(
    name: str, keys: list[str] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_parts.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    assert accepted_keys(f"own_parts:{name}") == keys
