"""Devices' samples → the weight packs that a bundle takes: one forward pass of the MetaNetwork for a batch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import IntegrityError, Refused
from mnet.export.format.golden import flattened
from mnet.export.format.manifest import MANIFEST_FILE
from mnet.export.format.pack_dtypes import narrowed, widened
from mnet.export.format.packs import read_pack, write_pack
from mnet.export.lowering.quantization import with_base
from mnet.export.session import open_session
from mnet.toolchain.errors import UserError
from mnet.toolchain.metanetwork import call_alike
from mnet.toolchain.tasks import Task
from mnet.toolchain.training.build import GENERATED
from mnet.toolchain.training.run import CONFIG, Run, load_run

# Every forward pass has this many rows, the last one filled up: BLAS picks its kernel by the shape, and another one
# differs in the last bit, which would make a pack's bytes depend on its company. 16 rows cost 1.3 times 8, half of 64:
# right for the few uploads that a service sees at once, where a population pays half as much for 64.
ROWS, ROWS_OF_MANY = 16, 64
# No layer of a phone's model gives out more than this; from 3e38 on an encoder's squares and sums are infinite.
LARGEST = 65_504.0


def load_generators(
    runs: Sequence[Path], bundles: Sequence[Path], rows: int = ROWS
) -> "dict[str, ServedBundle]":
    """A generator for each bundle, by its id; each path is a run or bundle, or a folder of some.

    A bundle that was exported from no run, and any where there are no runs, is served without one. Raises UserError or
    BundleError for what cannot be read, and for a bundle that comes from a run that is none of these.
    """
    loaded = [load_run(path) for path in _found(runs, CONFIG)]
    by_fingerprint = {run.fingerprint: run for run in loaded}
    served: dict[str, ServedBundle] = {}
    for path in _found(bundles, MANIFEST_FILE):
        bundle = Bundle.load(path)
        generator = bundle.manifest.model.metadata.get("generator")
        if generator is None or not loaded:
            served[bundle.id] = ServedBundle(bundle)
        else:
            served[bundle.id] = PackGenerator(by_fingerprint.get(generator, loaded[0]), bundle, rows)
    return served


def _found(paths: Sequence[Path], marker: str) -> list[Path]:
    """The folders that hold a file of that name: each path itself, or those in it; a path without any stays."""
    found: list[Path] = []
    for path in paths:
        within = (
            [path] if (path / marker).exists() else sorted(file.parent for file in path.glob(f"*/{marker}"))
        )
        found += within or [path]
    return found


def verify_served(run: Run, bundle: Bundle) -> None:
    """Make two packs as the service does, and swap them in on the bundle's runtime, whose self-test must pass.

    Raises UserError for a bundle of another run, IntegrityError where a pack of the service is refused.
    """
    session = open_session(bundle)
    for pack in PackGenerator(run, bundle).trial():
        try:
            session.swap(pack)
        except Refused as error:
            raise IntegrityError(
                error.reason, f"a pack that the service made is refused: {error.detail}"
            ) from None


def readable_context(task: Task[Any], samples: Sequence[Any] | None) -> Tensor:
    """What a device uploaded -> a context [1, n, ...]. Raises ValueError where no weights can be made of it."""
    if not samples:
        raise ValueError("there are no samples to generate weights from")
    try:
        context = task.context(samples)
    except (
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
    ) as error:  # of a task that did not look at each sample
        raise ValueError(f"the task cannot read the samples: {type(error).__name__}: {error}") from None
    if context.is_floating_point() and not (context.abs() <= LARGEST).all():
        raise ValueError(f"a sample holds a number beyond {LARGEST:,.0f}, the largest that float16 has")
    return context


class ServedBundle:
    """A bundle without a run: operators push packs for it, and nothing is generated."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle_id = bundle.id
        self._bundle = bundle

    def checked(self, pack: bytes) -> None:
        """Raise Refused for what a device of the bundle would refuse before it runs it."""
        read_pack(pack, self._bundle.manifest)

    def renumbered(self, pack: bytes | None, version: int) -> bytes:
        """The weights of an earlier pack of the same bundle, or the default weights for None, as `version`."""
        old = read_pack(self._bundle.default_pack() if pack is None else pack, self._bundle.manifest)
        return write_pack(
            narrowed(old.parameters, self._bundle.manifest.pack_dtypes),
            bundle_id=self.bundle_id,
            version=version,
            generator=old.generator,
            probe=old.probe,
        )


class PackGenerator(ServedBundle):
    """A run's MetaNetwork, writing packs for one bundle that was exported from it, `rows` in a forward pass.

    Raises UserError if the bundle comes from another checkpoint: its base layers would not fit the head.
    """

    def __init__(self, run: Run, bundle: Bundle, rows: int = ROWS) -> None:
        exported_from = bundle.manifest.model.metadata.get("generator")
        if exported_from != run.fingerprint:
            raise UserError(
                f"bundle {bundle.id[:12]} was exported from checkpoint {str(exported_from)[:12]}, "
                f"the run holds {run.fingerprint[:12]}: export the run again"
            )
        super().__init__(bundle)
        self._rows = rows
        self._run = run
        self._golden = bundle.golden.inputs[0]
        self._world = run.world_parameters()
        self._on_device = with_base(run.device_model, run.generated, bundle.manifest.model.base_dtype)

    @property
    def has_world(self) -> bool:
        """Whether packs carry the state of the world."""
        return bool(self._world)

    def check(self, samples: Sequence[Any]) -> None:
        """Raise ValueError if the task cannot read the samples, as for an item that it does not know."""
        readable_context(self._run.task, samples)

    @torch.inference_mode()
    def packs(
        self,
        contexts: Sequence[Sequence[Any]],
        versions: Sequence[int],
        world: Mapping[str, Tensor] | None = None,
        rows: int | None = None,
        salts: Sequence[str] | None = None,
    ) -> list[bytes]:
        """The pack of `versions[n]` for `contexts[n]`; its bytes do not depend on what else is in the batch.

        They depend on `rows`, those of one forward pass, in the last bit; None for the generator's own. `salts[n]`
        follows the checkpoint's hash in the metadata, so that equal contexts do not give equal hashes of packs.

        `world` is as of `Run.world_parameters`; None for the latest that the run knows of. Raises ValueError if a
        generated value is not finite.
        """
        packs, rows = list[bytes](), rows or self._rows
        for start in range(0, len(contexts), rows):
            some = slice(start, start + rows)
            own = None if salts is None else salts[some]
            packs += self._pass(
                contexts[some], versions[some], self._world if world is None else world, rows, own
            )
        return packs

    @torch.inference_mode()
    def world_pack(self, version: int, world: Mapping[str, Tensor] | None = None) -> bytes:
        """The pack for everyone: the shared weights, but for the parameters of the `world`, which is as of `packs`."""
        everyone = self._shared() | dict(self._world if world is None else world)
        return self._written(_in_every_row(everyone, self._rows), [version])[0]

    def world_of(self, pack: bytes) -> dict[str, Tensor]:
        """What a world pack says of the world, as of `Run.world_parameters`; empty for every other pack."""
        found = read_pack(pack, self._bundle.manifest).parameters
        default = self._bundle.default_weights
        if any(not torch.equal(found[name], default[name]) for name in set(found) - set(self._world)):
            return {}
        return {name: found[name] for name in self._world}

    def _shared(self) -> dict[str, Tensor]:
        return {name: self._run.device_model.get_parameter(name) for name in self._run.generated}

    def _pass(
        self,
        contexts: Sequence[Sequence[Any]],
        versions: Sequence[int],
        world: Mapping[str, Tensor],
        rows: int,
        salts: Sequence[str] | None,
    ) -> list[bytes]:
        """The packs of up to `rows` contexts, in one forward pass of exactly as many."""
        task, shared = self._run.task, _in_every_row(self._shared() | dict(world), rows)
        given = torch.cat([readable_context(task, samples) for samples in contexts])
        if GENERATED not in self._run.modules:
            return self._written(shared, versions, salts)
        network = self._run.metanetwork
        filled = torch.cat([given, given[:1].expand(rows - len(given), *given.shape[1:])])
        generated = network.generate(task.prepared(network, filled))
        return self._written(
            shared | {name: generated[name] for name in generated if name not in world}, versions, salts
        )

    @torch.inference_mode()
    def trial(self) -> tuple[bytes, bytes]:
        """Two packs, of versions 1 and 2, made as those of devices are, but from vectors that no device has sent."""
        generator = torch.Generator().manual_seed(0)
        batch = _in_every_row(self._shared(), self._rows)
        if GENERATED in self._run.modules:
            network = self._run.metanetwork
            vectors = torch.randn(self._rows, network.context_encoder.width, generator=generator)
            batch |= network.generate_from(vectors)
        for name in self._world:
            batch[name] = batch[name] + 0.1 * torch.randn(batch[name].shape, generator=generator)
        first, second = self._written(batch, (1, 2))
        return first, second

    def _written(
        self, batch: dict[str, Tensor], versions: Sequence[int], salts: Sequence[str] | None = None
    ) -> list[bytes]:
        """The first of `rows` generated parameters fp32 [rows, *shape], as packs of these versions."""
        for name, values in batch.items():
            if not torch.isfinite(values).all():
                raise ValueError(f"the generated {name} is not finite")
        packed, on_device = self._narrowed(batch)
        # What the devices' self-tests must reproduce on their own runtimes, under these very weights.
        outputs = flattened(call_alike(self._on_device, on_device, *self._golden))
        probes = [self._bundle.probe([output[row] for output in outputs]) for row in range(len(versions))]
        return [
            write_pack(
                packed[row],
                bundle_id=self.bundle_id,
                version=version,
                generator=self._run.fingerprint if salts is None else f"{self._run.fingerprint}.{salts[row]}",
                probe=probes[row],
            )
            for row, version in enumerate(versions)
        ]

    def _narrowed(self, batch: dict[str, Tensor]) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """Generated parameters fp32 [rows, *shape] -> each row as it travels, and all as the devices widen them."""
        dtypes = self._bundle.manifest.pack_dtypes
        columns = [values.unbind() for values in batch.values()]
        plain = [dict(zip(batch, row, strict=True)) for row in zip(*columns, strict=True)]
        if set(dtypes.values()) == {"float32"}:
            return plain, {name: batch[name] for name in dtypes}
        packed = [narrowed(row, dtypes) for row in plain]
        wide = [widened(tensors, dtypes) for tensors in packed]
        return packed, {name: torch.stack([row[name] for row in wide]) for name in dtypes}


def _in_every_row(parameters: Mapping[str, Tensor], rows: int) -> dict[str, Tensor]:
    return {name: value.expand(rows, *value.shape) for name, value in parameters.items()}
