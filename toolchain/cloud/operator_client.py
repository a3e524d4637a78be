"""The operator's side of the HTTP contract: one method a call; each raises UserError where the server will not."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mnet.toolchain.contract.http import Denied, HttpClient, Offline, contract
from mnet.toolchain.errors import UserError


@dataclass(frozen=True)
class Pushed:
    """A roll-out, and the version that each device reached by this call will get."""

    rollout: int
    versions: dict[str, int]


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
    ) -> Pushed:
        """Release for `percent` of these devices, of a cohort, or of all: a pack or, without one, what is generated
        from the last context of each. The roll-out stops when more than a share refuses.
        """
        body: dict[str, Any] = {"devices": devices, "percent": percent, "stop_above": stop_above}
        if cohort is not None:
            body["cohort"] = cohort
        if pack is not None:
            body["pack"] = hashlib.sha256(pack).hexdigest()
            self._ask("PUT", f"/packs/{body['pack']}", content=pack)
        return self._pushed("/push", body)

    def join(self, cohort: str, devices: list[str]) -> dict[str, int]:
        """Make devices members of a cohort; returns the version of its pack that each will get."""
        return dict(self._ask("PUT", f"/cohorts/{cohort}", json={"devices": devices})["versions"])

    def cohorts(self) -> dict[str, int]:
        """Every cohort, and how many devices it has."""
        return dict(self._ask("GET", "/cohorts"))

    def extend(self, rollout: int, percent: float) -> Pushed:
        """Reach a larger share of a roll-out's devices."""
        return self._pushed(f"/rollouts/{rollout}", {"percent": percent})

    def roll_back(self, rollout: int) -> Pushed:
        """Bring back the weights that a roll-out replaced."""
        return self._pushed(f"/rollouts/{rollout}/rollback", {})

    def status(self, rollout: int) -> dict[str, Any]:
        """How far a roll-out is, and what its phones reported."""
        return dict(self._ask("GET", f"/rollouts/{rollout}"))

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

    def _pushed(self, path: str, body: dict[str, Any]) -> Pushed:
        with self._mistakes(), contract():
            answer = self.call("POST", path, self._key, json=body)
            return Pushed(int(answer["rollout"]), dict(answer["versions"]))

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        with self._mistakes():
            return self.call(method, path, self._key, **options)

    @contextmanager
    def _mistakes(self) -> Iterator[None]:
        try:
            yield
        except (Offline, Denied) as error:
            raise UserError(f"{self._server}: {error}") from error
