"""The app's own activities and layouts, run and drawn on this machine; the drawings are in `build/host/drawings`."""

import json
import shutil
from pathlib import Path
from typing import Any

from android_demo.hosttest import screens
from android_demo.hosttest.kotlin import compile_tests, run_tests
from mnet.export.format.bundle import Bundle
from mnet.toolchain.attached.android_app import copy_for_device
from tests.android.conftest import HostTests, or_skip

# Titles of films that nobody made, for drawings that may be shown.
MOODS = (
    "Quiet",
    "Paper",
    "Northern",
    "Second",
    "Hidden",
    "Slow",
    "Glass",
    "Winter",
    "Borrowed",
    "Late",
    "Salt",
)
THINGS = (
    "Harbour",
    "Letters",
    "Garden",
    "Summer",
    "Bridge",
    "Thief",
    "Orchard",
    "Signal",
    "Kitchen",
    "Island",
)
YEARS = range(1981, 1998)


def test_the_screens_show_what_the_app_does(
    host_tests: HostTests, properties: dict[str, Any], bundle: Bundle, tmp_path: Path
) -> None:
    assets = tmp_path / "assets"
    copy_for_device(bundle, assets / "bundle")
    titles = [f"{mood} {thing} ({year})" for year in YEARS for thing in THINGS for mood in MOODS]
    titles = titles[: properties["mnet.items"]]
    (assets / "catalogue.json").write_text(json.dumps({"titles": titles}))
    classpath = [*or_skip(screens.classpath), host_tests[0], *host_tests[1]]
    tests = or_skip(lambda: compile_tests("screens-test", screens.SCREEN_TESTS, classpath))
    shutil.rmtree(screens.DRAWINGS, ignore_errors=True)
    folders = {"assets": assets, "resources": screens.RESOURCES, "drawings": screens.DRAWINGS}
    more = {f"mnet.{name}": folder for name, folder in folders.items()}
    passed = run_tests(tests, classpath, {**properties, **more}, only="mnet.hosttest.ScreensTest")
    assert passed == 5
    drawn = sorted(path.name for path in screens.DRAWINGS.glob("*.png"))
    assert len(drawn) == 5
    print(f"\nscreens drawn, no screenshots of a phone: {screens.DRAWINGS}: {', '.join(drawn)}")
