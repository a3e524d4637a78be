"""What the phones reported, as figures: how well each version of the weights predicted, and what a push cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnet.toolchain.fleet.percentiles import percentiles
from mnet.toolchain.fleet.processes import Event
from mnet.toolchain.training.bootstrap import bootstrap_gain

VERSIONS = ("static", "default", "first", "live")


@dataclass(frozen=True)
class Findings:
    """Arrays over predictions [N]: `user`, `step` (0: the drift), `values` of `metric` by version; lists over
    swaps, and how many packs phones `refused`."""

    user: NDArray[np.int64]
    step: NDArray[np.int64]
    metric: str
    values: dict[str, NDArray[np.float64]]
    swap_us: list[float]
    upload_to_swap_ms: list[float]
    payload_bytes: int
    refused: int = 0

    @classmethod
    def of(cls, events: Sequence[Event], metric: str) -> "Findings":
        """Read the events of `mnet simulate`; at least one prediction and one swap must be among them."""
        predicted = [event for event in events if event["event"] == "predicted"]
        swapped = [event for event in events if event["event"] == "swapped"]
        return cls(
            user=np.array([event["user"] for event in predicted]),
            step=np.array([event["step"] for event in predicted]),
            metric=metric,
            values={name: np.array([event["value"][name] for event in predicted]) for name in VERSIONS},
            swap_us=[event["swap_us"] for event in swapped],
            upload_to_swap_ms=[event["upload_to_swap_ms"] for event in swapped],
            payload_bytes=max(event["bytes"] for event in swapped),
            refused=sum(event["event"] == "refused" for event in events),
        )

    @property
    def phases(self) -> dict[str, NDArray[np.bool_]]:
        """Which predictions lie before and after the drift; without a known drift all lie after the start.

        A phase that phones had not reached when they were interrupted is absent.
        """
        if not (self.step < 0).any():
            return {"after the training date": self.step >= 0}
        both = {"before the drift": self.step < 0, "after the drift": self.step >= 0}
        return {name: chosen for name, chosen in both.items() if chosen.any()}

    def report(self) -> dict[str, Any]:
        """Quality by phase and version, gains over static with intervals (None of a single user), costs of a push."""
        several = len(np.unique(self.user)) > 1  # an interval over users takes more than one
        quality = {}
        for phase, chosen in self.phases.items():
            values = {name: of_all[chosen] for name, of_all in self.values.items()}
            quality[phase] = {
                **{name: float(of_phase.mean()) for name, of_phase in values.items()},
                "gain": bootstrap_gain(self.user[chosen], values["static"], values["live"])
                if several
                else None,
                "gain_of_default": bootstrap_gain(self.user[chosen], values["static"], values["default"])
                if several
                else None,
            }
        return {
            "metric": self.metric,
            "devices": len(np.unique(self.user)),
            "predictions": len(self.user),
            "quality": quality,
            "push": {
                "count": len(self.swap_us),
                "payload_bytes": self.payload_bytes,
                "refused": self.refused,
                "swap_us": percentiles(self.swap_us),
                "upload_to_swap_ms": percentiles(self.upload_to_swap_ms),
            },
        }

    def by_step(self, name: str, width: int) -> tuple[list[float], list[float], list[float]]:
        """Middle of each stretch of `width` steps, mean of the metric there, and its standard error over users."""
        bins = self.step // width
        middles, means, errors = [], [], []
        for stretch in np.unique(bins):
            inside = bins == stretch
            users = np.unique(self.user[inside])
            of_user = np.array([self.values[name][inside & (self.user == user)].mean() for user in users])
            if len(users) < 2:
                continue
            middles.append(float((stretch + 0.5) * width))
            means.append(float(of_user.mean()))
            errors.append(float(of_user.std(ddof=1) / len(users) ** 0.5))
        return middles, means, errors
