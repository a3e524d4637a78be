"""A loopback server of one file, in place of the sites that publish the data sets."""

import threading
from collections.abc import Callable, Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from mnet.toolchain.data.download import Source


class Site:
    """Serves `body` under any path; counts what it is asked for."""

    def __init__(self, body: bytes) -> None:
        site = self
        self.body = body
        self.requests = 0

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.requests += 1
                self.send_response(200)
                self.send_header("content-length", str(len(site.body)))
                self.end_headers()
                self.wfile.write(site.body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)

    @property
    def source(self) -> Source:
        url = f"http://127.0.0.1:{self.server.server_port}/file"
        return Source(url, "sha256", sha256(self.body).hexdigest())


@pytest.fixture
def serve() -> Iterator[Callable[[bytes], Site]]:
    started: list[tuple[Site, threading.Thread]] = []

    def start(body: bytes) -> Site:
        site = Site(body)
        thread = threading.Thread(target=site.server.serve_forever)
        thread.start()
        started.append((site, thread))
        return site

    yield start
    for site, thread in started:
        site.server.shutdown()
        site.server.server_close()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MNET_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"
