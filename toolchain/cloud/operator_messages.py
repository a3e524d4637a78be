"""What operators and the service say to each other, as JSON; checked field by field."""

from typing import Annotated, Self

from pydantic import BaseModel, Field, model_validator

from mnet.toolchain.cloud.auth import BUNDLE_ID, DEVICE_ID, CohortName, MetricName, OperatorName
from mnet.toolchain.cloud.experiment import Experiment, HeldOn
from mnet.toolchain.contract.measurement import LARGEST

Percent = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]
DeviceIds = Annotated[list[Annotated[str, Field(pattern=f"^{DEVICE_ID.pattern}$")]], Field(min_length=1)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class PushRequest(BaseModel):
    """Which devices to push to, those of a list, of a cohort, or all, and what share of them first.

    With a `pack`, by its SHA-256, each that runs its bundle gets that one; without, each that has uploaded a context
    gets new weights from it. The roll-out stops by itself when three phones or more, and surely more than the share
    `stop_above`, refuse it.

    `hold_out` percent of the devices that it reaches keep the weights that they had, or the default weights, to compare
    with. The roll-out stops by itself when `metric` is surely lower than theirs by more than `stop_below`, as -0.05.
    """

    devices: DeviceIds | None = None
    cohort: CohortName | None = None
    pack: Sha256 | None = None
    percent: Percent = 100.0
    stop_above: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.01
    hold_out: Annotated[float, Field(ge=0, lt=100, allow_inf_nan=False)] = 0.0
    held_on: HeldOn = "previous"
    metric: MetricName | None = None
    stop_below: Annotated[float, Field(lt=0, ge=-2 * LARGEST, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _can_be_compared(self) -> Self:
        if (self.metric is None) != (self.stop_below is None):
            raise ValueError("metric and stop_below go together: give both, or neither")
        if self.metric is not None and self.hold_out == 0:
            raise ValueError("without hold_out there is nobody to compare with, and nothing to stop by")
        return self

    @property
    def experiment(self) -> Experiment:
        """Who is held out, and what stops it."""
        return Experiment(self.hold_out, self.held_on, self.metric, self.stop_below)


class ReachRequest(BaseModel):
    """The devices of a push as of `PushRequest`; of a pack, if the `bundle` that it is for is given."""

    devices: DeviceIds | None = None
    cohort: CohortName | None = None
    bundle: Annotated[str, Field(pattern=BUNDLE_ID)] | None = None


class Stored(BaseModel):
    """A pack that is ready to be pushed, and the bundle that it is for."""

    sha256: str
    bundle: str
    size: int


class Members(BaseModel):
    """Devices that join a cohort, and leave the one that they were in."""

    devices: DeviceIds


class Joined(BaseModel):
    """How many devices get the newest pack pushed to the cohort, or to all, which had not reached them."""

    reached: int


class Reach(BaseModel):
    """What a push to 100 percent would reach: how many devices, and how many by the bundle that they run."""

    devices: int
    bundles: dict[str, int]


class ExtendRequest(BaseModel):
    """The share of the devices that a roll-out is to reach now."""

    percent: Percent


class Pushed(BaseModel):
    """The number of a roll-out. The service brings its devices there from now on; `GET /v1/rollouts/{rollout}` says how
    far it is. While it `awaits_approval`, a larger share of its devices waits for a second operator.
    """

    rollout: int
    awaits_approval: bool


class NewOperator(BaseModel):
    """The name of an operator, as it will be in the audit log."""

    name: OperatorName


class OperatorKey(BaseModel):
    """The key of a new operator, which is shown this once."""

    name: str
    key: str


class AuditCheck(BaseModel):
    """Hashes of the newest entries of the audit log, as an earlier check gave them."""

    noted: Annotated[list[Sha256], Field(max_length=1000)] = []


class RolledBack(BaseModel):
    """`begun` is false where the roll-out was rolled back before."""

    rollout: int
    begun: bool


class RolloutStatus(BaseModel):
    """A roll-out, how many devices it asked for, how many of them wait, how many releases it made, and
    how many devices are held out of it.

    `state` is `running`, `done` (nothing is left to do, until it is extended), `awaits approval`, `stopped`,
    `rolling back` or `rolled back`; `outcomes` counts what phones reported. `proposed` is the percentage that the
    operator `proposed_by` wants and a second one has to approve.
    """

    id: int
    percent: float
    proposed: float | None
    proposed_by: str | None
    stop_above: float
    state: str
    started_at: float
    reached: int
    waiting: int
    released: int
    hold_out: float
    held_out: int
    outcomes: dict[str, int]
