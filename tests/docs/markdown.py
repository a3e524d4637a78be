"""What the documentation holds: its pages, their code blocks, commands and links."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for folder in (
        ROOT,
        ROOT / "docs",
        ROOT / "docs/reference",
        ROOT / "android_demo",
        ROOT / "android_demo/native",
        ROOT / "ios",
    )
    for page in folder.glob("*.md")
)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, what else its fence says, and its lines."""

    language: str
    word: str
    text: str


def blocks(markdown: str) -> list[Block]:
    """The fenced blocks, in the order of the page."""
    fences = re.findall(r"^```(\w+) ?(\w*)\n(.*?)^```$", markdown, re.MULTILINE | re.DOTALL)
    return [Block(*fence) for fence in fences]


def files(markdown: str) -> dict[str, str]:
    """The files that a page tells its reader to write: blocks whose first line is a comment with a name."""
    found = {}
    for block in blocks(markdown):
        if name := re.match(r"# (\S+\.\w+)\n", block.text):
            found[name[1]] = block.text
    return found


def command_lines(markdown: str) -> list[str]:
    """The lines of indented and of `sh` blocks, continued ones joined, without their comments."""
    shell = "".join(block.text for block in blocks(markdown) if block.language == "sh")
    outside = re.sub(r"^```.*?^```$", "", markdown, flags=re.MULTILINE | re.DOTALL)
    indented = "\n".join(re.findall(r"^    (\S.*|    .*)$", outside, re.MULTILINE))
    lines = unbroken(f"{shell}\n{indented}").splitlines()
    return [re.sub(r"\s+# .*| *\[\^.*", "", line).strip() for line in lines]


def unbroken(shell: str) -> str:
    """The same with continued lines joined."""
    return re.sub(r"\\\n\s*", "", shell)


def spans(markdown: str) -> list[str]:
    """What stands between single backticks, outside of blocks, with its lines joined."""
    outside = re.sub(r"^```.*?^```$", "", markdown, flags=re.MULTILINE | re.DOTALL)
    return [" ".join(span.split()) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", outside)]


def links(markdown: str) -> list[tuple[str, str]]:
    """Where its links lead, and what comes behind a `#`."""
    found = re.findall(r"\]\(([^)\s]+)\)", markdown)
    return [(place, anchor) for place, _, anchor in (target.partition("#") for target in found)]


def anchors(markdown: str) -> set[str]:
    """The names of its headings, as forges make them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", markdown, flags=re.M | re.S), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading)) for heading in headings]
    return {heading.lower().replace(" ", "-") for heading in plain}
