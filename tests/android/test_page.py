"""The page that puts the libraries into an app: its Kotlin compiles as it stands, and the app that it makes works."""

import re
from pathlib import Path
from typing import Any

from android_demo.hosttest import kotlin
from android_demo.hosttest.screens import VIEWS
from mnet.export.format.bundle import Bundle
from mnet.toolchain.attached.android_app import copy_for_device
from tests.android.conftest import HostTests, or_skip
from tests.docs.markdown import ROOT, blocks


def test_the_app_of_the_page_serves_and_follows_a_server(
    host_tests: HostTests, properties: dict[str, Any], bundle: Bundle, tmp_path: Path
) -> None:
    page = or_skip(lambda: kotlin.compile_page(source()))
    libraries = [or_skip(each) for each in (kotlin.compile_coroutines, kotlin.compile_work)]
    views = or_skip(lambda: kotlin.compile_java("views", VIEWS))
    shared = [host_tests[0], *host_tests[1]]
    classpath = [page, *libraries, kotlin.compile_androidx(), views, *shared, kotlin.coroutines_jar()]
    tests = or_skip(lambda: kotlin.compile_tests("page-test", kotlin.PAGE_TESTS, classpath))
    copy_for_device(bundle, tmp_path / "bundle")
    more = {"mnet.assets": tmp_path}
    assert kotlin.run_tests(tests, classpath, properties | more, only="mnet.hosttest.PageTest") == 1


def source() -> str:
    """All Kotlin of the page as one file: a package, its imports, and the rest."""
    text = "".join(
        block.text
        for block in blocks((ROOT / "docs/android.md").read_text(encoding="utf-8"))
        if block.language == "kotlin"
    )
    head = re.findall(r"^(?:package|import) .*$", text, re.MULTILINE)
    rest = re.sub(r"^(?:package|import) .*\n", "", text, flags=re.MULTILINE)
    assert len(head) > 15
    return "\n".join([*head, rest])
