"""The calls of operators, `/v1`; each needs the key of one, who is named in the audit log by what changes the fleet."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from mnet.export.format.errors import Refused
from mnet.export.format.packs import pack_digest, unpack
from mnet.toolchain.cloud.auth import (
    ByBootstrap,
    ByOperator,
    CohortName,
    DeviceId,
    MetricName,
    OperatorName,
    operator,
)
from mnet.toolchain.cloud.comparison import Comparison
from mnet.toolchain.cloud.fleet import look
from mnet.toolchain.cloud.operator_messages import (
    AuditCheck,
    ExtendRequest,
    Joined,
    Members,
    NewOperator,
    OperatorKey,
    Pushed,
    PushRequest,
    Reach,
    ReachRequest,
    RolledBack,
    RolloutStatus,
    Sha256,
    Stored,
)
from mnet.toolchain.cloud.pack_store import SHARED
from mnet.toolchain.cloud.rollouts import Conflict
from mnet.toolchain.cloud.scope import SharedPack
from mnet.toolchain.cloud.service import Service, ServiceOf

RolloutId = Annotated[int, Field(ge=1, lt=2**31)]

router = APIRouter(
    prefix="/v1",
    tags=["operators"],
    dependencies=[Depends(operator)],
    responses={401: {"description": "Not authorised"}},
)


@contextmanager
def refusing() -> Iterator[None]:
    """404 for what is not there, 409 for what is in no state for this."""
    try:
        yield
    except LookupError as error:
        raise HTTPException(404, str(error)) from error
    except Conflict as error:
        raise HTTPException(409, str(error)) from error


@router.post("/push", status_code=202)
def push(service: ServiceOf, body: PushRequest, by: ByOperator) -> Pushed:
    """Start a roll-out: of a pack, or of what is generated again from the devices' last contexts.

    One that is larger than the server lets one operator decide waits until a second one approves it.
    """
    with refusing():
        pack = None if body.pack is None else SharedPack(body.pack, _bundle_of(service, body.pack))
        rollout = service.rollouts.start(
            body.devices,
            body.percent,
            body.stop_above,
            cohort=body.cohort,
            pack=pack,
            experiment=body.experiment,
            by=by,
        )
    return _begun(service, rollout)


def _begun(service: Service, rollout: int) -> Pushed:
    """The answer to what changes a roll-out, which the service works on from now on."""
    service.reconciler.wake()
    return Pushed(rollout=rollout, awaits_approval=service.rollouts.awaits_approval(rollout))


@router.post("/reach")
def reach(service: ServiceOf, body: ReachRequest) -> Reach:
    """Say which devices a push would reach, counted, and push nothing."""
    with refusing():
        found = service.rollouts.reach_of(body.devices, cohort=body.cohort, bundle=body.bundle)
    return Reach(devices=found.devices, bundles=found.bundles)


@router.put("/packs/{sha256}", status_code=201)
async def store_pack(service: ServiceOf, request: Request, sha256: Annotated[Sha256, Path()]) -> Stored:
    """Store a pack, to be pushed: once, for however many devices. One that nobody pushes is deleted in an hour.

    422 for what a device of its bundle would refuse by looks; 409 if the bundle is not served here.
    """
    data = await request.body()
    if pack_digest(data) != sha256:
        raise HTTPException(422, "the body is not the pack of this SHA-256")
    try:
        bundle = unpack(data)[0].bundle
        if bundle not in service.publisher.generators:
            raise HTTPException(409, f"bundle {bundle} is not served here")
        service.publisher.generators[bundle].checked(data)
    except Refused as error:
        raise HTTPException(422, str(error)) from error
    await run_in_threadpool(service.packs.put_all, [(SHARED, data)])
    return Stored(sha256=sha256, bundle=bundle, size=len(data))


def _bundle_of(service: Service, sha256: str) -> str:
    try:
        return unpack(service.packs.read(SHARED, sha256))[0].bundle
    except FileNotFoundError:
        raise LookupError(f"pack {sha256} is not stored here: send it first") from None


@router.put("/cohorts/{cohort}")
def join(service: ServiceOf, cohort: Annotated[CohortName, Path()], body: Members, by: ByOperator) -> Joined:
    """Make devices members of a cohort; they get the newest pack that was pushed to it."""
    with refusing():
        service.registry.join(cohort, body.devices, by)
    versions = service.rollouts.reach(body.devices)
    service.publisher.queue(versions, later=True)
    return Joined(reached=len(versions))


@router.get("/cohorts")
def cohorts(service: ServiceOf) -> dict[str, int]:
    """Every cohort, and how many devices it has."""
    return service.registry.cohorts()


@router.get("/rollouts/{rollout}")
def rollout_status(service: ServiceOf, rollout: RolloutId) -> RolloutStatus:
    """How far a roll-out is, and what its phones say."""
    with refusing():
        return RolloutStatus(**service.rollouts.status(rollout))


@router.get("/rollouts/{rollout}/comparison")
def comparison(service: ServiceOf, rollout: RolloutId, metric: MetricName | None = None) -> list[Comparison]:
    """What apps measured, on the devices that a roll-out reached and on those held out of it.

    Each difference comes with an interval that holds at every moment, however often it is looked at.
    """
    with refusing():
        return service.comparisons.compare(rollout, metric)


@router.post("/rollouts/{rollout}", status_code=202)
def extend(service: ServiceOf, rollout: RolloutId, body: ExtendRequest, by: ByOperator) -> Pushed:
    """Reach a larger share; 409 if the roll-out was stopped or rolled back."""
    with refusing():
        service.rollouts.extend(rollout, body.percent, by)
    return _begun(service, rollout)


@router.post("/rollouts/{rollout}/approve", status_code=202)
def approve(service: ServiceOf, rollout: RolloutId, by: ByOperator) -> Pushed:
    """Have the larger share that another operator proposed be reached; 409 to that operator, or if none is proposed."""
    with refusing():
        service.rollouts.approve(rollout, by)
    return _begun(service, rollout)


@router.post("/rollouts/{rollout}/stop", status_code=202)
def stop(service: ServiceOf, rollout: RolloutId, by: ByOperator) -> Pushed:
    """Reach nobody more, and withhold what phones have not fetched; 409 unless it is running."""
    with refusing():
        service.rollouts.stop(rollout, by)
    return _begun(service, rollout)


@router.post("/rollouts/{rollout}/rollback", status_code=202)
def roll_back(service: ServiceOf, rollout: RolloutId, by: ByOperator) -> RolledBack:
    """Bring back, as new versions, the weights that the roll-out replaced."""
    with refusing():
        begun = service.rollouts.roll_back(rollout, by)
    service.reconciler.wake()
    return RolledBack(rollout=rollout, begun=begun)


@router.get("/fleet")
def fleet(service: ServiceOf) -> dict[str, Any]:
    """The devices by version and bundle, the stale ones, and the newest roll-outs."""
    return asdict(look(service.database, service.rollouts))


@router.delete("/devices/{device}/token", status_code=204)
def revoke(service: ServiceOf, device: DeviceId, by: ByOperator) -> None:
    """Make a device's token worthless: it must be enrolled again."""
    if not service.registry.revoke(device, by):
        raise HTTPException(404, f"there is no device {device}")


@router.get("/devices/{device}/releases")
def history(service: ServiceOf, device: DeviceId) -> list[dict[str, Any]]:
    """The releases of a device, newest first, with what it reported."""
    return service.ledger.history(device)


@router.get("/audit")
def audit(
    service: ServiceOf,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[int | None, Query(ge=1, lt=2**31)] = None,
) -> list[dict[str, Any]]:
    """What was done to the fleet, newest first; older entries with `before` set to the last id seen."""
    return service.audit.newest(limit, before)


@router.post("/audit/check")
def check_audit(service: ServiceOf, body: AuditCheck) -> dict[str, Any]:
    """Compute the hash of each entry of the audit log again, and say which were changed or are missing."""
    return asdict(service.audit.check(body.noted))


@router.get("/operators")
def operators(service: ServiceOf) -> list[dict[str, Any]]:
    """The operators that have a name and a key of their own."""
    return service.operators.all()


@router.post("/operators", status_code=201)
def add_operator(service: ServiceOf, body: NewOperator, by: ByBootstrap) -> OperatorKey:
    """Give an operator a key of their own; 409 for a name that is taken. Only the key in the server's folder may."""
    try:
        return OperatorKey(name=body.name, key=service.operators.add(body.name, by))
    except ValueError as error:
        raise HTTPException(409, str(error)) from error


@router.delete("/operators/{name}", status_code=204)
def remove_operator(service: ServiceOf, name: Annotated[OperatorName, Path()], by: ByBootstrap) -> None:
    """Make the key of an operator worthless. Only the key in the server's folder may."""
    if not service.operators.remove(name, by):
        raise HTTPException(404, f"there is no operator {name}")
