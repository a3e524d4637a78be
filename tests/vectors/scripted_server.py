"""An HTTP server on loopback that answers by the script of a conversation, and keeps what it was asked."""

import base64
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

# A request by its method and path: the name of its route in a vector.
_ROUTES = {
    ("POST", r"/v1/devices"): "enrol",
    ("POST", r"/v1/devices/\w+/context"): "context",
    ("GET", r"/v1/devices/\w+/release"): "release",
    ("POST", r"/v1/devices/\w+/reports"): "report",
    ("PUT", r"/v1/devices/\w+/measurements"): "measured",
    ("GET", r"/v1/packs/[0-9a-f]{64}"): "pack",
    ("GET", r"/v1/keys"): "keys",
}
_NOTHING = {"status": 404, "headers": {}, "body": base64.b64encode(b'{"detail": "nothing there"}').decode()}


class ScriptedServer:
    """Set `answers` before each step; `requests` is what came since, as the vectors write it."""

    def __init__(self) -> None:
        self.answers: dict[str, list[dict[str, Any]]] = {}
        self.requests: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server._answer(self)

            def do_POST(self) -> None:
                server._answer(self)

            def do_PUT(self) -> None:
                server._answer(self)

            def log_message(self, *_arguments: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self._thread = Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.shutdown()
        self._thread.join()
        self.http.server_close()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        parts = urlsplit(request.path)
        route = next(
            (
                name
                for (method, path), name in _ROUTES.items()
                if method == request.command and re.fullmatch(path, parts.path)
            ),
            f"{request.command} {parts.path}",
        )
        self.requests.append(_written(route, parse_qs(parts.query), body))
        listed = self.answers.get(route) or [_NOTHING]
        answer = listed.pop(0) if len(listed) > 1 else listed[0]
        content = base64.b64decode(answer["body"])
        request.send_response(answer["status"])
        for name, value in answer["headers"].items():
            request.send_header(name, value)
        if answer["status"] != 204:
            request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if answer["status"] != 204:
            request.wfile.write(content)


def _written(route: str, query: dict[str, list[str]], body: bytes) -> str:
    if route == "release":
        return f"release after={query['after'][0]} keys={query['keys'][0]}"
    if route == "report":
        stated = json.loads(body)
        return f"report {stated['version']} {stated['outcome']}"
    if route == "measured":
        totals = [
            f"{each['version']} {each['metric']} {each['count']} {each['sum']:.15g} {each['squares']:.15g}"
            for each in json.loads(body)["totals"]
        ]
        return f"measured {', '.join(totals)}"
    return route
