"""Does a bundle do on its runtime what eager PyTorch said it would?"""

from dataclasses import dataclass

from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import IntegrityError, Reason, Refused
from mnet.export.format.golden import LEAST_CHANGE, agrees, max_abs_error
from mnet.export.format.stored_swaps import StoredSwaps
from mnet.export.session import Session, open_session

SWAPS = 20


@dataclass(frozen=True)
class Verification:
    """What was found; in the units of the model's outputs. `packs` were swapped in, the golden one included."""

    slots: int
    packs: int
    max_abs_error: float
    output_change: float
    tolerance: float


def verify_bundle(bundle: Bundle) -> Verification:
    """Run every golden sample on the real runtime, under the default weights and after a swap, and 20 more swaps.

    That no file was changed is checked by `Bundle.load`.

    Args:
        bundle: what `Bundle.load` or an export gave.

    Returns:
        What was found, in the units of the model's outputs.

    Raises:
        IntegrityError: unless all outputs agree with eager PyTorch's and each swap changes them by far more than the
            tolerance.
    """
    golden, tolerance = bundle.golden, bundle.manifest.golden.tolerance
    session = open_session(bundle)
    before = [session.run(inputs) for inputs in golden.inputs]
    _swap(session, bundle.golden_pack(version=1))
    after = [session.run(inputs) for inputs in golden.inputs]
    pairs = [*zip(before, golden.default, strict=True), *zip(after, golden.swapped, strict=True)]
    changes = [max_abs_error(new, old) for new, old in zip(after, before, strict=True)]
    stored, last = StoredSwaps.of(bundle), after[0]
    for swap in range(SWAPS):
        _swap(session, stored.pack(swap, version=2 + swap))
        outputs = session.run(golden.inputs[0])
        pairs.append((outputs[:1], (stored.output(swap),)))
        changes.append(max_abs_error(outputs, last))
        last = outputs
    found = Verification(
        slots=len(bundle.manifest.slots),
        packs=1 + SWAPS,
        max_abs_error=max(max_abs_error(actual, expected) for actual, expected in pairs),
        output_change=min(changes),
        tolerance=tolerance,
    )
    if not all(agrees(actual, expected, tolerance) for actual, expected in pairs):
        raise IntegrityError(
            Reason.SELF_TEST_FAILED,
            f"outputs are off by up to {found.max_abs_error:.1e} from eager PyTorch's",
        )
    if found.output_change < LEAST_CHANGE * tolerance:
        raise IntegrityError(
            Reason.SELF_TEST_FAILED, f"a swap changes the output by {found.output_change:.1e} only"
        )
    return found


def _swap(session: Session, pack: bytes) -> None:
    try:
        session.swap(pack)
    except Refused as error:
        raise IntegrityError(error.reason, f"a pack of the bundle is refused: {error.detail}") from None
