"""Who may call what: a phone by its token, an enrolment by the enrolment key, an operator by a key of their own."""

import hmac
import re
import time
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, HTTPException, Path
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import Field
from sqlalchemy.exc import DatabaseError
from starlette.concurrency import run_in_threadpool

from mnet.toolchain.cloud.database import OUTAGE
from mnet.toolchain.cloud.operators import BOOTSTRAP
from mnet.toolchain.cloud.service import Service, ServiceOf
from mnet.toolchain.cloud.tokens import hash_token
from mnet.toolchain.contract.enrolment import Permission, read_permission
from mnet.toolchain.contract.measurement import METRIC

DEVICE_ID = re.compile("[0-9A-Za-z_]{1,64}")
DeviceId = Annotated[str, Path(pattern=f"^{DEVICE_ID.pattern}$")]
_NAME = "^[0-9A-Za-z_.-]{1,64}$"
CohortName = Annotated[str, Field(pattern=_NAME)]
OperatorName = Annotated[str, Field(pattern=_NAME)]
MetricName = Annotated[str, Field(pattern=f"^{METRIC}$")]
BUNDLE_ID = "^[!-~]{1,64}$"
bearer = HTTPBearer(description="A device's token, the enrolment key or an operator's key")
Credentials = Annotated[HTTPAuthorizationCredentials, Depends(bearer)]


@dataclass(frozen=True)
class Caller:
    """A device that has shown its token; `bundle` is the one whose releases it is given unless it names another.

    `keys` is the number of the statement of keys that it was last known to have learnt, `version` the last that the
    server knows it to have been given, `failures` how often no weights came of what it sent last.
    """

    device: str
    bundle: str
    keys: int
    version: int
    failures: int


def _matches(secret: str, expected_sha256: str) -> bool:
    return hmac.compare_digest(hash_token(secret), expected_sha256)


def not_authorised() -> HTTPException:
    """The answer to whoever shows no right secret, or none that is known."""
    return HTTPException(401, "not authorised", {"WWW-Authenticate": "Bearer"})


async def operator_of(service: Service, secret: str) -> str | None:
    """The name of the operator whose key this is; None for any other secret."""
    if _matches(secret, hash_token(service.keys.operator)):
        return BOOTSTRAP
    return await run_in_threadpool(service.operators.holder, secret)


async def enroller(service: ServiceOf, given: Credentials) -> Permission | None:
    """The permission of a back end, where the server asks for one; else 401 without the enrolment key."""
    permission = _permission(service, given.credentials)
    if permission is None and not _may_enrol(service, given.credentials):
        raise not_authorised()
    return permission


def _may_enrol(service: Service, secret: str) -> bool:
    return service.keys.issuers is None and _matches(secret, hash_token(service.keys.enrolment))


def _permission(service: Service, secret: str) -> Permission | None:
    if service.keys.issuers is None:
        return None
    try:
        return read_permission(secret, service.keys.issuers, int(time.time()))
    except ValueError:
        return None


async def operator(service: ServiceOf, given: Credentials) -> str:
    """The name of the operator who calls; 401 without the key of one."""
    if (name := await operator_of(service, given.credentials)) is None:
        raise not_authorised()
    return name


async def bootstrap(name: Annotated[str, Depends(operator)]) -> str:
    """403 for named operators: who could name another would be two by themselves."""
    if name != BOOTSTRAP:
        raise HTTPException(403, "only the key in the server's key folder may do this")
    return name


async def is_known(service: Service, secret: str) -> bool:
    """Whether a secret is one of a device, of enrolments or of an operator, whatever it opens."""
    keys = service.keys.operator, service.keys.enrolment
    if any(_matches(secret, hash_token(key)) for key in keys) or _permission(service, secret) is not None:
        return True
    try:
        return (await _device(service, secret) or await operator_of(service, secret)) is not None
    except (*OUTAGE, DatabaseError):
        return True  # the handler meets the same, and answers with it


async def _device(service: Service, token: str) -> Caller | None:
    """The device whose token this is: `DEVICE.SECRET`, so that its row is found without comparing secrets."""
    device = token.partition(".")[0]
    if DEVICE_ID.fullmatch(device) is None:
        return None
    known = await run_in_threadpool(service.registry.known, device)
    if known is None:
        known = await run_in_threadpool(service.readmit, device, token)
    if known is None or known.token_sha256 is None or not _matches(token, known.token_sha256):
        return None
    given_last = known.version if known.backed_up is None else known.backed_up
    return Caller(device, known.bundle, known.keys, given_last, known.failures)


async def caller(service: ServiceOf, given: Credentials) -> Caller:
    """The device that calls; 401 for whoever is none."""
    found = await _device(service, given.credentials)
    if found is None:
        raise not_authorised()
    return found


async def own_device(device: DeviceId, found: Annotated[Caller, Depends(caller)]) -> Caller:
    """The device of the path, which must be the caller; the refusal does not reveal whether another exists."""
    if device != found.device:
        raise HTTPException(403, "the token is of another device")
    return found


async def owner_or_operator(service: ServiceOf, given: Credentials, device: DeviceId) -> str | None:
    """The name of the operator who calls; None if it is the device of the path, and nobody else may."""
    if (name := await operator_of(service, given.credentials)) is not None:
        return name
    await own_device(device, await caller(service, given))
    return None


Enroller = Annotated[Permission | None, Depends(enroller)]
AnyDevice = Annotated[Caller, Depends(caller)]
OwnDevice = Annotated[Caller, Depends(own_device)]
ByOperator = Annotated[str, Depends(operator)]
ByBootstrap = Annotated[str, Depends(bootstrap)]
ByOwnerOrOperator = Annotated[str | None, Depends(owner_or_operator)]
