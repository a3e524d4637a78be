"""Every snippet of Swift that a page shows compiles as it stands, one after the other."""

from ios.hosttest import swift
from tests.docs.markdown import ROOT, blocks
from tests.ios.conftest import or_skip


def test_the_snippets_of_the_page_compile() -> None:
    shown = [block.text for block in blocks((ROOT / "docs/ios.md").read_text()) if block.language == "swift"]
    assert len(shown) >= 7
    or_skip(lambda: swift.compiled(swift.written("Page", "\n".join(shown), (swift.COREML, swift.EXECUTORCH))))
