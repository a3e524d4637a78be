"""The reference, written from the help of the commands and from docstrings: `python -m tests.docs.reference`."""

import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

import typer.main
from typer.cli import get_docs_for_click

import mnet
from mnet.toolchain.cli.app import app
from tests.docs.config_keys import config_page
from tests.docs.markdown import ROOT

FOLDER = ROOT / "docs" / "reference"

# What code of one's own may build on: section -> names. The first section is all of `mnet.__all__`.
PUBLIC = {
    "mnet": [f"mnet:{name}" for name in mnet.__all__],
    "Data": [
        "mnet.toolchain.data:Interactions",
        "mnet.toolchain.data:DataSet",
        "mnet.toolchain.data.images:LabelledImages",
    ],
    "Tasks and models": [
        "mnet.toolchain.tasks:Task",
        "mnet.toolchain.tasks.splits:Splits",
        "mnet.device_models.next_item:NextItemModel",
    ],
    "MetaNetwork": [
        "mnet.toolchain.metanetwork:MetaNetwork",
        "mnet.toolchain.metanetwork:ContextEncoder",
        "mnet.toolchain.metanetwork:MetaGenerator",
        "mnet.toolchain.metanetwork:MetaStabilizer",
        "mnet.toolchain.metanetwork:under",
        "mnet.toolchain.metanetwork:check_generated",
    ],
    "Bundles and swaps": [
        "mnet.export.session:SwapTimes",
        "mnet.export.verify:Verification",
        "mnet.export.format.packs:read_pack",
        "mnet.export.format.errors:IntegrityError",
        "mnet.export.format.errors:Reason",
    ],
    "A runtime of your own": [
        "mnet.export.lowering.target:TargetModule",
        "mnet.export.lowering.target:Program",
        "mnet.export.lowering.target:Target",
        "mnet.export.format.manifest:Binding",
    ],
    "A phone": [
        "mnet.toolchain.phone.phone:Phone",
        "mnet.toolchain.phone.updater:Updater",
        "mnet.toolchain.phone.client:CloudClient",
    ],
}


def pages() -> dict[str, str]:
    """Text of each page by its file name."""
    return {"cli.md": _commands(), "python.md": _names(), "config.md": config_page()}


def _commands() -> str:
    command = typer.main.get_command(app)
    context = typer.Context(command)
    text = get_docs_for_click(obj=command, ctx=context, name="mnet", title="Commands")
    # What the shell's completion offers says nothing of mnet.
    return re.sub(r"^\* `--(install|show)-completion`.*\n", "", text, flags=re.MULTILINE)


def _names() -> str:
    lines = ["# Python", "", "What code of your own may build on; written from the docstrings.", ""]
    for section, names in PUBLIC.items():
        lines += [f"## {section}", ""]
        for name in names:
            module, _, attribute = name.partition(":")
            lines += _described(
                f"{module}.{attribute}", getattr(importlib.import_module(module), attribute), "###"
            )
    return "\n".join(lines)


def _described(title: str, thing: Any, heading: str) -> Iterator[str]:
    """Heading, signature and docstring of a class or function, then of its own public methods."""
    yield from (f"{heading} {title}", "")
    if not getattr(thing, "_is_protocol", False) and callable(thing):
        yield from ("```python", f"{title.rpartition('.')[2]}{_signature(thing)}", "```", "")
    yield from _prose(thing)
    if inspect.isclass(thing):
        for name, member in vars(thing).items():
            function = getattr(member, "__func__", member.fget if isinstance(member, property) else member)
            if not name.startswith("_") and inspect.isfunction(function):
                yield from _method(name, member, function)


def _method(name: str, member: Any, function: Any) -> Iterator[str]:
    shown = name if isinstance(member, property) else f"{name}{_signature(function)}"
    yield from (f"#### `{shown}`", "")
    yield from _prose(function)


def _prose(thing: Any) -> Iterator[str]:
    text = inspect.cleandoc(thing.__doc__ or "")
    # An indented list of arguments would be a code block in Markdown.
    text = re.sub(r"^    (\w[\w, ]*): ", r"- `\1`: ", text, flags=re.MULTILINE)
    if text:
        yield from (re.sub(r"^    +", "  ", text, flags=re.MULTILINE), "")


def _signature(thing: Any) -> str:
    try:
        signature = inspect.signature(thing)
    except ValueError:
        return ""
    text = re.sub(r"\b(?:[A-Za-z_]\w*\.)+(?=[A-Za-z_])", "", str(signature))  # types without their modules
    text = re.sub(r"<function .*? at 0x\w+>", "...", text)
    text = re.sub(r"ndarray\[tuple\[Any, \.\.\.\], dtype\[(\w+)\]\]", r"ndarray[\1]", text)
    return re.sub(r"^\((?:self|cls)(?:, )?", "(", text).replace("~", "")


def write() -> None:
    """Write the pages."""
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
