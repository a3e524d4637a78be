"""The page of config keys, written from the models that check a config and from what parts take: `make reference`."""

import dataclasses
import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from mnet.toolchain.builtin import data_sets, tasks
from mnet.toolchain.tasks import find_task
from mnet.toolchain.training.config import Config
from tests.docs.markdown import ROOT

FILE = ROOT / "docs" / "reference" / "config.md"

HEAD = """# Config

Every key of a run's YAML file, with its default and its meaning; written from the code. `mnet configs copy NAME` writes
a file to start from, and `--set section.key=value` changes a key on the command line. Leave out the section of a method
that you do not want. A part (`task`, `data`, `model`, `context`) is `{name: NAME, key: value, ...}`: a built-in name or
one of your own as `package.module:Name`, with the keys that it takes.
"""


def config_page() -> str:
    """The page."""
    lines = [HEAD, *_section("config", Config)]
    lines += [f"Data sets: {', '.join(f'`{name}`' for name in data_sets())}; see [data](../data.md).", ""]
    for name in tasks():
        task: Any = find_task(name)
        lines += [*_section(f"task: {name}", task.Settings)]
        for kind, builtin in (("model", task.models), ("metanetwork.context", task.encoders)):
            for part, place in builtin.items():
                lines += _part(f"{kind}: {part} ({name})", place)
    return "\n".join(lines)


def _section(title: str, model: type[BaseModel]) -> Iterator[str]:
    """The keys of a section, then the sections in it."""
    yield from (f"## {title}", "", _sentence(model), "", "| key | default | meaning |", "|---|---|---|")
    inner = []
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True)
        yield f"| `{name}` | {_default(default)} | {_cell(field.description or '')} |"
        nested = [
            each
            for each in (field.annotation, *get_args(field.annotation))
            if inspect.isclass(each) and issubclass(each, BaseModel) and each.__module__.startswith("mnet")
        ]
        # A part's own keys stand further down; a fit is the same wherever it is.
        inner += [(name, each) for each in nested if each.__name__ != "Part"]
    yield ""
    for name, each in inner:
        if each.__name__ != "FitConfig" or title == "config":
            yield from _section(name if title == "config" else f"{title}.{name}", each)


def _part(title: str, place: str) -> Iterator[str]:
    """The keys that a model or a context encoder takes."""
    module, _, name = place.partition(":")
    made_by: Any = getattr(importlib.import_module(module), name)
    yield from (f"## {title}", "", _sentence(made_by), "", "| key | default | meaning |", "|---|---|---|")
    config = getattr(made_by, "config_class", None)
    meanings = {
        key: " ".join(text.split())
        for thing in (made_by, config)
        for key, text in re.findall(r"^ +(\w+): (.*)$", inspect.getdoc(thing) or "", re.MULTILINE)
    }
    if config:
        keys = {
            field.name: PydanticUndefined if field.default is dataclasses.MISSING else field.default
            for field in dataclasses.fields(config)
        }
    else:
        keys = {
            name: PydanticUndefined if given.default is inspect.Parameter.empty else given.default
            for name, given in inspect.signature(made_by).parameters.items()
        }
    for key, default in keys.items():
        yield f"| `{key}` | {_default(default)} | {_cell(meanings.get(key, ''))} |"
    yield ""


def _sentence(thing: Any) -> str:
    text = re.split(r"\n *(?:Args|Attributes|Raises):", inspect.getdoc(thing) or "")[0]
    return " ".join(text.split())


def _cell(text: str) -> str:
    return " ".join((text[:1].upper() + text[1:]).split()).replace("|", "\\|")


def _default(value: Any) -> str:
    if value is PydanticUndefined:
        return "needed"
    if isinstance(value, BaseModel):
        return f"`{value.model_dump_json()}`" if len(value.model_dump()) < 4 else "see below"
    return "none" if value is None else f"`{value}`"


if __name__ == "__main__":
    FILE.write_text(config_page(), encoding="utf-8")
