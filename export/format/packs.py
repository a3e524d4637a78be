"""Weight packs: one version of the generated parameters as a safetensors file, named by its SHA-256.

The metadata is one key, `mnet`, holding canonical JSON: safetensors keeps several keys in no fixed order, and
the same weights must give the same bytes.
"""

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, TensorSpec, serialize
from torch import Tensor

from mnet.export.format.errors import Reason, Refused
from mnet.export.format.manifest import Manifest, Slot, canonical_json, dtype_name, first_fault
from mnet.export.format.pack_dtypes import Carrier, carriers, widened
from mnet.export.format.probe import LENGTH

SCHEMA = "mnet.pack/2"
# Of releases and packs, on every phone and server: what a database column and a phone's integers hold.
MAX_VERSION = 2**31 - 1


@dataclass(frozen=True)
class WeightPack:
    """A pack that fits its bundle. `parameters` are fp32, in the order of the manifest's slots, PyTorch layout."""

    version: int
    generator: str
    probe: tuple[float, ...]
    parameters: dict[str, Tensor]


class PackMetadata(BaseModel):
    """What a pack says of itself: its bundle, its version, its generator's hash, and the probe."""

    model_config = ConfigDict(strict=True, extra="forbid", populate_by_name=True)

    schema_: Literal["mnet.pack/2"] = Field(alias="schema")
    bundle: str
    version: int = Field(ge=0, le=MAX_VERSION)
    generator: str
    probe: list[Annotated[float, Field(allow_inf_nan=False)]] = Field(min_length=LENGTH, max_length=LENGTH)


def pack_digest(data: bytes) -> str:
    """The name of a pack: SHA-256 of its bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def write_pack(
    tensors: Mapping[str, Tensor], *, bundle_id: str, version: int, generator: str, probe: Sequence[float]
) -> bytes:
    """Pack `tensors`, as `narrowed` gives them, as `version` for one bundle; equal arguments give equal bytes.

    `generator` is the SHA-256 of the checkpoint that generated them and, in one of a device alone, a dot and a salt.
    `probe` is that of eager PyTorch's outputs for the bundle's first golden input under these very weights, `rounded`
    (`mnet.export.format.probe`): the device must reproduce it.
    Raises ValueError if a probe value is not finite.
    """
    metadata = {
        "schema": SCHEMA,
        "bundle": bundle_id,
        "version": version,
        "generator": generator,
        "probe": list(probe),
    }
    dense = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # As `safetensors.torch.save` calls it: with what its checks cost left out, 4 times as fast.
    specified = {
        name: TensorSpec(
            dtype=dtype_name(tensor.dtype),
            shape=tensor.shape,
            data_ptr=tensor.data_ptr(),
            data_len=tensor.nbytes,
        )
        for name, tensor in dense.items()
    }
    return bytes(serialize(specified, {"mnet": canonical_json(metadata).decode()}))


def read_pack(data: bytes, manifest: Manifest) -> WeightPack:
    """Check a pack against the bundle that it is for; raises Refused by name.

    That its version is newer than the one served is for the session to check.
    """
    metadata, tensors = unpack(data)
    if metadata.bundle != manifest.id:
        raise Refused(Reason.WRONG_BUNDLE, f"the pack is for bundle {metadata.bundle}, this is {manifest.id}")
    _check(tensors, [carrier for slot in manifest.slots for carrier in carriers(slot)])
    parameters = widened(tensors, manifest.pack_dtypes)
    return WeightPack(metadata.version, metadata.generator, tuple(metadata.probe), parameters)


def unpack(data: bytes) -> tuple[PackMetadata, dict[str, Tensor]]:
    """A pack's metadata and tensors, whatever bundle it is for; raises Refused where it is no pack."""
    metadata = _read_metadata(data)
    try:
        return metadata, safetensors.torch.load(data)
    except (SafetensorError, KeyError) as error:
        raise Refused(Reason.MALFORMED, f"not a safetensors file: {error}") from None


def check_parameters(tensors: Mapping[str, Tensor], slots: Sequence[Slot]) -> dict[str, Tensor]:
    """`tensors` in the order of `slots`; raises Refused unless they are what the slots take, and finite."""
    _check(tensors, [Carrier(slot.parameter, slot.dtype, slot.shape) for slot in slots])
    return {slot.parameter: tensors[slot.parameter] for slot in slots}


def _check(tensors: Mapping[str, Tensor], expected: Sequence[Carrier]) -> None:
    names = [carrier.name for carrier in expected]
    if missing := [name for name in names if name not in tensors]:
        raise Refused(Reason.MISSING_TENSOR, f"no tensor {', '.join(missing)}")
    if extra := sorted(set(tensors) - set(names)):
        raise Refused(Reason.EXTRA_TENSOR, f"the bundle has no slot for {', '.join(extra)}")
    for name, dtype, shape in expected:
        tensor = tensors[name]
        if dtype_name(tensor.dtype) != dtype:
            raise Refused(Reason.WRONG_DTYPE, f"{name} is {dtype_name(tensor.dtype)}, its slot {dtype}")
        if tuple(tensor.shape) != shape:
            raise Refused(Reason.WRONG_SHAPE, f"{name} is {tuple(tensor.shape)}, its slot {shape}")
        if not torch.isfinite(tensor).all():
            raise Refused(Reason.NOT_FINITE, f"{name} holds a NaN or an infinity")


def mnet_metadata(data: bytes) -> str:
    """The JSON text under the key `mnet` in the metadata of a safetensors file; raises ValueError without."""
    # safetensors gives metadata of files only, so the header is read here: 8 bytes of length, then JSON.
    try:
        (length,) = struct.unpack_from("<Q", data)
        text = json.loads(data[8 : 8 + length])["__metadata__"]["mnet"]
    except (struct.error, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"the header cannot be read: {error}") from None
    if not isinstance(text, str):
        raise ValueError("the header's metadata are no text")
    return text


def _read_metadata(data: bytes) -> PackMetadata:
    try:
        return PackMetadata.model_validate_json(mnet_metadata(data))
    except ValidationError as error:
        raise Refused(Reason.MALFORMED, f"the pack's metadata is wrong: {first_fault(error)}") from None
    except ValueError as error:
        raise Refused(Reason.MALFORMED, f"this is no pack: {error}") from None
