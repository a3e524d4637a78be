"""The HTTP face of the cloud, `/v1`: packs are bytes, all else is JSON, an error is `{"detail": text}`.

A thousand phones poll it at once, so that what need not block runs on the event loop, without a thread.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.telemetry import TelemetryConfig
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from toolchain.cloud.asgi import BodyLimit, MeasuredRequests
from toolchain.cloud.database import Database
from toolchain.cloud.metrics import Metrics
from toolchain.cloud.packs import PackFolder
from toolchain.cloud.publishing import Publisher
from toolchain.cloud.waiting import Waiting

MAX_BODY_BYTES = 64 * 1024
MAX_CONTEXT = 1000
MAX_POLL_S = 60.0
SMALL_PACK_BYTES = 256 * 1024


@dataclass(frozen=True)
class Service:
    """What the handlers work with; `jwks` is the set of public keys that devices pin."""

    bundle: str
    jwks: dict[str, Any]
    enrolment_key: str
    operator_key: str
    database: Database
    packs: PackFolder
    publisher: Publisher
    waiting: Waiting
    metrics: Metrics


class EnrolRequest(BaseModel):
    """A phone asks to be known, with the bundle that it runs."""

    bundle: str = Field(max_length=64)


class Enrolment(BaseModel):
    """The token is shown once and kept nowhere; `keys` is the JWKS that the phone pins."""

    device: str
    token: str
    keys: dict[str, Any]


class Samples(BaseModel):
    """A context: the unlabelled samples of a device, oldest first. For recommendation they are item ids."""

    samples: list[Annotated[int, Field(strict=True, ge=0, lt=2**63)]] = Field(
        min_length=1, max_length=MAX_CONTEXT
    )


class Accepted(BaseModel):
    """The context is stored; the release that stems from it will have at least this version."""

    version: int


class NewRelease(BaseModel):
    """A signed release: JWS compact, ES256."""

    release: str


class PushRequest(BaseModel):
    """Which devices to push to; without a list, every device that has uploaded a context."""

    devices: list[Annotated[str, Field(max_length=64)]] | None = None


class Pushed(BaseModel):
    """The version that each device will get, from the last context that it uploaded."""

    versions: dict[str, int]


router = APIRouter(prefix="/v1", responses={401: {"description": "Not authorised"}})
bearer = HTTPBearer(description="A device's token, the enrolment key or the operator key")
Credentials = Annotated[HTTPAuthorizationCredentials, Depends(bearer)]


async def _service(request: Request) -> Service:
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


ServiceOf = Annotated[Service, Depends(_service)]


def hash_token(token: str) -> str:
    """What is kept of a secret: its SHA-256 in hex. 256 random bits need no salt and no stretching."""
    return hashlib.sha256(token.encode()).hexdigest()


def _matches(secret: str, expected_sha256: str) -> bool:
    return hmac.compare_digest(hash_token(secret), expected_sha256)


def _unauthorised() -> HTTPException:
    return HTTPException(401, "not authorised", {"WWW-Authenticate": "Bearer"})


async def _enroller(service: ServiceOf, given: Credentials) -> None:
    if not _matches(given.credentials, hash_token(service.enrolment_key)):
        raise _unauthorised()


async def _operator(service: ServiceOf, given: Credentials) -> None:
    if not _matches(given.credentials, hash_token(service.operator_key)):
        raise _unauthorised()


async def _caller(service: ServiceOf, given: Credentials) -> str:
    """The device whose token this is: `DEVICE.SECRET`, so that its row is found without comparing secrets."""
    device = given.credentials.partition(".")[0]
    expected = await run_in_threadpool(service.database.token_sha256, device)
    if expected is None or not _matches(given.credentials, expected):
        raise _unauthorised()
    return device


Caller = Annotated[str, Depends(_caller)]


async def _own_device(device: str, caller: Caller) -> str:
    """The device of the path, which must be the caller; the refusal does not tell whether another exists."""
    if device != caller:
        raise HTTPException(403, "the token is of another device")
    return device


OwnDevice = Annotated[str, Depends(_own_device)]


@router.post("/devices", status_code=201, dependencies=[Depends(_enroller)])
def enrol(service: ServiceOf, body: EnrolRequest) -> Enrolment:
    """Enrol a new device; needs the enrolment key."""
    if body.bundle != service.bundle:
        raise HTTPException(409, f"this server generates for bundle {service.bundle}, not {body.bundle}")
    device = secrets.token_hex(8)
    token = f"{device}.{secrets.token_urlsafe(32)}"
    service.database.add_device(device, hash_token(token), body.bundle)
    return Enrolment(device=device, token=token, keys=service.jwks)


@router.post("/devices/{device}/context", status_code=202)
def upload_context(service: ServiceOf, device: OwnDevice, body: Samples) -> Accepted:
    """Store a context, durably; a release generated from it follows."""
    try:
        return Accepted(version=service.publisher.accept(device, body.samples))
    except ValueError as error:
        raise HTTPException(422, str(error)) from error


@router.get(
    "/devices/{device}/release",
    response_model=NewRelease,
    responses={204: {"description": "Nothing newer yet"}},
)
async def newest_release(
    service: ServiceOf,
    device: OwnDevice,
    after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    timeout: Annotated[float, Query(ge=0, description=f"seconds, at most {MAX_POLL_S:.0f}")] = 25.0,
) -> Response:
    """Wait until the device has a release newer than `after`: 200 with it, or 204 when `timeout` passed.

    A wait asks the database once, at its start; after that the publisher hands it the release, so that it costs
    nothing. The release of another process on the same database is found by the next poll.
    """
    # Registered before the look, so that no release falls between the look and the wait.
    with service.waiting.registered(device) as poll:
        jws = await run_in_threadpool(service.database.release_after, device, after, int(time.time()))
        if jws is None:
            published = await poll.newer_than(after, min(timeout, MAX_POLL_S))
            jws = None if published is None else published.jws
    # A Response, so that FastAPI does not check what was built here.
    return Response(status_code=204) if jws is None else JSONResponse({"release": jws})


@router.get("/packs/{sha256}", response_class=FileResponse)
def pack(
    service: ServiceOf,
    caller: Caller,
    sha256: Annotated[str, Path(pattern="^[0-9a-f]{64}$")],
    range_: Annotated[str | None, Header(alias="Range")] = None,
) -> Response:
    """The bytes of a pack that a release of the calling device names; a cut download goes on by `Range`."""
    if not service.database.has_pack(caller, sha256):
        raise HTTPException(404, "no such pack")
    path = service.packs.path(sha256)
    kind, headers = "application/octet-stream", {"Cache-Control": "private, immutable, max-age=31536000"}
    try:
        if range_ is None and path.stat().st_size <= SMALL_PACK_BYTES:
            # Read in this thread: a FileResponse costs three more.
            return Response(path.read_bytes(), media_type=kind, headers=headers | {"Accept-Ranges": "bytes"})
        return FileResponse(path, media_type=kind, headers=headers, stat_result=path.stat())
    except FileNotFoundError as error:  # two newer releases came since the look
        raise HTTPException(404, "no such pack") from error


@router.post("/push", status_code=202, dependencies=[Depends(_operator)])
def push(service: ServiceOf, body: PushRequest) -> Pushed:
    """Generate and release anew from the devices' last contexts; needs the operator key."""
    try:
        return Pushed(versions=service.publisher.push(body.devices))
    except LookupError as error:
        raise HTTPException(404, str(error)) from error


@router.get("/healthz", responses={503: {"description": "The database or the generator fails"}})
def health(service: ServiceOf, response: Response) -> dict[str, str]:
    """Whether the database answers and the last generation went well."""
    state = {"database": "ok", "generation": "failing" if service.publisher.last_failed else "ok"}
    try:
        service.database.ping()
    except SQLAlchemyError:
        state["database"] = "unreachable"
    if set(state.values()) != {"ok"}:
        response.status_code = 503
    return state | {"bundle": service.bundle}


def create_app(service: Service) -> FastAPI:
    """The ASGI application around a service; it takes up unfinished work at start and stops cleanly."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(service.publisher.start)
        yield
        await run_in_threadpool(service.publisher.close)
        service.database.close()

    service.metrics.watch_waiting(lambda: len(service.waiting))
    # Nobody here listens to OpenTelemetry, and asking for its providers took 5 % of each request.
    silent: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
    app = FastAPI(title="mnet", version="1", lifespan=lifespan, telemetry=silent)
    app.state.service = service
    app.add_middleware(BodyLimit, limit=MAX_BODY_BYTES)
    app.add_middleware(MeasuredRequests, metrics=service.metrics)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.include_router(router)
    app.add_api_route("/metrics", metrics, response_class=Response)
    return app


async def metrics(service: ServiceOf) -> Response:
    """Figures for Prometheus; they name no device."""
    return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    """422 that says where and why, without the input: a context is nobody's to repeat."""
    assert isinstance(error, RequestValidationError)
    faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:5]]
    return JSONResponse({"detail": "; ".join(faults)}, 422)
