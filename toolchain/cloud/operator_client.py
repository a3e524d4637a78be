"""The operator's side of the HTTP contract: one method a call; each raises UserError where the server will not."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mnet.toolchain.contract.http import Denied, HttpClient, Offline, contract
from mnet.toolchain.errors import UserError


@dataclass(frozen=True)
class Reach:
    """What a push would reach: how many devices, and how many by the bundle that they run."""

    devices: int
    bundles: dict[str, int]


@dataclass(frozen=True)
class Pushed:
    """The number of a roll-out, and whether a second operator has to approve what was asked for."""

    rollout: int
    awaits_approval: bool


class Operator(HttpClient):
    """Whoever has the operator key of a server."""

    def __init__(self, server: str, key: str) -> None:
        super().__init__(server)
        self._server = server
        self._key = key

    def push(
        self,
        devices: list[str] | None = None,
        percent: float = 100.0,
        stop_above: float = 0.01,
        *,
        cohort: str | None = None,
        pack: bytes | None = None,
        hold_out: float = 0.0,
        held_on: str = "previous",
        stop_below: tuple[str, float] | None = None,
    ) -> Pushed:
        """Release for `percent` of these devices, of a cohort, or of all: a pack or, without one, what is generated
        from the last context of each. The roll-out stops when more than a share refuses.

        `hold_out` percent of those that it reaches are held out of it, on their previous weights or the default ones,
        and it stops when a metric is surely below theirs by more than `stop_below` (metric, negative difference).
        The server works on it from now on, and `status` says how far it is.
        """
        body: dict[str, Any] = {"devices": devices, "percent": percent, "stop_above": stop_above}
        body |= {"hold_out": hold_out, "held_on": held_on}
        if stop_below is not None:
            body |= {"metric": stop_below[0], "stop_below": stop_below[1]}
        if cohort is not None:
            body["cohort"] = cohort
        if pack is not None:
            body["pack"] = hashlib.sha256(pack).hexdigest()
            self._ask("PUT", f"/packs/{body['pack']}", content=pack)
        return self._rollout("/push", body)

    def reach_of(
        self, devices: list[str] | None = None, *, cohort: str | None = None, bundle: str | None = None
    ) -> Reach:
        """How many devices a push to these would reach, of a pack if its `bundle` is given; pushes nothing."""
        body = {"devices": devices, "cohort": cohort, "bundle": bundle}
        answer = self._ask("POST", "/reach", json=body)
        with self._mistakes(), contract():
            return Reach(int(answer["devices"]), dict(answer["bundles"]))

    def join(self, cohort: str, devices: list[str]) -> int:
        """Make devices members of a cohort; returns how many get its pack by that."""
        return int(self._ask("PUT", f"/cohorts/{cohort}", json={"devices": devices})["reached"])

    def cohorts(self) -> dict[str, int]:
        """Every cohort, and how many devices it has."""
        return dict(self._ask("GET", "/cohorts"))

    def extend(self, rollout: int, percent: float) -> Pushed:
        """Reach a larger share of a roll-out's devices."""
        return self._rollout(f"/rollouts/{rollout}", {"percent": percent})

    def roll_back(self, rollout: int) -> bool:
        """Bring back the weights that a roll-out replaced; False where that was done, or begun, before."""
        return bool(self._ask("POST", f"/rollouts/{rollout}/rollback", json={})["begun"])

    def approve(self, rollout: int) -> None:
        """Have what another operator proposed be done."""
        self._ask("POST", f"/rollouts/{rollout}/approve", json={})

    def operators(self) -> list[dict[str, Any]]:
        """The operators that have a name and a key of their own."""
        return list(self._ask("GET", "/operators"))

    def add_operator(self, name: str) -> str:
        """Name an operator; returns their key."""
        return str(self._ask("POST", "/operators", json={"name": name})["key"])

    def remove_operator(self, name: str) -> None:
        """Make the key of an operator worthless."""
        self._ask("DELETE", f"/operators/{name}")

    def check_audit(self, noted: Sequence[str]) -> dict[str, Any]:
        """What is wrong with the audit log, and the hash of its newest entries."""
        return dict(self._ask("POST", "/audit/check", json={"noted": list(noted)}))

    def status(self, rollout: int) -> dict[str, Any]:
        """How far a roll-out is, and what its phones reported."""
        return dict(self._ask("GET", f"/rollouts/{rollout}"))

    def compare(self, rollout: int, metric: str | None) -> list[dict[str, Any]]:
        """What apps measured on the devices of a roll-out and on those held out of it, by metric."""
        params = {} if metric is None else {"metric": metric}
        return list(self._ask("GET", f"/rollouts/{rollout}/comparison", params=params))

    def stop(self, rollout: int) -> None:
        """Have a roll-out reach nobody more."""
        self._ask("POST", f"/rollouts/{rollout}/stop", json={})

    def fleet(self) -> dict[str, Any]:
        """The devices by version and bundle, and the newest roll-outs."""
        return dict(self._ask("GET", "/fleet"))

    def releases(self, device: str) -> list[dict[str, Any]]:
        """The releases of a device, newest first."""
        return list(self._ask("GET", f"/devices/{device}/releases"))

    def audit(self, limit: int) -> list[dict[str, Any]]:
        """What was done to the fleet, newest first."""
        return list(self._ask("GET", "/audit", params={"limit": limit}))

    def revoke(self, device: str) -> None:
        """Make a device's token worthless."""
        self._ask("DELETE", f"/devices/{device}/token")

    def erase(self, device: str) -> None:
        """Delete all that the server keeps of a device."""
        self._ask("DELETE", f"/devices/{device}")

    def _rollout(self, path: str, body: dict[str, Any]) -> Pushed:
        answer = self._ask("POST", path, json=body)
        with self._mistakes(), contract():
            return Pushed(int(answer["rollout"]), bool(answer["awaits_approval"]))

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        with self._mistakes():
            return self.call(method, path, self._key, **options)

    @contextmanager
    def _mistakes(self) -> Iterator[None]:
        try:
            yield
        except (Offline, Denied) as error:
            raise UserError(f"{self._server}: {error}") from error
