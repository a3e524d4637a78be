"""Keys that are read from the source are those that the code itself takes."""

import importlib
import inspect
from dataclasses import fields
from pathlib import Path

import pytest

from mnet.toolchain.builtin import data_sets, models, tasks
from mnet.toolchain.source import accepted_keys, class_reference, class_value
from mnet.toolchain.tasks import find_task

TASKS = tasks()

PARTS = [
    (task, path) for task in TASKS for path in {**find_task(task).models, **find_task(task).encoders}.values()
]


def test_built_in_parts_are_found_by_their_files() -> None:
    assert {"table", "cifar10", "movielens-100k"} <= data_sets().keys()
    for path in (
        *data_sets().values(),
        *models("recommendation").values(),
        *models("classification").values(),
    ):
        module, _, name = path.partition(":")
        assert callable(getattr(importlib.import_module(module), name))
    for task, path in TASKS.items():
        assert models(task).items() <= find_task(task).models.items()
        assert class_value(path, "encoders") == find_task(task).encoders


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
