"""The calls of phones, `/v1`: packs are bytes, all else is JSON, an error is `{"detail": text}`.

A thousand phones poll at once, so that what need not block runs on the event loop, without a thread.
"""

import re
import secrets
import time
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Header, HTTPException, Path, Query, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from mnet.export.format.errors import Reason
from mnet.export.format.packs import MAX_VERSION
from mnet.toolchain.cloud.auth import (
    BUNDLE_ID,
    AnyDevice,
    ByOwnerOrOperator,
    DeviceId,
    Enroller,
    OwnDevice,
    not_authorised,
)
from mnet.toolchain.cloud.phone_messages import (
    Accepted,
    Bundles,
    Enrolment,
    EnrolRequest,
    KeyStatements,
    Measured,
    NewRelease,
    Report,
    Samples,
)
from mnet.toolchain.cloud.rollouts import TAKEN
from mnet.toolchain.cloud.service import Service, ServiceOf
from mnet.toolchain.cloud.tokens import hash_token
from mnet.toolchain.contract.freshness import HEADER, NOT_MADE, nothing_newer

MAX_POLL_S = 60.0
STALE = "stale"
_OUTCOMES = {TAKEN, STALE, *Reason}

router = APIRouter(prefix="/v1", tags=["phones"], responses={401: {"description": "Not authorised"}})


def _check_served(service: Service, bundles: list[str]) -> None:
    generators = service.publisher.generators
    for bundle in bundles:
        if bundle not in generators:
            raise HTTPException(
                409, f"this server generates for bundle {', '.join(generators)}, not {bundle}"
            )


@router.post("/devices", status_code=201)
def enrol(service: ServiceOf, permission: Enroller, body: EnrolRequest) -> Enrolment:
    """Enrol a new device; needs the enrolment key or, where the server has `issuers.json`, a back end's permission."""
    _check_served(service, [body.bundle])
    service.rates.check("enrol")
    device = secrets.token_hex(8)
    token = service.tokens.issue(device, body.bundle, time.time())
    keyring = service.publisher.keyring
    stated = keyring.stated
    cohort = body.cohort if permission is None or permission.cohort is None else permission.cohort
    try:
        service.registry.enrol(
            device, hash_token(token), body.bundle, stated.number, cohort, permission=permission
        )
    except PermissionError as error:
        raise not_authorised() from error
    service.publisher.queue(service.rollouts.reach([device]))
    roots = None if stated.roots is None else asdict(stated.roots)
    return Enrolment(
        device=device, token=token, keys=keyring.jwks, number=stated.number, epoch=stated.epoch, roots=roots
    )


@router.delete("/devices/{device}", status_code=204)
def erase(service: ServiceOf, device: DeviceId, by: ByOwnerOrOperator) -> None:
    """Delete a device with its context, releases and packs; by its own token or an operator's key."""
    if not service.registry.erase(device, "device" if by is None else "operator", by):
        raise HTTPException(404, f"there is no device {device}")
    service.packs.discard_device(device)


@router.put("/devices/{device}/bundles")
def install(service: ServiceOf, device: OwnDevice, body: Bundles) -> Bundles:
    """Say which bundles the device runs; its last context gives weights for those that are new."""
    _check_served(service, body.bundles)
    service.rates.check("install", device.device)
    try:
        service.registry.install(device.device, body.bundles)
    except LookupError as error:  # erased since its token was looked at
        raise not_authorised() from error
    service.publisher.queue([device.device, *service.rollouts.reach([device.device])])
    return body


@router.post("/devices/{device}/context", status_code=202)
def upload_context(service: ServiceOf, device: OwnDevice, body: Samples) -> Accepted:
    """Store a context, durably; releases generated from it follow, one for each bundle of the device."""
    if len(body.samples) > service.limits.context:
        raise HTTPException(422, f"body.samples: at most {service.limits.context} items")
    service.rates.check("upload", device.device)
    try:
        return Accepted(version=service.publisher.accept(device.device, body.samples))
    except ValueError as error:
        raise HTTPException(422, str(error)) from error
    except LookupError as error:
        raise HTTPException(409, str(error)) from error


@router.get(
    "/devices/{device}/release",
    response_model=NewRelease,
    responses={
        204: {
            "description": "Nothing newer yet",
            "headers": {
                HEADER: {"description": "A JWS that says so, for a day", "schema": {"type": "string"}},
                NOT_MADE: {
                    "description": "The version that did not come of the last context: it could not be read",
                    "schema": {"type": "integer"},
                },
            },
        }
    },
)
async def newest_release(
    service: ServiceOf,
    device: OwnDevice,
    after: Annotated[int, Query(ge=0, le=MAX_VERSION)] = 0,
    timeout: Annotated[
        float, Query(ge=0, allow_inf_nan=False, description=f"seconds, at most {MAX_POLL_S:.0f}")
    ] = 25.0,
    bundle: Annotated[str | None, Query(pattern=BUNDLE_ID, description="its main one unless given")] = None,
    keys: Annotated[
        int | None, Query(ge=0, le=MAX_VERSION, description="the statement of keys that the phone has learnt")
    ] = None,
) -> Response:
    """Wait until the device has a release newer than `after`: 200 with it, or 204 when `timeout` passed.

    A 204 brings a signed statement that there is nothing newer, so that a phone knows whether it may be stale.

    A wait asks the database once, at its start; after that the release is handed to it, so that it costs nothing.
    """
    key = device.device, bundle or device.bundle
    if keys is not None and keys != device.keys:
        await run_in_threadpool(service.registry.learnt, device.device, keys)
    if after > device.version:
        await run_in_threadpool(service.catch_up, device.device, after)
    # Registered before the look, so that no release falls between the look and the wait.
    with service.long_polls.registered(key) as poll:
        jws = await run_in_threadpool(service.ledger.release_after, *key, after)
        if jws is None:
            published = await poll.newer_than(after, min(timeout, MAX_POLL_S))
            jws = None if published is None else published.jws
    # A Response, so that FastAPI does not check what was built here.
    if jws is not None:
        return JSONResponse({"release": await run_in_threadpool(service.publisher.signed_now, jws)})
    # Not in the loop of all requests: a key in an HSM takes its time.
    signing = service.publisher.keyring.signing
    statement = await run_in_threadpool(nothing_newer, signing, *key, after, int(time.time()))
    headers = {HEADER: statement}
    if device.failures:
        headers[NOT_MADE] = str(device.version)
    return Response(status_code=204, headers=headers)


@router.post("/devices/{device}/reports", status_code=204)
def report(service: ServiceOf, device: OwnDevice, body: Report) -> None:
    """Report what became of a release; too many refusals stop the roll-out that it belongs to."""
    if body.outcome not in _OUTCOMES:
        raise HTTPException(422, f"body.outcome: one of {', '.join(sorted(_OUTCOMES))}")
    service.rates.check("report", device.device)
    service.metrics.reports.labels(body.outcome).inc()
    if body.outcome == STALE:
        return  # of the phone's connection, and nothing that the release did
    bundle, fetched = body.bundle or device.bundle, service.fetches.take(device.device)
    if body.outcome == TAKEN:
        waited = service.ledger.waited(device.device, bundle, body.version)
        if waited is not None:
            service.metrics.until_taken.observe(waited)
    service.rollouts.report(device.device, bundle, body.version, body.outcome, fetched)


@router.put("/devices/{device}/measurements", status_code=204)
def measured(service: ServiceOf, device: OwnDevice, body: Measured) -> None:
    """Keep the totals of what the app measured under releases that the device was given; the rest is dropped."""
    service.rates.check("report", device.device)
    totals = {(each.version, each.metric): each.totals for each in body.totals}
    service.measurements.keep(device.device, body.bundle, totals)


@router.get(
    "/packs/{sha256}",
    response_class=Response,
    responses={206: {"description": "The part that `Range` asks for"}, 416: {"description": "No such part"}},
)
def pack(
    service: ServiceOf,
    caller: AnyDevice,
    sha256: Annotated[str, Path(pattern="^[0-9a-f]{64}$")],
    range_: Annotated[str | None, Header(alias="Range")] = None,
) -> Response:
    """The bytes of a pack that a release of the calling device names; an interrupted download resumes by `Range`."""
    try:
        owner = service.ledger.pack_owner(caller.device, sha256)
        if owner is None:
            raise FileNotFoundError
        data = _read_pack(service, caller.device, owner, sha256)
    except FileNotFoundError as error:  # or two newer releases came since the look
        raise HTTPException(404, "no such pack") from error
    service.fetches.note(caller.device, sha256)
    headers = {"Cache-Control": "private, immutable, max-age=31536000", "Accept-Ranges": "bytes"}
    # The one kind of range that a cut download needs; any other is ignored, as RFC 9110 allows.
    rest = re.fullmatch(r"bytes=(\d{1,15})-", range_ or "")
    if rest is None:
        return Response(data, media_type="application/octet-stream", headers=headers)
    start = int(rest[1])
    if start >= len(data):
        raise HTTPException(416, "the pack ends before", {"Content-Range": f"bytes */{len(data)}"})
    headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
    return Response(data[start:], 206, media_type="application/octet-stream", headers=headers)


def _read_pack(service: Service, device: str, owner: str, sha256: str) -> bytes:
    try:
        return service.packs.read(owner, sha256)
    except FileNotFoundError:
        if service.ledger.pack_owner(device, sha256) is not None:  # no newer release took its place meanwhile
            service.publisher.lost(device, owner, sha256)
        raise


@router.get("/keys")
def keys(service: ServiceOf) -> KeyStatements:
    """The keys that sign releases now; public, for a device believes a statement by its signature."""
    return KeyStatements(statements=service.publisher.keyring.statements(int(time.time())))
