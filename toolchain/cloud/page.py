"""The page at `/`: the fleet at a glance, and the four things that an operator does to a roll-out.

The server makes it, without a script, a font or a picture from elsewhere, so that it works where nothing else does.
"""

import time
from dataclasses import asdict
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Cookie, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool

from mnet.toolchain.cloud import comparison_text, fleet
from mnet.toolchain.cloud.auth import operator_of
from mnet.toolchain.cloud.page_session import COOKIE, LIFETIME_S, opened, whose
from mnet.toolchain.cloud.rollouts import Conflict
from mnet.toolchain.cloud.service import Service, ServiceOf

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

router = APIRouter(include_in_schema=False)
Session = Annotated[str | None, Cookie(alias=COOKIE)]
_templates = Environment(
    loader=PackageLoader("mnet.toolchain.cloud", "."),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def _shown(status: int = 200, **values: Any) -> HTMLResponse:
    text = _templates.get_template("page.html.j2").render(
        {"view": None, "me": None, "keys": None, "said": None, "measured": {}, "time": _time}
        | {"now": _time(time.time()), **values}
    )
    return HTMLResponse(text, status, HEADERS)


def _time(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))


@router.get("/")
def show(service: ServiceOf, session: Session = None) -> Response:
    """The fleet, for whoever has shown an operator's key; else the question for it."""
    if (me := _me(service, session)) is None:
        return _shown()
    view = fleet.look(service.database, service.rollouts)
    return _shown(me=me, view=view, keys=_keys(service), measured=_measured(service, view))


@router.post("/session")
async def open_session(service: ServiceOf, request: Request) -> Response:
    """Take an operator's key, and remember the browser for some hours."""
    name = await operator_of(service, (await _form(request)).get("key", ""))
    key_sha256 = None if name is None else await run_in_threadpool(service.operators.key_hash, name)
    if name is None or key_sha256 is None:
        return _shown(
            401, said="That is not the operator key of this server, nor of an operator that it knows."
        )
    answer = _home()
    answer.set_cookie(
        COOKIE,
        opened(service.keys.operator, name, key_sha256),
        max_age=LIFETIME_S,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


@router.post("/session/end")
async def close_session() -> Response:
    """Forget the browser."""
    answer = _home()
    answer.delete_cookie(COOKIE)
    return answer


@router.post("/rollouts/{rollout}/{action}")
async def act(
    service: ServiceOf, request: Request, rollout: int, action: str, session: Session = None
) -> Response:
    """Extend, approve, stop or roll back a roll-out."""
    if (me := await run_in_threadpool(_me, service, session)) is None:
        return _shown(401, said="Your session is over: show your key again.")
    form = await _form(request)
    try:
        await run_in_threadpool(_do, service, rollout, action, form.get("percent", ""), me)
    except (LookupError, Conflict, ValueError) as error:
        return _shown(409, said=f"Nothing was done: {error}.")
    service.reconciler.wake()
    return _home()


def _measured(service: Service, view: fleet.Fleet) -> dict[int, list[tuple[str, ...]]]:
    """What phones measured under each roll-out that some are held out of."""
    found = {
        each["id"]: service.comparisons.compare(each["id"]) for each in view.rollouts if each["hold_out"]
    }
    return {
        rollout: [comparison_text.row(asdict(each)) for each in compared]
        for rollout, compared in found.items()
    }


def _me(service: Service, session: str | None) -> str | None:
    return whose(session, service.keys.operator, service.operators.key_hash)


def _do(service: Service, rollout: int, action: str, percent: str, me: str) -> None:
    if action == "extend":
        if not 0 < (share := float(percent)) <= 100:
            raise ValueError("a share is above 0 and at most 100 percent")
        service.rollouts.extend(rollout, share, me)
    elif action == "approve":
        service.rollouts.approve(rollout, me)
    elif action == "stop":
        service.rollouts.stop(rollout, me)
    elif action == "rollback":
        service.rollouts.roll_back(rollout, me)
    else:
        raise HTTPException(404, "there is no such page")


def _keys(service: Service) -> dict[str, Any]:
    keyring = service.publisher.keyring
    behind, known = service.registry.behind(keyring.stated.number)
    retiring = [str(key.kid)[:12] for key in keyring.retiring]
    return {"signing": str(keyring.signing.kid)[:12], "retiring": retiring, "behind": behind, "known": known}


def _home() -> RedirectResponse:
    return RedirectResponse("/", 303, HEADERS)


async def _form(request: Request) -> dict[str, str]:
    fields = parse_qs((await request.body()).decode("utf-8", "replace"))
    return {name: values[-1] for name, values in fields.items()}
