"""The ASGI application: the two APIs, health, metrics, and what every answer has in common."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.telemetry import TelemetryConfig
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool

from mnet.toolchain.cloud import operator_api, phone_api
from mnet.toolchain.cloud.asgi import BodyLimit, MeasuredRequests
from mnet.toolchain.cloud.database import OUTAGE
from mnet.toolchain.cloud.service import Service, ServiceOf
from mnet.toolchain.object_store import StoreAway

log = logging.getLogger(__name__)
router = APIRouter()


def create_app(service: Service) -> FastAPI:
    """The ASGI application around a service; it takes up unfinished work at start and stops cleanly."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(service.maintenance.start)
        await run_in_threadpool(service.publisher.start)
        yield
        await run_in_threadpool(service.publisher.close)
        await run_in_threadpool(service.maintenance.close)
        service.database.close()

    service.metrics.watch_long_polls(lambda: len(service.long_polls))
    # Nobody here listens to OpenTelemetry, and asking for its providers took 5 % of each request.
    silent: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
    app = FastAPI(title="mnet", version="1", lifespan=lifespan, telemetry=silent)
    app.state.service = service
    app.add_middleware(BodyLimit, limit=service.limits.body_bytes, pack_limit=service.limits.pack_bytes)
    app.add_middleware(MeasuredRequests, metrics=service.metrics)
    app.add_exception_handler(RequestValidationError, _invalid)
    for outage in OUTAGE:
        app.add_exception_handler(outage, _unavailable)
    app.include_router(phone_api.router)
    app.include_router(operator_api.router)
    app.include_router(router)
    return app


@router.get(
    "/v1/healthz", responses={503: {"description": "The database, the generator or the maintenance fails"}}
)
def health(service: ServiceOf, response: Response) -> dict[str, str | list[str]]:
    """Whether the database answers, the last generation went well and the maintenance runs."""
    state = {
        "database": "ok",
        "generation": "failing" if service.publisher.last_failed else "ok",
        "maintenance": "ok" if service.maintenance.alive else "ended",
    }
    try:
        service.database.ping()
    except OUTAGE:
        state["database"] = "unreachable"
    if set(state.values()) != {"ok"}:
        response.status_code = 503
    return {**state, "bundles": sorted(service.publisher.generators)}


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
    what = "store of packs" if isinstance(error, StoreAway) else "database"
    log.warning("a request failed: the %s is away (%s)", what, type(error).__name__)
    return JSONResponse({"detail": f"the {what} is not available"}, 503, {"Retry-After": "1"})
