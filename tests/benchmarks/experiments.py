"""`python -m tests.benchmarks.experiments`: how often the interval of `mnet ab` covers the truth, over seeds.

Each seed is a roll-out with a share held out. Between two looks devices join and all of them go on clicking, each at a
rate of its own; `effect` is added to the rate where the new weights are. The interval is looked at, as `mnet ab` does,
after each of `looks` days; it covers the truth only if it does so at every one of them.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mnet.toolchain.cloud.confidence_sequence import difference
from mnet.toolchain.cloud.experiment import held_out

_CLICKS_A_DAY = 5  # chances that a device has at least one of, in the mean


@dataclass(frozen=True)
class Drawn:
    """A made-up experiment; `hold_out` in percent, `effect` and `rate` as shares of the chances that are clicked."""

    devices: int = 2000
    hold_out: float = 20.0
    effect: float = 0.03
    rate: float = 0.2
    looks: int = 30


def looks_of(seed: int, drawn: Drawn) -> list[tuple[float, float]]:
    """The interval at each look that had one."""
    draw = np.random.default_rng(seed)
    held = np.zeros(drawn.devices, dtype=bool)
    held[[int(name) for name in held_out(seed, drawn.hold_out, map(str, range(drawn.devices)))]] = True
    concentration = 10.0
    base = draw.beta(concentration * drawn.rate, concentration * (1 - drawn.rate), drawn.devices)
    rates = np.where(held, base, np.clip(base + drawn.effect, 0, 1))
    # What is clipped at 1 would make the true effect smaller: rates this high do not occur.
    joined = draw.integers(0, drawn.looks // 2, drawn.devices)
    chances, clicks = np.zeros(drawn.devices), np.zeros(drawn.devices)
    intervals = []
    for day in range(drawn.looks):
        more = np.where(joined <= day, draw.poisson(_CLICKS_A_DAY, drawn.devices), 0)
        chances += more
        clicks += draw.binomial(more, rates)
        seen = chances > 0
        treated, control = seen & ~held, seen & held
        if not treated.any() or not control.any():
            continue
        found = difference(clicks[treated] / chances[treated], clicks[control] / chances[control])
        if found.interval is not None:
            intervals.append(found.interval)
    return intervals


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--devices", type=int, default=2000)
    parser.add_argument("--hold-out", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=0.2)
    parser.add_argument("--effects", type=float, nargs="+", default=[0.0, 0.01, 0.03, 0.05])
    options = parser.parse_args(arguments)
    print(
        "true effect | covered at every look | found | found the wrong way | looks until found | last half width"
    )
    for effect in options.effects:
        drawn = Drawn(options.devices, options.hold_out, effect, options.rate)
        runs = [looks_of(seed, drawn) for seed in range(options.seeds)]
        covered = sum(all(low <= effect <= high for low, high in run) for run in runs)
        first = [next((n + 1 for n, (low, _) in enumerate(run) if low > 0), None) for run in runs]
        wrong = sum(any(high < 0 for _, high in run) for run in runs)
        until = sorted(n for n in first if n is not None)
        half = np.median([(run[-1][1] - run[-1][0]) / 2 for run in runs])
        middle = until[len(until) // 2] if until else "-"
        print(f"{effect:+.3f} | {covered} of {len(runs)} | {len(until)} | {wrong} | {middle} | {half:.4f}")


if __name__ == "__main__":
    main()
