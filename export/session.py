"""The host's view of a device: a model that serves while its weights are swapped under it."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import IntegrityError, Reason, Refused
from mnet.export.format.golden import relative_error
from mnet.export.format.packs import read_pack
from mnet.export.format.probe import distance
from mnet.export.lowering.target import Program, Run
from mnet.export.targets import load_program


@dataclass(frozen=True)
class Snapshot:
    """One version of the weights, ready to run. It never changes, so an inference belongs to one version."""

    version: int
    run: Run


@dataclass(frozen=True)
class SwapTimes:
    """How long the parts of one swap took, in seconds.

    verify: reading and checking the pack; write: binding its weights to the program; self_test: one inference under it;
    publish: handing it to the next inference.
    """

    verify: float
    write: float
    self_test: float
    publish: float

    @property
    def total(self) -> float:
        """The whole swap."""
        return self.verify + self.write + self.self_test + self.publish


class Session:
    """Serves a bundle's model; safe to use from several threads.

    A swap prepares and tests a new snapshot while the live one serves, and publishes it by assigning one reference,
    which every inference reads once: it sees the old weights or the new ones, never a mixture.
    """

    def __init__(self, bundle: Bundle, program: Program, parameters: Mapping[str, Tensor]) -> None:
        """Start with `parameters` as version 0; IntegrityError if they do not give the golden outputs."""
        self._bundle = bundle
        self._program = program
        self._swapping = threading.Lock()
        self._live = Snapshot(0, program.bind(parameters))
        golden, manifest = bundle.golden, bundle.manifest
        for inputs, expected in zip(golden.inputs, golden.default, strict=True):
            if not relative_error(self.run(inputs), expected, manifest.scales) <= manifest.golden.tolerance:
                raise IntegrityError(
                    Reason.SELF_TEST_FAILED, f"{bundle.path}: outputs differ from the golden ones"
                )

    @property
    def live(self) -> Snapshot:
        """The snapshot that serves now; keep it to know which version an output belongs to."""
        return self._live

    @property
    def version(self) -> int:
        """The version served now; 0 is the default pack."""
        return self._live.version

    def run(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """One inference under the weights that are live when it starts.

        Args:
            inputs: a tensor for each input of the bundle's manifest, in its order, dtype and shape, batch 1.

        Returns:
            The outputs in the order of the manifest; they belong to the caller.

        Raises:
            ValueError: for inputs that do not fit.
        """
        return self._live.run(inputs)

    def swap(self, pack: bytes) -> SwapTimes:
        """Check, self-test and publish a weight pack.

        Args:
            pack: the bytes of a weight pack for this bundle, of a higher version than the live one.

        Returns:
            How long each part took, in seconds.

        Raises:
            Refused: with the reason; the current weights continue to serve.
        """
        with self._swapping:
            clock = [time.perf_counter()]
            new = read_pack(pack, self._bundle.manifest)
            if new.version <= self.version:
                raise Refused(
                    Reason.STALE_VERSION, f"the pack is version {new.version}, {self.version} is being served"
                )
            clock.append(time.perf_counter())
            run = self._program.bind(new.parameters)
            clock.append(time.perf_counter())
            self._self_test(run, new.probe)
            clock.append(time.perf_counter())
            self._live = Snapshot(new.version, run)
            clock.append(time.perf_counter())
        return SwapTimes(*(end - start for start, end in pairwise(clock)))

    def _self_test(self, run: Run, probe: Sequence[float]) -> None:
        """Catch a runtime that serves old weights: it must give what eager PyTorch gave for this pack."""
        try:
            outputs = run(self._bundle.golden.inputs[0])
        except ValueError as error:
            raise Refused(Reason.SELF_TEST_FAILED, f"the model does not run: {error}") from None
        if not all(torch.isfinite(output).all() for output in outputs):
            raise Refused(Reason.SELF_TEST_FAILED, "an output is not finite under the new weights")
        if not distance(self._bundle.probe(outputs), probe) <= self._bundle.manifest.golden.tolerance:
            raise Refused(Reason.SELF_TEST_FAILED, "the outputs are not those of the pack's weights")


def open_session(bundle: Bundle, threads: int = 1) -> Session:
    """Serve `bundle` on this machine, starting with its default weights.

    Args:
        bundle: what `Bundle.load` or an export gave.
        threads: threads of one inference; a second costs a compact model more than it saves.

    Returns:
        A session at version 0.

    Raises:
        BundleError: if the target's packages are not installed, or, as an IntegrityError, if the runtime does not give
            the golden outputs.
    """
    manifest = bundle.manifest
    program = load_program(bundle.path / manifest.model.program, manifest, threads)
    return Session(bundle, program, bundle.default_weights)


def open_baked(bundle: Bundle, threads: int = 1) -> Session:
    """Serve the same model with its default weights as constants, as an app that never swaps would."""
    manifest = bundle.manifest
    constant = manifest.model_copy(update={"slots": ()})
    program = load_program(bundle.path / manifest.bench.baked, constant, threads)
    return Session(bundle, program, {})
