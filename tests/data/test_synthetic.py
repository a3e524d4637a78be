"""The synthetic set: the same for the same seed, and drifting when and how it says."""

import numpy as np
import pytest

from mnet.toolchain.data import load_interactions
from mnet.toolchain.data.interactions import Interactions
from mnet.toolchain.data.synthetic import SyntheticDrift, draw_synthetic_drift
from mnet.toolchain.errors import UserError

SPEC = SyntheticDrift(users=60)


@pytest.fixture(scope="module")
def data() -> Interactions:
    return draw_synthetic_drift(SPEC)


def test_a_seed_gives_one_data_set(data: Interactions) -> None:
    assert np.array_equal(data.items, draw_synthetic_drift(SPEC).items)
    assert not np.array_equal(data.items, draw_synthetic_drift(SyntheticDrift(users=60, seed=8)).items)


def test_items_and_times_are_what_the_class_promises(data: Interactions) -> None:
    assert data.items.min() >= 1
    assert data.items.max() <= data.n_items
    assert data.titles is not None
    assert len(data.titles) == data.n_items
    times = data.times.reshape(SPEC.users, SPEC.interactions)
    assert (np.diff(times) > 0).all()


def test_interests_shift_at_the_drift_and_hardly_before(data: Interactions) -> None:
    assert data.drift_time is not None
    drift = data.before(0, data.drift_time)
    niches = (data.items.reshape(SPEC.users, SPEC.interactions) - 1) // SPEC.items_per_niche
    width = SPEC.interactions - drift

    def overlap(moment: int) -> float:
        """How much the niches after a moment were taken just before it, averaged over users."""
        shares = [
            np.isin(row[moment : moment + width], row[moment - width : moment]).mean() for row in niches
        ]
        return float(np.mean(shares))

    assert overlap(drift) < 0.75 * overlap(drift - width)


def test_it_reads_no_file(tmp_path: object) -> None:
    with pytest.raises(UserError, match="reads no file"):
        load_interactions("synthetic-drift", tmp_path)  # type: ignore[arg-type]
