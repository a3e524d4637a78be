"""A bundle: the folder that one export leaves, checked file by file whenever it is opened."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from mnet.export.format.errors import BundleError, IntegrityError, Reason, Refused
from mnet.export.format.folder import MANIFEST_FILE, read_manifest
from mnet.export.format.golden import Golden, golden_from_tensors
from mnet.export.format.manifest import File, Manifest, parse_manifest
from mnet.export.format.pack_dtypes import narrowed
from mnet.export.format.packs import check_parameters, write_pack
from mnet.export.format.probe import probe
from mnet.export.format.shift import Shift


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose every byte is the one that was exported."""

    path: Path
    manifest: Manifest

    @classmethod
    def load(cls, path: str | Path) -> "Bundle":
        """Open the bundle in folder `path`.

        Raises IntegrityError where a file was changed, is missing or was added since the export, and another
        BundleError where there is no bundle or it is of a schema unknown here.
        """
        path = Path(path)
        manifest = parse_manifest(read_manifest(path))
        _check_files(path, manifest)
        return cls(path, manifest)

    @property
    def id(self) -> str:
        """SHA-256 of the manifest without its id: names the bundle down to the last byte."""
        return self.manifest.id

    @cached_property
    def default_weights(self) -> dict[str, Tensor]:
        """The generated parameters that the model was trained with, in the order of the slots: version 0."""
        return self._weights(self.manifest.default_weights)

    @cached_property
    def golden(self) -> Golden:
        """Samples with eager PyTorch's outputs."""
        entry = self.manifest.golden
        names = (
            [tensor.name for tensor in self.manifest.inputs],
            [tensor.name for tensor in self.manifest.outputs],
        )
        try:
            return golden_from_tensors(
                self.tensors(entry.samples), self._weights(entry.weights), entry.count, *names
            )
        except KeyError as error:
            raise BundleError(f"{self.path / entry.samples} has no tensor {error}") from None

    @cached_property
    def policy(self) -> Shift | None:
        """The request policy `shift`; None in a bundle without one. Raises BundleError where it is damaged."""
        file = self.manifest.policy
        return None if file is None else Shift.from_bytes((self.path / file).read_bytes())

    def default_pack(self) -> bytes:
        """The default weights as the pack of version 0."""
        return self.pack(self.default_weights, 0, "default", self.probe(self.golden.default[0]))

    def golden_pack(self, version: int = 1) -> bytes:
        """The golden weights as a pack, to try a swap with."""
        return self.pack(self.golden.weights, version, "golden", self.probe(self.golden.swapped[0]))

    def probe(self, outputs: Sequence[Tensor]) -> list[float]:
        """The 16 sums over all outputs of the model, in the manifest's order, for golden sample 0."""
        return probe(outputs, self.manifest.scales)

    def pack(
        self, parameters: Mapping[str, Tensor], version: int, generator: str, probe: Sequence[float]
    ) -> bytes:
        """Generated parameters (fp32, PyTorch layout) as a pack of the bundle's pack dtype.

        `probe` is that of eager PyTorch under them, as the pack rounds them; see `write_pack`.
        """
        return write_pack(
            narrowed(parameters, self.manifest.pack_dtypes),
            bundle_id=self.id,
            version=version,
            generator=generator,
            probe=probe,
        )

    def tensors(self, name: str) -> dict[str, Tensor]:
        """The tensors of a safetensors file of the bundle; BundleError where it is none."""
        try:
            return safetensors.torch.load((self.path / name).read_bytes())
        except (SafetensorError, ValueError, KeyError, OverflowError) as error:
            raise BundleError(f"{self.path / name} is no safetensors file: {error}") from None

    def _weights(self, name: str) -> dict[str, Tensor]:
        try:
            return check_parameters(self.tensors(name), self.manifest.slots)
        except Refused as error:
            raise BundleError(f"{self.path / name} does not fit the slots: {error}") from None


def list_files(folder: Path) -> dict[str, Path]:
    """Every file below `folder` but the manifest, by its path inside the bundle."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if not path.is_dir()}
    files.pop(MANIFEST_FILE, None)
    return files


def describe_file(path: Path, role: str) -> File:
    """The manifest's entry for a file."""
    data = path.read_bytes()
    entry = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "role": role}
    return File.model_validate(entry)


def _check_files(folder: Path, manifest: Manifest) -> None:
    found = list_files(folder)
    if missing := sorted(set(manifest.files) - set(found)):
        raise IntegrityError(Reason.MISSING_FILE, f"{folder / missing[0]} is missing")
    if extra := sorted(set(found) - set(manifest.files)):
        raise IntegrityError(Reason.EXTRA_FILE, f"{folder / extra[0]} is not part of the bundle")
    for name, expected in manifest.files.items():
        path = found[name]
        if not path.is_file() or path.is_symlink():
            raise IntegrityError(Reason.MALFORMED, f"{path} is not a plain file")
        if (size := path.stat().st_size) != expected.size:
            raise IntegrityError(Reason.WRONG_SIZE, f"{path} has {size} bytes, not {expected.size}")
        if describe_file(path, expected.role).sha256 != expected.sha256:
            raise IntegrityError(Reason.WRONG_HASH, f"{path} was changed")
