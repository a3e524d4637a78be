"""When a phone asks for new weights: `never`, `always`, `every:N` and `shift`."""

import json
from abc import ABC, abstractmethod
from pathlib import Path

import torch
from torch import Tensor

from mnet.export.format.bundle import Bundle
from mnet.export.format.shift import Shift
from mnet.toolchain.durable import write_durably
from mnet.toolchain.errors import UserError
from mnet.toolchain.phone.client import Context

POLICIES = "never, always, every:N or shift"
STATISTIC = "asked.json"


class RequestPolicy(ABC):
    """Decides at each chance: a moment at which the phone has a context that it could upload."""

    @abstractmethod
    def asks(self, context: Context) -> bool:
        """Whether to upload this context; may be asked again about the same one."""

    def went_on(self, context: Context, *, asked: bool) -> None:
        """The chance is over: the context was uploaded, or not."""
        return


class Never(RequestPolicy):
    """The weights that came with the app, or those that an operator pushes."""

    def asks(self, context: Context) -> bool:
        return False


class Every(RequestPolicy):
    """At the first chance, and at every N-th after it; N = 1 is `always`."""

    def __init__(self, chances: int) -> None:
        self._chances = chances
        self._missed = chances - 1

    def asks(self, context: Context) -> bool:
        return self._missed >= self._chances - 1

    def went_on(self, context: Context, *, asked: bool) -> None:
        self._missed = 0 if asked else self._missed + 1


class OnShift(RequestPolicy):
    """When the user has shifted since the context that the weights were made from, see `mnet.export.format.shift`.

    What it compares with is kept in `file`, so that a restarted phone does not ask again.
    """

    def __init__(self, shift: Shift, file: Path) -> None:
        self._shift = shift
        self._file = file
        self._then = self._read()

    def asks(self, context: Context) -> bool:
        return self._then is None or self._shift.asks(self._then, self._statistic(context))

    def went_on(self, context: Context, *, asked: bool) -> None:
        if asked:
            self._then = self._statistic(context)
            write_durably(self._file, json.dumps(self._then.tolist()).encode(), mode=0o600)

    def _statistic(self, context: Context) -> Tensor:
        try:
            return self._shift.statistic(torch.tensor([context]))[0]
        except (ValueError, TypeError) as error:
            raise UserError(f"the policy cannot read the samples: {error}") from None

    def _read(self) -> Tensor | None:
        try:
            then = torch.tensor(json.loads(self._file.read_bytes()), dtype=torch.float64)
        except (OSError, ValueError, TypeError):
            return None  # a phone without it asks once more
        fits = then.shape == self._shift.projection.shape[1:] and bool(then.isfinite().all())
        return then if fits else None


def request_policy(text: str, bundle: Bundle, state: Path) -> RequestPolicy:
    """The policy of that name for a phone with this bundle and state folder. Raises UserError."""
    if text == "never":
        return Never()
    if text == "always":
        return Every(1)
    if text.startswith("every:") and text[6:].isdecimal() and int(text[6:]) > 0:
        return Every(int(text[6:]))
    if text != "shift":
        raise UserError(f"--policy {text}: expected {POLICIES}")
    if bundle.policy is None:
        raise UserError(
            f"{bundle.path} has no request policy: `mnet policies RUN`, then export the run again"
        )
    return OnShift(bundle.policy, state / STATISTIC)
