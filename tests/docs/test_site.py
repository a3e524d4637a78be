"""The site builds without a warning, holds every page with its navigation, and a link to nothing fails the build."""

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs import site
from tests.docs.markdown import PAGES, ROOT, blocks

PROJECT = tomllib.loads(site.CONFIG.read_text(encoding="utf-8"))["project"]


def pages(entries: list[Any]) -> Iterator[str]:
    """The pages that the navigation names."""
    for entry in entries:
        if isinstance(entry, str):
            yield entry
        else:
            for below in entry.values():
                yield from pages([below] if isinstance(below, str) else below)


def test_it_builds_and_shows_every_page() -> None:
    pytest.importorskip("zensical", reason="Zensical, which builds the site, is not installed")
    assert site.build() == 0
    named = set(pages(PROJECT["nav"]))
    assert {page.relative_to(ROOT).as_posix() for page in PAGES} <= named
    for page in named:
        place = Path(page).parent if Path(page).name == "README.md" else Path(page).with_suffix("")
        html = (ROOT / PROJECT["site_dir"] / place / "index.html").read_text(encoding="utf-8")
        assert "<h1" in html
        text = (ROOT / page).read_text(encoding="utf-8") if (ROOT / page).exists() else ""
        assert html.count("<pre") >= len(blocks(text)), f"{page}: a block is no block"
    python = (ROOT / PROJECT["site_dir"] / "docs/reference/python/index.html").read_text(encoding="utf-8")
    assert "A bundle on disk whose every byte is the one that was exported." in python
    assert ":::" not in python


@pytest.mark.parametrize("link", ["b.md#there", "b.md#elsewhere"])
def test_a_link_must_lead_somewhere(tmp_path: Path, link: str) -> None:
    pytest.importorskip("zensical", reason="Zensical, which builds the site, is not installed")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text(f"# A\n\n[b]({link})\n")
    (tmp_path / "docs/b.md").write_text("# B\n\n## There\n")
    (tmp_path / "zensical.toml").write_text('[project]\nsite_name = "a"\n')
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode == 0) == (link == "b.md#there"), done.stdout + done.stderr


def test_links_of_a_page_hold_on_the_site() -> None:
    staged = {Path("docs/a.md"), Path("README.md"), Path("docs/notebook.md")}
    text = "[a](a.md#x) [r](../README.md) [n](notebook.ipynb) [s](../toolchain/x.py) [w](https://e.org/a.md) [h](#y)"
    assert site.linked(text, Path("docs/b.md"), staged, "https://forge") == (
        "[a](a.md#x) [r](../README.md) [n](notebook.md) [s](https://forge/toolchain/x.py) "
        "[w](https://e.org/a.md) [h](#y)"
    )
