"""What coremltools itself says that an op of a CoreML program gives: the value inference of its compiler."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mnet.export.lowering.quiet import quiet


@functools.cache
def can_infer(kind: str) -> bool:
    """Whether coremltools knows the op, and computes its value from constants."""
    with quiet():
        from coremltools.converters.mil.mil import Operation
        from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry

    versions = SSAOpRegistry.core_ops.get(kind, {})
    return any(version.value_inference is not Operation.value_inference for version in versions.values())


def infer(kind: str, opset: str, arguments: Mapping[str, Any]) -> tuple[Tensor, ...] | None:
    """The results of an op of these arguments, floats in fp32; None where coremltools does not compute it.

    Raises RuntimeError where it refuses the arguments.
    """
    from coremltools.converters.mil.mil import Builder, Function

    given = {name: _as_numpy(value) for name, value in arguments.items()}
    try:
        with quiet(), Function({}, opset_version=_target(opset)):
            results = getattr(Builder, kind)(**given)
    except Exception as error:  # its checks have no base class of their own
        raise RuntimeError(f"coremltools refuses it: {error}") from None
    results = tuple(results) if isinstance(results, list | tuple) else (results,)
    if any(result.val is None for result in results):
        return None
    return tuple(torch.from_numpy(np.array(result.val)) for result in results)


def _as_numpy(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_as_numpy, value))
    if isinstance(value, Tensor) and value.dim() == 0 and not value.is_floating_point():
        return value.item()
    return value.numpy()[()] if isinstance(value, Tensor) else value


def _target(opset: str) -> Any:
    from coremltools import target

    # Opset 5 came with iOS 15, and one a year since.
    return target[f"iOS{int(opset.removeprefix('CoreML')) + 10}"]
