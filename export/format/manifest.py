"""`manifest.json`: what a bundle is made of, and the check that not one byte of it was changed.

The file is canonical JSON: UTF-8, sorted keys, no white space. Its `id` is the SHA-256 of the same JSON
without the `id` entry, so a reader can check it by cutting the text `"id":"…",` out of the bytes; and it
names the SHA-256 and size of every other file. One id therefore stands for the whole folder.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError

from mnet.export.format.errors import BundleError, IntegrityError, Reason
from mnet.export.format.folder import MANIFEST_FILE
from mnet.export.format.tensors import Dtype, OutputInfo, Part, TensorInfo

SCHEMA = "mnet.bundle/2.0"


def canonical_json(content: Any) -> bytes:
    """The one byte string for `content`; ValueError if it holds a NaN or an infinity."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def _inside_the_bundle(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path != "/".join(parts) or ".." in parts or parts[0] == "/" or "\\" in path:
        raise ValueError(f"{path!r} is not a plain path inside the bundle")
    return path


BundlePath = Annotated[str, AfterValidator(_inside_the_bundle)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
PackDtype = Literal["float32", "float16", "int8"]
BaseDtype = Literal["float32", "int8"]


class Runtime(Part):
    """The runtime that the bundle was exported for and verified on."""

    name: str
    version: str


class Model(Part):
    """The device model; `metadata` is free text for people, such as the run that it comes from.

    `base_dtype` is that of the weights of the layers that are not generated (`mnet.export.lowering.quantization`).
    """

    name: str
    program: BundlePath
    base_dtype: BaseDtype = "float32"
    metadata: dict[str, str]


class File(Part):
    """One file. A phone needs those of role `device`; those of role `bench` stay on the host."""

    sha256: Sha256
    size: int = Field(ge=0)
    role: Literal["device", "bench"]


class Binding(BaseModel):
    """How new weights reach a slot: a `kind`, and what else the target's own class for that kind says."""

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str = Field(pattern="^[a-z][a-z0-9_-]*$")

    def __str__(self) -> str:
        """What the weights are to the program, in a word or two, for a table."""
        return self.kind

    @property
    def where(self) -> str:
        """The place of this slot, for people."""
        return ", ".join(f"{name} {value}" for name, value in self)

    @classmethod
    def of(cls, slot: "Slot") -> Self:
        """The binding of a slot as one of this class. BundleError where it is of another kind, or damaged."""
        if isinstance(slot.binding, cls):
            return slot.binding
        try:
            return cls.model_validate(slot.binding.model_dump())
        except ValidationError as error:
            raise BundleError(
                f"the slot of {slot.parameter} breaks its schema: {first_fault(error)}"
            ) from None


class Slot(Part):
    """Where one generated parameter lives in the artifact.

    `shape` and `dtype` are PyTorch's; `layout` is how the runtime wants it, one letter a dimension: `O` out,
    `I` in, `D` depth, `H` height, `W` width. Dimensions of size 1 may be left out: the weight of a 1x1
    convolution of layout `OI` is handed over as a matrix. `pack_dtype` is what the parameter travels in
    (`mnet.export.format.pack_dtypes`): whoever reads a pack widens it to `dtype`.
    """

    parameter: str
    shape: tuple[int, ...]
    dtype: Dtype
    pack_dtype: PackDtype = "float32"
    layout: str
    binding: SerializeAsAny[Binding]


class Golden(Part):
    """Samples with the outputs of eager PyTorch, under the default weights and under random other ones.

    An output of floats passes if no element is off by more than `tolerance * max(scale, largest magnitude expected)`,
    one of integers or bools if all are equal. A probe passes if its `distance` is at most `tolerance`
    (`mnet.export.format.probe`).
    """

    samples: BundlePath
    weights: BundlePath
    count: int = Field(ge=1)
    tolerance: float = Field(gt=0)


class Bench(Part):
    """What `mnet bench` compares with: the model with constant weights, and the probe of each swap."""

    baked: BundlePath
    swaps: BundlePath


class Manifest(Part):
    """The content of `manifest.json`. `inputs` are the device model's own, without those that are slots.

    `policy` is the file of the request policy `shift`, see `mnet.export.format.shift`; None where the bundle has none.
    """

    schema_: str = Field(alias="schema", pattern=r"^mnet\.bundle/2\.[0-9]+$")
    id: Sha256
    target: str
    runtime: Runtime
    model: Model
    files: dict[BundlePath, File]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[OutputInfo, ...]
    slots: tuple[Slot, ...]
    default_weights: BundlePath
    golden: Golden
    bench: Bench
    policy: BundlePath | None = None
    created: str

    @property
    def scales(self) -> tuple[float, ...]:
        """The scale of each output."""
        return tuple(output.scale for output in self.outputs)

    @property
    def pack_dtypes(self) -> dict[str, PackDtype]:
        """What each generated parameter travels in, in the order of the slots."""
        return {slot.parameter: slot.pack_dtype for slot in self.slots}

    def bound_by(self, kinds: Sequence[type[Binding]]) -> "Manifest":
        """The same, with the binding of each slot as one of these classes. BundleError for a slot of another kind."""
        by_kind = {each.model_fields["kind"].default: each for each in kinds}
        slots = []
        for slot in self.slots:
            if (kind := slot.binding.kind) not in by_kind:
                raise BundleError(
                    f"the slot of {slot.parameter} is of kind {kind!r}; target {self.target} knows {', '.join(by_kind)}"
                )
            slots.append(slot.model_copy(update={"binding": by_kind[kind].of(slot)}))
        return self.model_copy(update={"slots": tuple(slots)})

    def bytes_of(self, path: str) -> int:
        """Size of one of the bundle's files, or of all in one of its folders: a program is either."""
        return sum(file.size for name, file in self.files.items() if f"{name}/".startswith(f"{path}/"))

    @property
    def generated_bytes(self) -> int:
        """Size of the generated parameters in the artifact, in bytes."""
        return sum(torch.Size(slot.shape).numel() * torch_dtype(slot.dtype).itemsize for slot in self.slots)


def torch_dtype(name: str) -> torch.dtype:
    """PyTorch's dtype of a manifest's dtype name."""
    dtype = getattr(torch, name)
    assert isinstance(dtype, torch.dtype)
    return dtype


@cache
def dtype_name(dtype: torch.dtype) -> str:
    """A manifest's name of PyTorch's `dtype`, such as `float32`."""
    return str(dtype).removeprefix("torch.")


def seal(content: dict[str, Any]) -> bytes:
    """The bytes of `manifest.json` for `content` (without `id`), with the id put in."""
    identity = hashlib.sha256(canonical_json(content)).hexdigest()
    return canonical_json({**content, "id": identity})


def parse_manifest(raw: bytes) -> Manifest:
    """Read and check the bytes of `manifest.json`.

    Raises IntegrityError if a byte was changed since `seal`, BundleError if it is of a schema unknown here.
    """
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(Reason.MALFORMED, f"{MANIFEST_FILE} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise IntegrityError(Reason.MALFORMED, f"{MANIFEST_FILE} is not a JSON object")
    if not isinstance(schema := content.get("schema"), str):
        raise IntegrityError(Reason.MALFORMED, f"{MANIFEST_FILE} names no schema")
    # Where the id still vouches for our schema, the schema entry itself was changed: that is damage.
    if not _is_known(schema) and not _is_sealed(raw, {**content, "schema": SCHEMA}, schema):
        raise BundleError(f"the bundle is of schema {schema!r}; this version of mnet reads {SCHEMA}")
    if not _is_sealed(raw, content, schema):
        raise IntegrityError(Reason.WRONG_HASH, f"{MANIFEST_FILE} was changed: it does not match its id")
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        raise BundleError(f"{MANIFEST_FILE} breaks its schema: {first_fault(error)}") from None


def first_fault(error: ValidationError) -> str:
    """Where and what the first thing is that pydantic found wrong, on one line."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def _is_known(schema: str) -> bool:
    return re.fullmatch(r"mnet\.bundle/2\.[0-9]+", schema) is not None


def _is_sealed(raw: bytes, content: dict[str, Any], schema: str) -> bool:
    """Whether the id of `content` is right, and `raw` its canonical form but for the value of `schema`."""
    unsealed = {key: value for key, value in content.items() if key != "id"}
    try:
        sealed = seal(unsealed) == canonical_json(content)
        return sealed and canonical_json({**content, "schema": schema}) == raw
    except (ValueError, RecursionError):
        return False


def json_schema() -> str:
    """The JSON schema of the manifest: `export/format/schema/bundle-2.json`, for readers in other languages."""
    return json.dumps(Manifest.model_json_schema(), indent=2) + "\n"
