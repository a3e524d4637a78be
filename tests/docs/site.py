"""Builds the site of the documentation into build/site: `make docs`, or `python -m tests.docs.site`.

The pages are those that a code forge shows. They are staged in the same folders, so that their relative links hold; the
notebook becomes a page, and links to files that are no page lead to the forge.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.docs.markdown import PAGES, ROOT

CONFIG = ROOT / "zensical.toml"
PICTURES = ("docs/*.svg", "android_demo/*.png")
NOTEBOOKS = ("docs/*.ipynb",)
STYLE = """\
.md-typeset table:not([class]) { font-size: .68rem }
.md-typeset table:not([class]) :is(th, td) { padding: .5em .8em; min-width: 0 }
.md-typeset :is(th, td) code { white-space: nowrap; word-break: normal }
.md-typeset img { border-radius: .3rem }
.md-grid { max-width: 76rem }
.md-typeset pre > code { font-size: .68rem }
@media (min-width: 76.25em) {
  .md-sidebar { width: 10rem }
}
"""


def stage(pages: Path, forge: str) -> None:
    """Write what the site is built of into `pages`; `forge` is where a file that is no page is seen."""
    shutil.rmtree(pages, ignore_errors=True)
    texts = {page.relative_to(ROOT): page.read_text(encoding="utf-8") for page in PAGES}
    for file in found(NOTEBOOKS):
        texts[file.with_suffix(".md")] = notebook(json.loads((ROOT / file).read_text(encoding="utf-8")))
    pictures = found(PICTURES)
    for name, text in texts.items():
        (pages / name).parent.mkdir(parents=True, exist_ok=True)
        (pages / name).write_text(linked(text, name, {*texts, *pictures}, forge), encoding="utf-8")
    for name in pictures:
        shutil.copy(ROOT / name, pages / name)
    (pages / "site.css").write_text(STYLE, encoding="utf-8")


def found(patterns: tuple[str, ...]) -> list[Path]:
    return [file.relative_to(ROOT) for pattern in patterns for file in sorted(ROOT.glob(pattern))]


def linked(text: str, page: Path, staged: set[Path], forge: str) -> str:
    """The page; links to files that are not on the site lead to the forge, those to a notebook to its page.

    A fence keeps only its language: with a word more, which `tests/docs` reads, its block would be shown as a sentence.
    """

    def turned(link: re.Match[str]) -> str:
        place, anchor = link[1], link[2] or ""
        if "://" in place or not place:
            return link[0]
        target = Path(os.path.normpath(page.parent / place))
        if target in staged:
            return link[0]
        if target.suffix == ".ipynb":
            return f"]({place.removesuffix('.ipynb')}.md{anchor})"
        return f"]({forge}/{target.as_posix()}{anchor})"

    plain = re.sub(r"^(```\w+) \w+$", r"\1", text, flags=re.MULTILINE)
    return re.sub(r"\]\(([^)\s#]*)(#[^)\s]*)?\)", turned, plain)


def notebook(content: dict[str, list[dict[str, object]]]) -> str:
    """A notebook without outputs as a page."""
    parts = []
    for cell in content["cells"]:
        source = cell["source"]
        text = source if isinstance(source, str) else "".join(source)  # type: ignore[arg-type]
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    return "\n\n".join(parts) + "\n"


def build() -> int:
    """Build the site; every link and anchor must lead somewhere. The exit status is Zensical's."""
    project = tomllib.loads(CONFIG.read_text(encoding="utf-8"))["project"]
    stage(ROOT / project["docs_dir"], f"{project['repo_url']}/blob/main")
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "--config-file", str(CONFIG)]
    return subprocess.run(command, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(build())
