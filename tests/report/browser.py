"""A headless Chromium, spoken to over its pipe (the DevTools protocol): what a person would see and hear."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Chromium reads descriptor 3 and writes 4; first out of the way, lest one overwrite the other. In a process between:
# ours has threads, which could lock it up between fork and exec.
_CONNECT = """
import os, sys
reads, writes, *command = sys.argv[1:]
ends = os.dup(int(reads)), os.dup(int(writes))
for end, place in zip(ends, (3, 4)):
    os.dup2(end, place)
    os.set_inheritable(place, True)
os.execv(command[0], command)
"""

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def find_browser() -> str | None:
    """Where a Chromium is installed; None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Tab:
    """One page at a time. `requests` are the URLs that it asked for, `complaints` what it wrote on the console."""

    def __init__(self, send: int, receive: int) -> None:
        self._send = os.fdopen(send, "wb", buffering=0)
        self._receive = os.fdopen(receive, "rb")
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self._loaded = False
        self.requests: list[str] = []
        self.complaints: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self._call(f"{domain}.enable")

    def open(self, page: Path | str, width: int, *, dark: bool = False) -> None:
        """Show a file, or a URL, at `width` CSS pixels, up to 600 as a phone does."""
        self.requests.clear()
        self.complaints.clear()
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=844,
            deviceScaleFactor=1,
            mobile=width <= 600,
        )
        url = page if isinstance(page, str) else page.resolve().as_uri()
        self._loaded = False
        self._call("Page.navigate", url=url)
        self._wait()

    def follow(self, expression: str) -> None:
        """Do what leads to another page, such as a click, and wait until that is there."""
        self._loaded = False
        self.evaluate(expression)
        self._wait()

    def _wait(self) -> None:
        while not self._loaded:
            self._note(self._read())

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; None for undefined."""
        found = self._call("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")

    def screenshot(self, file: Path) -> None:
        """The whole page as PNG."""
        image = self._call("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(image["data"]))

    def pdf(self, file: Path) -> None:
        """The page as it prints on A4."""
        printed = self._call("Page.printToPDF", printBackground=True, paperWidth=8.27, paperHeight=11.69)
        file.write_bytes(base64.b64decode(printed["data"]))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._send.write(json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != number:
            self._note(answer)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def _read(self) -> dict[str, Any]:
        text = b""
        while (byte := self._receive.read(1)) != b"\0":
            assert byte, "the browser has ended"
            text += byte
        return json.loads(text)

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event["method"] == "Page.loadEventFired":
            self._loaded = True
        elif event["method"] == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif event["method"] in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.complaints.append(json.dumps(params))


@contextmanager
def browsing(browser: str, profile: Path) -> Iterator[Tab]:
    """A tab of a browser that ends with the block."""
    to_browser, send = os.pipe()
    receive, from_browser = os.pipe()

    process = subprocess.Popen(
        [
            *(sys.executable, "-c", _CONNECT, str(to_browser), str(from_browser)),
            browser,
            "--headless=new",
            "--no-sandbox",  # a container's root may not use it, and the page is our own
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(to_browser, from_browser),
    )
    os.close(to_browser)
    os.close(from_browser)
    try:
        yield Tab(send, receive)
    finally:
        process.terminate()
        process.wait(20)
