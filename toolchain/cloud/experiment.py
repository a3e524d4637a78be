"""A push as an experiment: a random share of the devices that it reaches is held out, and compared with the rest."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from mnet.toolchain.cloud.scope import place

HeldOn = Literal["previous", "default"]


@dataclass(frozen=True)
class Experiment:
    """What share of a roll-out's devices is held out, in percent, and on which weights.

    A held-out device is given the weights that it had, or its bundle's default weights, as a new version: it polls,
    fetches, swaps and measures as the others do, from the same moment on, so that only the weights differ. With a
    `metric`, the roll-out stops once that is surely lower than `stop_below` (negative), treated less held out.
    """

    hold_out: float = 0.0
    held_on: HeldOn = "previous"
    metric: str | None = None
    stop_below: float | None = None


def held_out(rollout: int, percent: float, devices: Iterable[str]) -> list[str]:
    """Those of these devices that a roll-out holds out; in each roll-out others, whatever order it reaches them in."""
    return [device for device in devices if place(f"held out of {rollout}", device) < percent]
