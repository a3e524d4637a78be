"""The calls of operators, `/v1`; each needs the operator key, and what changes the fleet is in the audit log."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query
from pydantic import BaseModel, Field

from mnet.toolchain.cloud.auth import DEVICE_ID, DeviceId, operator
from mnet.toolchain.cloud.rollouts import Conflict, Stage
from mnet.toolchain.cloud.service import Service, ServiceOf

Percent = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]
RolloutId = Annotated[int, Field(ge=1, lt=2**31)]


class PushRequest(BaseModel):
    """Which devices to push to (all that have uploaded a context, without a list), and what share of them first.

    The roll-out stops by itself when three phones or more, and surely more than the share `stop_above`, refuse it.
    """

    devices: list[Annotated[str, Field(pattern=f"^{DEVICE_ID.pattern}$")]] | None = Field(None, min_length=1)
    percent: Percent = 100.0
    stop_above: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.01


class ExtendRequest(BaseModel):
    """The share of the devices that a roll-out is to reach now."""

    percent: Percent


class Pushed(BaseModel):
    """The roll-out, and the version that each device of this stage will get."""

    rollout: int
    versions: dict[str, int]


class RolloutStatus(BaseModel):
    """A roll-out; `state` is `running`, `stopped` or `rolled back`, `outcomes` counts what phones reported."""

    id: int
    percent: float
    stop_above: float
    state: str
    started_at: float
    released: int
    outcomes: dict[str, int]


router = APIRouter(
    prefix="/v1",
    tags=["operators"],
    dependencies=[Depends(operator)],
    responses={401: {"description": "Not authorised"}},
)


def _queued(service: Service, stage: Stage) -> Pushed:
    service.publisher.queue(stage.versions, later=True)
    return Pushed(rollout=stage.rollout, versions=stage.versions)


@router.post("/push", status_code=202)
def push(service: ServiceOf, body: PushRequest) -> Pushed:
    """Start a roll-out: generate and release again from the devices' last contexts."""
    try:
        return _queued(service, service.rollouts.start(body.devices, body.percent, body.stop_above))
    except LookupError as error:
        raise HTTPException(404, str(error)) from error


@router.get("/rollouts/{rollout}")
def rollout_status(service: ServiceOf, rollout: RolloutId) -> RolloutStatus:
    """How far a roll-out is, and what its phones say."""
    try:
        return RolloutStatus(**service.rollouts.status(rollout))
    except LookupError as error:
        raise HTTPException(404, str(error)) from error


@router.post("/rollouts/{rollout}", status_code=202)
def extend(service: ServiceOf, rollout: RolloutId, body: ExtendRequest) -> Pushed:
    """Reach a larger share; 409 if the roll-out was stopped or rolled back."""
    try:
        return _queued(service, service.rollouts.extend(rollout, body.percent))
    except LookupError as error:
        raise HTTPException(404, str(error)) from error
    except Conflict as error:
        raise HTTPException(409, str(error)) from error


@router.post("/rollouts/{rollout}/rollback", status_code=202)
def roll_back(service: ServiceOf, rollout: RolloutId) -> Pushed:
    """Bring back, as new versions, the weights that the roll-out replaced."""
    try:
        return _queued(service, service.rollouts.roll_back(rollout))
    except LookupError as error:
        raise HTTPException(404, str(error)) from error


@router.delete("/devices/{device}/token", status_code=204)
def revoke(service: ServiceOf, device: DeviceId) -> None:
    """Make a device's token worthless: it must be enrolled again."""
    if not service.registry.revoke(device):
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
