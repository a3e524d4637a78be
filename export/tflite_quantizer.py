"""int8 for the base of a `.tflite`, by Google's ai-edge-quantizer: int8 weights, activations quantized at each call."""

import contextlib
import io
import re
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from export.slots import find


def quantize_base(data: bytes, generated: Sequence[Tensor]) -> bytes:
    """The `.tflite` `data` with int8 weights, but for the operations that read one of `generated`."""
    from ai_edge_quantizer import recipe
    from ai_edge_quantizer.qtyping import TFLOperationName
    from ai_edge_quantizer.quantizer import Quantizer

    quantizer = Quantizer(bytearray(data), recipe.dynamic_wi8_afp32())
    for name in _operations_on(data, generated):
        quantizer.update_quantization_recipe(
            f"^{re.escape(name)}$", TFLOperationName.ALL_SUPPORTED, algorithm_key="no_quantize"
        )
    with contextlib.redirect_stdout(io.StringIO()):
        result = quantizer.quantize(enable_progress_bar=False, enable_progress_report=False)
    return bytes(result.quantized_model)


def _operations_on(data: bytes, generated: Sequence[Tensor]) -> list[str]:
    """The names, as the quantizer's recipes match them, of the operations whose weight is one of these."""
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils as flatbuffer

    model: Any = flatbuffer.read_model(memoryview(data))
    # Vectors are never quantized, and those of several layers may be equal.
    weights = [parameter for parameter in generated if parameter.dim() > 1]
    floats = {
        index
        for index, buffer in enumerate(model.buffers)
        if buffer.data is not None and any(_holds(bytes(buffer.data), weight) for weight in weights)
    }
    return [
        flatbuffer.get_op_scope(operation, graph.tensors)
        for graph in model.subgraphs
        for operation in graph.operators
        if floats & {graph.tensors[index].buffer for index in operation.inputs if index >= 0}
    ]


def _holds(value: bytes, weight: Tensor) -> bool:
    return len(value) == weight.nbytes and bool(find(value, weight))
