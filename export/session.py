"""The host's view of a device: a model that serves while its weights are swapped under it."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import BundleError, IntegrityError, Reason, Refused
from mnet.export.format.golden import relative_error
from mnet.export.format.packs import read_pack
from mnet.export.format.probe import distance
from mnet.export.lowering.target import Program, Run
from mnet.export.targets import load_program


@dataclass(frozen=True)
class Snapshot:
    """One version of the weights, ready to run. It never changes, so an inference belongs to one version.

    `name` is that of weights that were loaded to be switched to; None for those that were swapped in.
    """

    version: int
    run: Run
    name: str | None = None


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

    Several packs, such as adapters, can be resident: `load` tests one and keeps it, `use` switches to it by the same
    assignment. Each holds what the runtime needs for one version; how many there are is the app's to bound.
    """

    def __init__(self, bundle: Bundle, program: Program, parameters: Mapping[str, Tensor]) -> None:
        """Start with `parameters` as version 0; IntegrityError if they do not give the golden outputs."""
        self._bundle = bundle
        self._program = program
        self._swapping = threading.Lock()
        self._live = self._swapped = Snapshot(0, program.bind(parameters))
        self._resident: dict[str, Snapshot] = {}
        golden, manifest = bundle.golden, bundle.manifest
        for inputs, expected in zip(golden.inputs, golden.default, strict=True):
            try:
                outputs = self.run(inputs)
            except ValueError as error:
                raise IntegrityError(Reason.SELF_TEST_FAILED, f"{bundle.path}: {error}") from None
            if not relative_error(outputs, expected, manifest.scales) <= manifest.golden.tolerance:
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
            pack: the bytes of a weight pack for this bundle, of a higher version than the last one swapped in.

        Returns:
            How long each part took, in seconds.

        Raises:
            Refused: with the reason; the current weights continue to serve.
        """
        with self._swapping:
            new, clock = self._tested(pack, self._swapped.version, None)
            self._live = self._swapped = new
            return _times(clock)

    def load(self, name: str, pack: bytes) -> SwapTimes:
        """Check and self-test a weight pack and keep it under a name, for `use`; what serves stays as it is.

        Args:
            name: by which the app calls these weights, e.g. the language of an adapter.
            pack: the bytes of a weight pack for this bundle, of a higher version than the one of this name.

        Returns:
            How long each part took, in seconds.

        Raises:
            Refused: with the reason; nothing changes.
        """
        with self._swapping:
            former = self._resident.get(name)
            new, clock = self._tested(pack, -1 if former is None else former.version, name)
            self._resident[name] = new
            return _times(clock)

    def use(self, name: str | None) -> None:
        """Serve the weights that were loaded under a name, from the next inference on; None: those last swapped in.

        It costs one assignment. Raises LookupError for a name that is not loaded.
        """
        if name is not None and name not in self._resident:
            raise LookupError(
                f"no weights are loaded as {name!r}; there are {', '.join(self._resident) or 'none'}"
            )
        self._live = self._swapped if name is None else self._resident[name]

    def unload(self, name: str) -> None:
        """Forget the weights of a name; where they serve, they do so until the next `use` or `swap`."""
        self._resident.pop(name, None)

    def _tested(self, pack: bytes, newer_than: int, name: str | None) -> tuple[Snapshot, list[float]]:
        """A snapshot of a pack that passed all checks, and the clock before and after each. Raises Refused."""
        clock = [time.perf_counter()]
        new = read_pack(pack, self._bundle.manifest)
        if new.version <= newer_than:
            raise Refused(
                Reason.STALE_VERSION, f"the pack is version {new.version}, {newer_than} is being served"
            )
        clock.append(time.perf_counter())
        run = self._program.bind(new.parameters)
        clock.append(time.perf_counter())
        self._self_test(run, new.probe)
        clock.append(time.perf_counter())
        return Snapshot(new.version, run, name), clock

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


def _times(clock: list[float]) -> SwapTimes:
    return SwapTimes(*(end - start for start, end in pairwise([*clock, time.perf_counter()])))


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
    with _as_bundle_errors(bundle):
        program = load_program(bundle.path / manifest.model.program, manifest, threads)
        return Session(bundle, program, bundle.default_weights)


def open_baked(bundle: Bundle, threads: int = 1) -> Session:
    """Serve the same model with its default weights as constants, as an app that never swaps would."""
    manifest = bundle.manifest
    constant = manifest.model_copy(update={"slots": ()})
    with _as_bundle_errors(bundle):
        program = load_program(bundle.path / manifest.bench.baked, constant, threads)
        return Session(bundle, program, {})


@contextmanager
def _as_bundle_errors(bundle: Bundle) -> Iterator[None]:
    """A program that its runtime cannot load, or run, is a bad bundle, however the runtime says so."""
    try:
        yield
    except BundleError:
        raise
    except Exception as error:  # each runtime has its own
        said = " ".join(str(error).split())[:300] or "no reason given"
        raise BundleError(
            f"{bundle.path}: its program does not run on {bundle.manifest.target}: {type(error).__name__}: {said}"
        ) from error
