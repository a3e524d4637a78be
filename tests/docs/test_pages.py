"""What the pages tell people to type exists: commands with their options, make's targets, files, links."""

import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from mnet.toolchain.cli.app import app
from tests.docs.markdown import PAGES, ROOT, anchors, command_lines, links, spans

MNET: Any = typer.main.get_command(app)
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


@pages
def test_commands_parse(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    lines = [*command_lines(text), *re.findall(r"Examples?: `(.*?)`", text)]
    for line in lines:
        for command in re.findall(r"(?:^|\bbin/|\bdo |&& )mnet ([^;|&>]+)", line):
            parse(shlex.split(command.replace(" ...", " PLACEHOLDER").replace("$seed", "0")))


@pages
def test_commands_in_a_sentence_exist(page: Path) -> None:
    """They may be cut short: the verb and the options must be there."""
    for span in spans(page.read_text(encoding="utf-8")):
        if span.startswith("mnet ") and not span.startswith(("mnet COMMAND", "mnet …")):
            command, rest = verb(shlex.split(re.sub(r"\|\w+", "", span))[1:])
            known = {
                name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)
            }
            options = {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
            assert options <= known | {"--help"}, f"{span}: {options - known}"


@pages
def test_other_commands_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    typed = [*command_lines(text), *spans(text)]
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make ([\w./]+)", "\n".join(typed), re.MULTILINE):
        assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), f"make {target}"
    for module in re.findall(r"python -m (\S+)", "\n".join(typed)):
        assert importlib.util.find_spec(module), f"python -m {module}"


@pages
def test_code_is_shown_as_code_and_whole(page: Path) -> None:
    """At a laptop's width the site shows 100 characters; indented under a list, code is that list's text."""
    written = "reference" in page.parts or page.name == "CHANGELOG.md"
    fenced, item = False, False
    for line in page.read_text(encoding="utf-8").splitlines():
        indented = line.startswith("    ")
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or indented:
            assert fenced or not item, f"indented under a list: {line}"
            assert written or len(line) - 4 * (not fenced) <= 100, f"too long: {line}"
        elif line and not line.startswith(" "):
            item = re.match(r"([-*]|\d+\.) ", line) is not None


@pages
def test_files_and_links_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target, anchor in links(text):
        if not target.startswith("https://"):
            there = page.parent / target if target else page
            assert there.exists(), target
            assert not anchor or anchor in anchors(there.read_text(encoding="utf-8")), f"{target}#{anchor}"
    ours = r"^((?:tests|toolchain|export|device_models|deploy|docs)/[\w./]*\w)"
    for path in re.findall(ours, "\n".join(spans(text)), re.MULTILINE):
        assert (ROOT / path).exists() or "DATASET" in path, path


@pytest.mark.parametrize(
    "wrong",
    ["trian my.yaml", "train my.yaml --sed 1", "train", "rollback N", "keys rotat", "export runs/ml -o x"],
)
def test_a_wrong_command_is_found(wrong: str) -> None:
    with pytest.raises(Exception, match=r"[Nn]o such|Missing|valid integer"):
        parse(shlex.split(wrong))


def parse(arguments: list[str]) -> None:
    """Read the arguments as `mnet` would, and run nothing; raises what Typer does."""
    command, rest = verb(arguments)
    command.make_context("mnet", rest)


def verb(arguments: list[str]) -> tuple[Any, list[str]]:
    """The command that the arguments call, and what is left of them. Raises LookupError."""
    command, rest = MNET, arguments
    while rest and rest[0] in (known := getattr(command, "commands", {})):
        command, rest = known[rest[0]], rest[1:]
    if getattr(command, "commands", {}) and rest and not rest[0].startswith("-"):
        raise LookupError(f"no such command: {rest[0]}")
    return command, rest
