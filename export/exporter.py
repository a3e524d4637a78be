"""Device model → bundle, for any target: export once, verify on the real runtime, and only then appear."""

import dataclasses
import datetime
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import BaseModel
from torch import Tensor, nn

from mnet.export.eager_run import EagerRun, run_eager
from mnet.export.format.bundle import Bundle, describe_file, list_files
from mnet.export.format.errors import BundleError
from mnet.export.format.golden import flattened, golden_tensors
from mnet.export.format.manifest import MANIFEST_FILE, SCHEMA, seal
from mnet.export.format.manifest import Golden as GoldenEntry
from mnet.export.format.pack_dtypes import choose_pack_dtypes, rounded
from mnet.export.format.slots import place
from mnet.export.inspection import outside_the_delegate
from mnet.export.lowering.bindings import choose_binding
from mnet.export.lowering.dynamic import Bounds, largest, smallest
from mnet.export.lowering.quantization import with_base
from mnet.export.lowering.spec import ExportSpec, describe
from mnet.export.lowering.target import Target
from mnet.export.session import open_baked
from mnet.export.targets import find_target, known_targets, load_target
from mnet.export.verify import verify_bundle

DEFAULT_WEIGHTS_FILE = "default.safetensors"
GOLDEN_SAMPLES_FILE = "golden.safetensors"
GOLDEN_WEIGHTS_FILE = "golden-weights.safetensors"
SWAPS_FILE = "bench/swaps.safetensors"
POLICY_FILE = "policy.safetensors"

Stage = Callable[[str], None]


def export_bundle(spec: ExportSpec, target: str, out: Path, stage: Stage = lambda _: None) -> Bundle:
    """Export `spec` for `target` into the new folder `out`, calling `stage` with a line before each step.

    `out` appears only when the bundle is complete and verified; an older bundle there is replaced. Raises
    BundleError for what cannot be exported, and where `out` holds something else.
    """
    module = load_target(target)
    refuse_dynamic(spec.dynamic, target)
    _refuse_base_dtype(spec, target, module.TARGET)
    choice = choose_binding(spec, target, module.TARGET)
    out = Path(out)
    _refuse_foreign(out)
    _refuse_inputs(spec, target, module.TARGET)
    model = with_base(spec.model, spec.generated, spec.base_dtype)
    model.register_forward_hook(_as_tuple)
    # Runtimes are handed plain tensors; an example with its channels last would have the program expect that order.
    inputs = tuple(tuple(tensor.contiguous() for tensor in sample) for sample in spec.inputs)
    if spec.sizes:  # The self-test runs the first sample; these two are golden ones like the others.
        inputs = (*inputs, smallest(inputs[0], spec.sizes), largest(inputs[0], spec.sizes))
    spec = dataclasses.replace(spec, binding=choice.binding, model=model, inputs=inputs)
    trained = {name: model.get_parameter(name).clone() for name in spec.generated}
    pack_dtypes = choose_pack_dtypes(trained, spec.pack_dtype)
    default = rounded(trained, pack_dtypes)
    with _appearing(out) as folder:
        stage("running the model in eager PyTorch")
        eager = run_eager(spec, default, pack_dtypes, module.TARGET.tolerance)
        golden = eager.golden
        samples = golden_tensors(golden, spec.input_names, spec.output_names)
        _write_tensors(folder / GOLDEN_SAMPLES_FILE, samples)
        _write_tensors(folder / GOLDEN_WEIGHTS_FILE, golden.weights)
        _write_tensors(folder / SWAPS_FILE, eager.swaps)
        if choice.why:
            stage(choice.why)
        stage(f"lowering the swappable program for {target}")
        place(model, golden.weights)
        program, slots = module.write_program(model, spec, folder)
        stage("lowering the same model with constant weights, to compare with")
        place(model, default)
        baked = module.write_baked(model, spec, folder)
        stage("writing weights, golden samples and manifest")
        _write_tensors(folder / DEFAULT_WEIGHTS_FILE, default)
        artifact: dict[str, object] = {
            "runtime": module.runtime().model_dump(),
            "model": {
                "name": spec.name,
                "program": program,
                "base_dtype": spec.base_dtype,
                "metadata": spec.metadata,
            },
            "slots": _dump(
                [slot.model_copy(update={"pack_dtype": pack_dtypes[slot.parameter]}) for slot in slots]
            ),
            "bench": {"baked": baked, "swaps": SWAPS_FILE},
        }
        if spec.policy is not None:
            (folder / POLICY_FILE).write_bytes(spec.policy.to_bytes())
            artifact["policy"] = POLICY_FILE
        _write_manifest(folder, spec, target, artifact, eager)
        stage("verifying the bundle on its runtime")
        bundle = Bundle.load(folder)
        verify_bundle(bundle)
        open_baked(bundle)
        if slow := outside_the_delegate(bundle):
            stage(slow)
    return Bundle.load(out)


def _write_manifest(
    folder: Path, spec: ExportSpec, target: str, artifact: dict[str, object], eager: EagerRun
) -> None:
    """Write `manifest.json` over the files that lie in `folder`."""
    content = {
        "schema": SCHEMA,
        "target": target,
        "files": {
            name: describe_file(path, "bench" if name.startswith("bench/") else "device").model_dump()
            for name, path in list_files(folder).items()
        },
        "inputs": _dump(describe(spec.input_names, spec.inputs, spec.sizes)),
        "outputs": [
            {**info, "scale": scale}
            for info, scale in zip(
                _dump(describe(spec.output_names, eager.golden.default, spec.sizes)),
                eager.scales,
                strict=True,
            )
        ],
        "default_weights": DEFAULT_WEIGHTS_FILE,
        "golden": GoldenEntry(
            samples=GOLDEN_SAMPLES_FILE,
            weights=GOLDEN_WEIGHTS_FILE,
            count=len(spec.inputs),
            tolerance=find_target(target).tolerance,
        ).model_dump(),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **artifact,
    }
    (folder / MANIFEST_FILE).write_bytes(seal(content))


def _dump(parts: Sequence[BaseModel]) -> list[dict[str, object]]:
    return [part.model_dump(mode="json", exclude_none=True) for part in parts]


def _write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    path.parent.mkdir(exist_ok=True)
    # Two samples may hold one tensor, as of an input whose size does not vary: a file has it twice.
    copies = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    path.write_bytes(safetensors.torch.save(copies))


def _refuse_base_dtype(spec: ExportSpec, name: str, target: Target) -> None:
    if spec.base_dtype != "float32" and not target.quantizes:
        able = ", ".join(other for other, known in known_targets().items() if known.quantizes)
        raise BundleError(
            f"target {name} keeps its base in fp32: an {spec.base_dtype} base is there for {able}; pushes alone "
            "become smaller with pack dtype int8, on every target"
        )


def refuse_dynamic(dynamic: Mapping[str, Bounds], target: str) -> None:
    """Raise BundleError where sizes shall vary and the target's runtime has fixed ones."""
    if dynamic and not find_target(target).dynamic:
        able = ", ".join(name for name, known in known_targets().items() if known.dynamic)
        raise BundleError(
            f"target {target} has fixed sizes only, and {', '.join(dynamic)} shall vary: leave that out and pad the "
            f"input, or export for {able}"
        )


def _refuse_inputs(spec: ExportSpec, name: str, target: Target) -> None:
    for info in describe(spec.input_names, spec.inputs):
        if info.dtype not in target.inputs:
            raise BundleError(
                f"input {info.name} is {info.dtype}; target {name} takes {', '.join(target.inputs)}: give the "
                "model one of these and let it convert it"
            )


def _as_tuple(_: nn.Module, __: object, result: Any) -> tuple[Tensor, ...]:
    """What a model returned, be it a tensor, a dict or a `ModelOutput`, as exporters take it alike."""
    return tuple(flattened(result))


def _refuse_foreign(out: Path) -> None:
    """Only an empty folder or a former bundle may be replaced."""
    if out.exists() and not out.is_dir():
        raise BundleError(f"{out} is a file; name a folder for the bundle")
    if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST_FILE).is_file():
        raise BundleError(f"{out} holds something other than a bundle; name a new folder")


@contextmanager
def _appearing(out: Path) -> Iterator[Path]:
    """A new folder next to `out` that replaces it at the end, or is removed on an error."""
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = out.with_name(f".{out.name}.{uuid.uuid4().hex}")
    staging.mkdir()
    try:
        yield staging
        if out.exists():
            former = staging.with_name(f"{staging.name}.former")
            out.rename(former)
            staging.rename(out)
            shutil.rmtree(former)
        else:
            staging.rename(out)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
