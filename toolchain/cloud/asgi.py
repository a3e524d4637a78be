"""What every request passes before its handler: a clock, a look at its secret, and a limit on its body."""

import time
from collections.abc import Awaitable, Callable

from fastapi import HTTPException
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mnet.toolchain.cloud.metrics import Metrics


class MeasuredRequests:
    """ASGI middleware that times every request by its route, the template and not the path."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            self._note(scope, status, time.perf_counter() - start)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", None)
        if route is None or status == 405:
            route, method = "none", "none"  # what a stranger may choose freely is no label
        else:
            method = scope["method"]
        self._metrics.requests.labels(method, route, status).observe(seconds)
        # By the path: a body that is too long is refused before any route is looked for.
        if status >= 400 and scope["method"] == "POST" and scope["path"].endswith("/context"):
            self._metrics.refused_uploads.labels(status).inc()


class TokenFirst:
    """ASGI middleware: 401 before a body is read of whoever shows no secret that `known` knows."""

    def __init__(self, app: ASGIApp, known: Callable[[str], Awaitable[bool]]) -> None:
        self._app = app
        self._known = known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_api = scope["type"] == "http" and scope["path"].startswith("/v1/")
        if is_api and scope["method"] in ("POST", "PUT", "PATCH"):
            kind, _, secret = (
                dict(scope["headers"]).get(b"authorization", b"").decode("latin-1").partition(" ")
            )
            if kind.lower() != "bearer" or not await self._known(secret.strip()):
                refusal = JSONResponse({"detail": "not authorised"}, 401, {"WWW-Authenticate": "Bearer"})
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)


class BodyLimit:
    """ASGI middleware: 413 for a body over `limit` bytes, declared or sent, as JSON where Starlette's is text.

    A pack that an operator stores may have `pack_limit` bytes; its handler reads nothing of another caller's.
    """

    def __init__(self, app: ASGIApp, limit: int, pack_limit: int) -> None:
        self._app = app
        self._limits = {True: pack_limit, False: limit}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        received, is_pack = 0, scope.get("method") == "PUT" and scope["path"].startswith("/v1/packs/")
        limit = self._limits[is_pack]

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise too_long
            return message

        too_long = HTTPException(413, f"the body is over {limit} bytes")
        declared = dict(scope.get("headers", ())).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > limit:
            await JSONResponse({"detail": too_long.detail}, 413)(scope, receive, send)
        else:
            await self._app(scope, limited, send)
