"""The app's screens on this machine: its own activities and layouts, over stand-ins for Android's views, as PNG."""

from pathlib import Path

from android_demo.hosttest.apk import link_resources
from android_demo.hosttest.kotlin import BUILD, DEMO, compile_app, compile_java

DRAWINGS = BUILD / "drawings"
RESOURCES = DEMO / "app/src/main/res"
SCREEN_TESTS = Path(__file__).with_name("screens")
VIEWS = Path(__file__).with_name("views")


def classpath() -> list[Path]:
    """The whole app with the ids of its resources, and the stand-ins. Raises Absent or Failed."""
    folder = BUILD / "screen-resources"
    folder.mkdir(parents=True, exist_ok=True)
    _, ids = link_resources(folder)
    return [compile_app(ids), ids, compile_java("views", VIEWS)]
