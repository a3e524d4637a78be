"""int8 weights for the base of a `.tflite`, by Google's ai-edge-quantizer; arithmetic stays fp32."""

import contextlib
import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mnet.export.format.slots import find

_FLOAT32 = 0  # TensorType in LiteRT's schema
_LARGEST = 127


def quantize_base(data: bytes, generated: Sequence[Tensor]) -> bytes:
    """The `.tflite` `data` with int8 weights where that loses nothing, and never those of `generated`.

    It loses nothing where the weights were rounded before (`mnet.export.lowering.quantization`) and the exporter
    left them so. Those that it merged with a neighbour, as a LayerNorm's gain into the next layer, stay fp32.
    """
    from ai_edge_quantizer import recipe
    from ai_edge_quantizer.qtyping import TFLOperationName
    from ai_edge_quantizer.quantizer import Quantizer

    quantizer = Quantizer(bytearray(data), recipe.weight_only_wi8_afp32())
    for name in _in_fp32(data, [parameter for parameter in generated if parameter.dim() > 1]):
        quantizer.update_quantization_recipe(
            f"^{re.escape(name)}$", TFLOperationName.ALL_SUPPORTED, algorithm_key="no_quantize"
        )
    with contextlib.redirect_stdout(io.StringIO()):
        result = quantizer.quantize(enable_progress_bar=False, enable_progress_report=False)
    return bytes(result.quantized_model)


def _in_fp32(data: bytes, generated: Sequence[Tensor]) -> list[str]:
    """The names, as the quantizer's recipes match them, of the operations whose weights must stay as they are."""
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils as flatbuffer

    model: Any = flatbuffer.read_model(memoryview(data))
    kept = []
    for graph in model.subgraphs:
        for operation in graph.operators:
            tensors = [graph.tensors[index] for index in operation.inputs if index >= 0]
            weights = [
                np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.float32).reshape(tensor.shape)
                for tensor in tensors
                if tensor.type == _FLOAT32
                and len(_shape(tensor)) > 1
                and model.buffers[tensor.buffer].data is not None
            ]
            if any(not _is_rounded(weight) or _is_one_of(weight, generated) for weight in weights):
                kept.append(flatbuffer.get_op_scope(operation, graph.tensors))
    return kept


def _shape(tensor: Any) -> Sequence[int]:
    return () if tensor.shape is None else tensor.shape


def _is_rounded(weight: NDArray[np.float32]) -> bool:
    """Whether each output channel, the first dimension or of depthwise convolutions the last, is of 255 steps."""
    for channel in (0, weight.ndim - 1):
        others = tuple(axis for axis in range(weight.ndim) if axis != channel)
        step = np.abs(weight).max(axis=others, keepdims=True) / _LARGEST
        steps = weight / np.where(step > 0, step, 1)
        if np.abs(steps - np.round(steps)).max() < 1e-3:
            return True
    return False


def _is_one_of(weight: NDArray[np.float32], generated: Sequence[Tensor]) -> bool:
    return any(
        weight.nbytes == parameter.nbytes and find(weight.tobytes(), parameter) for parameter in generated
    )
