"""The ASGI application: the two APIs, health, metrics, and what every answer has in common."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.telemetry import TelemetryConfig
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy.exc import DatabaseError
from starlette.concurrency import run_in_threadpool

from mnet.toolchain.cloud import operator_api, page, phone_api
from mnet.toolchain.cloud.asgi import BodyLimit, MeasuredRequests, TokenFirst
from mnet.toolchain.cloud.auth import is_known
from mnet.toolchain.cloud.database import OUTAGE, cause
from mnet.toolchain.cloud.service import Service, ServiceOf
from mnet.toolchain.contract.jws import KeyAway
from mnet.toolchain.object_store import StoreAway

log = logging.getLogger(__name__)
router = APIRouter()


def create_app(service: Service) -> FastAPI:
    """The ASGI application around a service; it takes up unfinished work at start and stops cleanly."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(service.maintenance.start)
        await run_in_threadpool(service.publisher.start)
        await run_in_threadpool(service.reconciler.start)
        yield
        await run_in_threadpool(service.reconciler.close)
        await run_in_threadpool(service.publisher.close)
        await run_in_threadpool(service.maintenance.close)
        with suppress(*OUTAGE):
            await run_in_threadpool(service.fetches.keep)
        service.database.close()

    service.metrics.watch_long_polls(lambda: len(service.long_polls))
    # Its own pages of documentation load scripts from a CDN. Nobody here listens to OpenTelemetry, and asking for its
    # providers took 5 % of each request.
    silent: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
    app = FastAPI(
        title="mnet", version="1", lifespan=lifespan, telemetry=silent, docs_url=None, redoc_url=None
    )
    app.state.service = service
    app.add_middleware(TokenFirst, known=partial(is_known, service))
    app.add_middleware(BodyLimit, limit=service.limits.body_bytes, pack_limit=service.limits.pack_bytes)
    app.add_middleware(MeasuredRequests, metrics=service.metrics)
    app.add_exception_handler(RequestValidationError, _invalid)
    for outage in (*OUTAGE, DatabaseError):
        app.add_exception_handler(outage, _unavailable)
    app.include_router(phone_api.router)
    app.include_router(operator_api.router)
    app.include_router(page.router)
    app.include_router(router)
    return app


@router.get("/v1/livez", responses={503: {"description": "A part of it has ended: restart it"}})
async def alive(service: ServiceOf, response: Response) -> dict[str, str]:
    """Whether every part of the server runs, whatever it stands on does."""
    state = {"generation": _runs(service.publisher.alive), "maintenance": _runs(service.upkeep_alive)}
    return _judged(state, response)


@router.get("/v1/readyz", responses={503: {"description": "The database or the store takes nothing"}})
def ready(service: ServiceOf, response: Response) -> dict[str, str]:
    """Whether what is written to the database and to the store of packs is kept."""
    return _judged({"database": service.health.database(), "packs": service.health.packs()}, response)


@router.get("/v1/healthz", responses={503: {"description": "It does not live, or is not ready"}})
def health(service: ServiceOf, response: Response) -> dict[str, str | list[str]]:
    """Whether the server lives and is ready; and how well it serves, which no status code depends on.

    `generation` is `failing` while no batch can be made. Contexts that fail one by one are in `/metrics`.
    """
    state = _judged(
        {
            "database": service.health.database(),
            "packs": service.health.packs(),
            "generation": _runs(service.publisher.alive),
            "maintenance": _runs(service.upkeep_alive),
        },
        response,
    )
    if service.publisher.last_failed and state["generation"] == "ok":
        state["generation"] = "failing"
    return {**state, "bundles": sorted(service.publisher.generators)}


def _runs(alive: bool) -> str:
    return "ok" if alive else "ended"


def _judged(state: dict[str, str], response: Response) -> dict[str, str]:
    if set(state.values()) != {"ok"}:
        response.status_code = 503
    return state


@router.get("/metrics", response_class=Response)
async def metrics(service: ServiceOf) -> Response:
    """Figures for Prometheus; they name no device."""
    return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    """422 that says where and why, without the input: a context is nobody's to repeat."""
    assert isinstance(error, RequestValidationError)
    faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:5]]
    return JSONResponse({"detail": "; ".join(faults)}, 422)


async def _unavailable(_request: Request, error: Exception) -> JSONResponse:
    """503: phones try again by themselves, with what they have not got an answer for."""
    parts = {StoreAway: "store of packs", KeyAway: "signing key"}
    what = next((part for kind, part in parts.items() if isinstance(error, kind)), "database")
    log.warning("a request failed by the %s: %s", what, cause(error))
    return JSONResponse({"detail": f"the {what} is not available"}, 503, {"Retry-After": "1"})
