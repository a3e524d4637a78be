"""What is inside a bundle or a pack, for people and for machines: every fact that `mnet inspect` prints."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from mnet.export.format.bundle import Bundle
from mnet.export.format.manifest import Slot, dtype_name, torch_dtype
from mnet.export.format.packs import pack_digest, unpack
from mnet.export.lowering.target import Profile
from mnet.export.targets import load_target


def inspect_bundle(bundle: Bundle) -> dict[str, Any]:
    """Slots with place and layout, files with sizes, and which engine takes which operations.

    `nodes` counts the operations by method, engine and name; `profile`, where the runtime tells it, is what of an
    inference each of those takes that no delegate runs. BundleError where the target's packages lack.
    """
    manifest = bundle.manifest
    module = load_target(manifest.target)
    nodes = module.nodes(bundle.path / manifest.model.program)
    counted = Counter((node.method, node.engine, node.op) for node in nodes)
    profile = profile_of(bundle)
    return {
        "bundle": bundle.id,
        "target": manifest.target,
        "runtime": f"{manifest.runtime.name} {manifest.runtime.version}",
        "model": manifest.model.name,
        "created": manifest.created,
        "generated_bytes": manifest.generated_bytes,
        "push_bytes": len(bundle.default_pack()),
        "inputs": [info.model_dump(mode="json") for info in manifest.inputs],
        "outputs": [info.model_dump(mode="json") for info in manifest.outputs],
        "slots": [_describe_slot(slot) for slot in manifest.bound_by(module.TARGET.slots).slots],
        "files": {name: {"size": file.size, "role": file.role} for name, file in manifest.files.items()},
        "nodes": [
            {"method": method, "engine": engine, "op": op, "count": count}
            for (method, engine, op), count in counted.items()
        ],
        "profile": profile and {**asdict(profile), "summary": str(profile)},
    }


def profile_of(bundle: Bundle) -> Profile | None:
    """Where an inference of the first golden sample spends its time here; None if the runtime does not say."""
    manifest = bundle.manifest
    module = load_target(manifest.target)
    profile: Callable[..., Profile] | None = getattr(module, "profile", None)
    if profile is None:
        return None
    bound = manifest.bound_by(module.TARGET.slots)
    return profile(
        bundle.path / manifest.model.program, bound, bundle.default_weights, bundle.golden.inputs[0]
    )


def outside_the_delegate(bundle: Bundle) -> str:
    """Which operations the runtime's delegate left to plain kernels, and what these take; empty for none."""
    manifest = bundle.manifest
    nodes = load_target(manifest.target).nodes(bundle.path / manifest.model.program)
    left = [node for node in nodes if node.engine.endswith("kernels")]
    if not left:
        return ""
    counted = Counter(node.op for node in left).most_common()
    ops = ", ".join(f"{op} ({count})" if count > 1 else op for op, count in counted)
    told = f"{left[0].engine} run {len(left)} of {len(nodes)} operations: {ops}"
    profile = profile_of(bundle)
    return f"{told}; they take {profile}" if profile else told


def inspect_pack(data: bytes) -> dict[str, Any]:
    """What a weight pack says of itself, and its tensors; raises Refused where it is no pack."""
    metadata, tensors = unpack(data)
    return {
        "pack": pack_digest(data),
        "size": len(data),
        "bundle": metadata.bundle,
        "version": metadata.version,
        "generator": metadata.generator,
        "probe": metadata.probe,
        "tensors": [
            {
                "parameter": name,
                "dtype": dtype_name(tensor.dtype),
                "shape": list(tensor.shape),
                "bytes": tensor.nbytes,
                "min": tensor.min().item(),
                "max": tensor.max().item(),
            }
            for name, tensor in tensors.items()
        ],
    }


def _describe_slot(slot: Slot) -> dict[str, Any]:
    return {
        "parameter": slot.parameter,
        "dtype": slot.dtype,
        "pack_dtype": slot.pack_dtype,
        "shape": list(slot.shape),
        "layout": slot.layout,
        "bytes": math.prod(slot.shape) * torch_dtype(slot.dtype).itemsize,
        "binding": slot.binding.model_dump(mode="json"),
        "where": slot.binding.where,
    }
