"""What phones and the service say to each other, as JSON; checked field by field."""

import json
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, Discriminator, Field, Tag, model_validator

from mnet.export.format.packs import MAX_VERSION
from mnet.toolchain.cloud.auth import BUNDLE_ID, CohortName, MetricName
from mnet.toolchain.contract.measurement import LARGEST, METRICS, RELEASES, Totals

MAX_BUNDLES = 8

BundleId = Annotated[str, Field(pattern=BUNDLE_ID)]


class EnrolRequest(BaseModel):
    """A phone asks to be known, with the bundle that it runs, and the cohort that it belongs to, if any."""

    bundle: BundleId
    cohort: CohortName | None = None


class Enrolment(BaseModel):
    """The token is shown once and kept nowhere; `keys` is the JWKS that the phone pins, of statement `number`.

    Where the server has `roots` (`keys`, a JWKS, and `threshold`), so many of them alone vouch for other keys later.
    """

    device: str
    token: str
    keys: dict[str, Any]
    number: int
    epoch: int
    roots: dict[str, Any] | None


class Bundles(BaseModel):
    """Every bundle that a phone runs, as before and after an update of its app; its main one first."""

    bundles: list[BundleId] = Field(min_length=1, max_length=MAX_BUNDLES)


ItemId = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
Vector = Annotated[list[Annotated[float, Field(strict=True, allow_inf_nan=False)]], Field(min_length=1)]


def _as_json(value: Any) -> Any:
    """What a database can keep as JSON: numbers are finite, and no text holds half of a surrogate pair."""
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value


Text = Annotated[str, Field(strict=True, min_length=1)]
Object = Annotated[dict[str, Any], AfterValidator(_as_json)]
KINDS: dict[type, str] = {list: "vectors", str: "texts", dict: "objects"}


def _kind(samples: Any) -> str:
    """Chosen by the first sample, so that an error is about the kind of sample that was meant."""
    return KINDS.get(type(samples[0]), "ids") if isinstance(samples, list) and samples else "ids"


class Samples(BaseModel):
    """A context: the unlabelled samples of a device, oldest first, all of one kind.

    Item ids, vectors such as those of images, texts, or objects of whatever the task reads.
    """

    samples: Annotated[
        Annotated[list[ItemId], Field(min_length=1), Tag("ids")]
        | Annotated[list[Vector], Field(min_length=1), Tag("vectors")]
        | Annotated[list[Text], Field(min_length=1), Tag("texts")]
        | Annotated[list[Object], Field(min_length=1), Tag("objects")],
        Discriminator(_kind),
    ]


class Accepted(BaseModel):
    """The context is stored; the release that stems from it will have at least this version."""

    version: int


class NewRelease(BaseModel):
    """A signed release: JWS compact, ES256."""

    release: str


class Report(BaseModel):
    """What a phone did with a release: `taken`, or the name of the reason for which it refused.

    `stale`: for a day no server has confirmed that the version it runs (0: the default weights) is the newest.
    """

    version: Annotated[int, Field(ge=0, le=MAX_VERSION)]
    outcome: str = Field(max_length=64)
    bundle: BundleId | None = None


class MeasuredTotals(BaseModel):
    """All values of a metric under one version so far: how many, their sum, and the sum of their squares."""

    version: Annotated[int, Field(strict=True, ge=1, le=MAX_VERSION)]
    metric: MetricName
    count: Annotated[int, Field(strict=True)]
    sum: Annotated[float, Field(strict=True, allow_inf_nan=False)]
    squares: Annotated[float, Field(strict=True, allow_inf_nan=False)]

    @model_validator(mode="after")
    def _are_possible(self) -> Self:
        if not self.totals.possible:
            raise ValueError(f"no {self.count} values within {LARGEST:,.0f} of zero have these totals")
        return self

    @property
    def totals(self) -> Totals:
        """Without what they are of."""
        return Totals(self.count, self.sum, self.squares)


class Measured(BaseModel):
    """What an app measured, as totals: to send them again, or older ones, changes nothing."""

    bundle: BundleId
    totals: Annotated[list[MeasuredTotals], Field(max_length=RELEASES * METRICS)]


class KeyStatements(BaseModel):
    """The server's public keys, signed once by each of them: JWS compact of `keys` (JWKS), `number` and `iat`."""

    statements: list[str]
