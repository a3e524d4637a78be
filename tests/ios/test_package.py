"""The package's manifest, read by SwiftPM itself: at the repository's root, where a git URL of it leads."""

import json
from pathlib import Path

from android_demo.hosttest.tools import run
from ios.hosttest import swift
from ios.hosttest.debian import REPOSITORY, inside
from tests.ios.conftest import or_skip


def test_swiftpm_finds_the_libraries_and_the_sources_that_are_compiled_here() -> None:
    command = ["swift", "package", "--package-path", REPOSITORY, "--scratch-path", "/tmp/mnet-package"]
    package = json.loads(or_skip(lambda: run(inside(*command, "describe", "--type", "json"))))
    assert {product["name"] for product in package["products"]} == {"MNetCore", "MNetCoreML"}
    found = {target["name"]: Path(target["path"]) for target in package["targets"]}
    ours = (swift.CORE, swift.COREML, swift.VECTORS, swift.CORE_TESTS, swift.COREML_TESTS)
    # Off Apple's systems the C is a target too.
    found.pop("CMNetOpenSSL", None)
    assert found == {each.name: Path("ios") / each.sources for each in ours}
