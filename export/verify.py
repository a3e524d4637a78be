"""Does a bundle do on its runtime what eager PyTorch said it would?"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import IntegrityError, Reason, Refused
from mnet.export.format.golden import LEAST_CHANGE, relative_error
from mnet.export.format.probe import distance
from mnet.export.format.stored_swaps import StoredSwaps
from mnet.export.session import open_session

SWAPS = 20


@dataclass(frozen=True)
class Verification:
    """What was found.

    `packs` were swapped in: the golden one, one for each slot with that slot's default in it, and `SWAPS` others.
    `max_error` is the largest error of an output or a probe, `output_change` the least change of the probe by a swap.
    Both are relative to the size of the outputs, as `tolerance` is.
    """

    slots: int
    packs: int
    max_error: float
    output_change: float
    tolerance: float


def verify_bundle(bundle: Bundle) -> Verification:
    """Run every golden sample on the real runtime, under the default and the golden weights; then give each slot
    alone its default again, and swap 20 more times.

    That no file was changed is checked by `Bundle.load`.

    Args:
        bundle: what `Bundle.load` or an export gave.

    Returns:
        What was found, relative to the size of the outputs.

    Raises:
        IntegrityError: unless all outputs agree with eager PyTorch's and each swap changes them by far more than the
            tolerance.
    """
    _ = bundle.policy  # nobody runs it here, and a damaged one is a BundleError
    golden, stored, trial = bundle.golden, StoredSwaps.of(bundle), _Trial(bundle)
    for inputs, expected in zip(golden.inputs, golden.default, strict=True):
        trial.compare(inputs, expected)
    before = trial.swap(bundle.golden_pack(version=1), stored.golden, bundle.probe(golden.default[0]))
    for inputs, expected in zip(golden.inputs, golden.swapped, strict=True):
        trial.compare(inputs, expected)
    for name, probe, pack in stored.packs_of_one(version=2):
        trial.swap(pack, probe, before, f"generated parameter {name} alone")
    version = 2 + len(stored.alone)
    for swap in range(SWAPS):
        before = trial.swap(stored.pack(swap, version + swap), stored.probe(swap), before)
    if not max(trial.errors) <= trial.tolerance:
        raise IntegrityError(
            Reason.SELF_TEST_FAILED,
            f"outputs are off from eager PyTorch's by up to {max(trial.errors):.1e} of their size",
        )
    return Verification(
        slots=len(bundle.manifest.slots),
        packs=1 + len(stored.alone) + SWAPS,
        max_error=max(trial.errors),
        output_change=min(trial.changes),
        tolerance=trial.tolerance,
    )


class _Trial:
    """A session of the bundle, and what it did."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._session = open_session(bundle)
        self.tolerance = bundle.manifest.golden.tolerance
        self.errors: list[float] = []
        self.changes: list[float] = []

    def compare(self, inputs: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
        """Run golden inputs under the weights that serve."""
        outputs = self._session.run(inputs)
        self.errors.append(relative_error(outputs, expected, self._bundle.manifest.scales))

    def swap(
        self, pack: bytes, expected: Sequence[float], before: Sequence[float], by: str = "a swap"
    ) -> list[float]:
        """Swap a pack in; the probe under it. Raises IntegrityError where that is too near to the probe `before`."""
        try:
            self._session.swap(pack)
        except Refused as error:
            raise IntegrityError(error.reason, f"a pack of the bundle is refused: {error.detail}") from None
        probe = self._bundle.probe(self._session.run(self._bundle.golden.inputs[0]))
        self.errors.append(distance(probe, expected))
        self.changes.append(distance(probe, before))
        if self.changes[-1] < LEAST_CHANGE * self.tolerance:
            raise IntegrityError(
                Reason.SELF_TEST_FAILED,
                f"{by} changes the outputs by only {self.changes[-1]:.1e} of their size",
            )
        return probe
