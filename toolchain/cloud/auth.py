"""Who may call what: a phone by its token, an enrolment by the enrolment key, an operator by the operator key."""

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, HTTPException, Path
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from mnet.toolchain.cloud.service import Service, ServiceOf

DEVICE_ID = re.compile("[0-9A-Za-z_]{1,64}")
DeviceId = Annotated[str, Path(pattern=f"^{DEVICE_ID.pattern}$")]
COHORT_NAME = "^[0-9A-Za-z_.-]{1,64}$"
CohortName = Annotated[str, Field(pattern=COHORT_NAME)]
bearer = HTTPBearer(description="A device's token, the enrolment key or the operator key")
Credentials = Annotated[HTTPAuthorizationCredentials, Depends(bearer)]


@dataclass(frozen=True)
class Caller:
    """A device that has shown its token; `bundle` is the one whose releases it is given unless it names another.

    `keys` is the number of the statement of keys that it was last known to have learnt.
    """

    device: str
    bundle: str
    keys: int


def hash_token(token: str) -> str:
    """What is kept of a secret: its SHA-256 in hex. 256 random bits need no salt and no stretching."""
    return hashlib.sha256(token.encode()).hexdigest()


def _matches(secret: str, expected_sha256: str) -> bool:
    return hmac.compare_digest(hash_token(secret), expected_sha256)


def not_authorised() -> HTTPException:
    """The answer to whoever shows no right secret, or none that is known."""
    return HTTPException(401, "not authorised", {"WWW-Authenticate": "Bearer"})


def _is_operator(service: Service, given: HTTPAuthorizationCredentials) -> bool:
    return _matches(given.credentials, hash_token(service.keys.operator))


async def enroller(service: ServiceOf, given: Credentials) -> None:
    """401 without the enrolment key."""
    if not _matches(given.credentials, hash_token(service.keys.enrolment)):
        raise not_authorised()


async def operator(service: ServiceOf, given: Credentials) -> None:
    """401 without the operator key."""
    if not _is_operator(service, given):
        raise not_authorised()


async def caller(service: ServiceOf, given: Credentials) -> Caller:
    """The device whose token this is: `DEVICE.SECRET`, so that its row is found without comparing secrets."""
    device = given.credentials.partition(".")[0]
    if DEVICE_ID.fullmatch(device) is None:
        raise not_authorised()
    known = await run_in_threadpool(service.registry.known, device)
    if known is None or known.token_sha256 is None or not _matches(given.credentials, known.token_sha256):
        raise not_authorised()
    return Caller(device, known.bundle, known.keys)


async def own_device(device: DeviceId, found: Annotated[Caller, Depends(caller)]) -> Caller:
    """The device of the path, which must be the caller; the refusal does not reveal whether another exists."""
    if device != found.device:
        raise HTTPException(403, "the token is of another device")
    return found


async def owner_or_operator(service: ServiceOf, given: Credentials, device: DeviceId) -> bool:
    """Whether it is the operator who calls; else it must be the device of the path."""
    if _is_operator(service, given):
        return True
    await own_device(device, await caller(service, given))
    return False


AnyDevice = Annotated[Caller, Depends(caller)]
OwnDevice = Annotated[Caller, Depends(own_device)]
ByOperator = Annotated[bool, Depends(owner_or_operator)]
