"""The interval of a difference: it covers the truth at every look at once, and finds what there is."""

import numpy as np
import pytest

from mnet.toolchain.cloud.confidence_sequence import LEAST, difference
from tests.benchmarks.experiments import Drawn, looks_of


@pytest.mark.parametrize("effect", [0.0, 0.03])
def test_the_truth_is_inside_at_every_look(effect: float) -> None:
    runs = [looks_of(seed, Drawn(devices=1500, hold_out=30, effect=effect, looks=20)) for seed in range(100)]
    covered = sum(all(low <= effect <= high for low, high in run) for run in runs)
    assert covered >= 90
    found = sum(any(low > 0 for low, _ in run) for run in runs)
    assert found <= 5 if effect == 0 else found >= 50


def test_a_few_devices_that_lie_move_little() -> None:
    draw = np.random.default_rng(0)
    treated, held = draw.normal(0, 1, 1000), draw.normal(0, 1, 1000)
    honest = difference(treated, held)
    lied = difference(np.concatenate([treated, [1e6] * 3]), held)
    assert honest.interval and lied.interval
    assert lied.difference == pytest.approx(honest.difference, abs=0.05)
    assert lied.interval == pytest.approx(honest.interval, abs=0.05)


def test_too_little_has_no_interval() -> None:
    draw = np.random.default_rng(0)
    some = draw.normal(0, 1, LEAST)
    assert difference(some, some[:-1]).interval is None
    assert difference(some, some).interval is not None
    assert difference(np.zeros(100), np.zeros(100)).interval is None, "nothing ever happened"
    assert difference(np.ones(1), np.zeros(1)).difference == 1
