"""Ops of Apple's model intermediate language (MIL) in PyTorch: common ones, and those that coremltools cannot infer.

Each takes its arguments by the names that MIL gives them (coremltools' `mil.ops.defs` documents each op) and
gives fp32, integers or booleans, which the caller rounds to the declared type.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from mnet.export.lowering.coreml_spatial_ops import SPATIAL_OPS, Op, numbers


def _cast(x: Tensor, dtype: str) -> Tensor:
    return x  # the declared type of the result says it again


def _select(cond: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(cond, a, b)


def _rsqrt(x: Tensor, epsilon: Tensor) -> Tensor:
    return torch.rsqrt(x + epsilon)


def _clip(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    return x.clamp(float(alpha), float(beta))


def _gelu(x: Tensor, mode: str = "EXACT") -> Tensor:
    return functional.gelu(x, approximate="none" if mode == "EXACT" else "tanh")


def _leaky_relu(x: Tensor, alpha: Tensor) -> Tensor:
    return functional.leaky_relu(x, float(alpha))


def _prelu(x: Tensor, alpha: Tensor) -> Tensor:
    return functional.prelu(x, alpha)


def _softmax(x: Tensor, axis: Tensor) -> Tensor:
    return torch.softmax(x, int(axis))


def _reduce_mean(x: Tensor, axes: Tensor, keep_dims: Tensor) -> Tensor:
    return x.mean(numbers(axes), keepdim=bool(keep_dims))


def _reduce_sum(x: Tensor, axes: Tensor, keep_dims: Tensor) -> Tensor:
    return x.sum(numbers(axes), keepdim=bool(keep_dims))


def _layer_norm(
    x: Tensor, axes: Tensor, epsilon: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None
) -> Tensor:
    dimensions = numbers(axes)
    if sorted(axis % x.dim() for axis in dimensions) != list(range(x.dim() - len(dimensions), x.dim())):
        raise TypeError(f"a normalization over the axes {dimensions}, which are not the last ones")
    return functional.layer_norm(x, x.shape[-len(dimensions) :], gamma, beta, float(epsilon))


def _batch_norm(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    epsilon: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
) -> Tensor:
    return functional.batch_norm(x, mean, variance, gamma, beta, eps=float(epsilon))


def _reshape(x: Tensor, shape: Tensor) -> Tensor:
    return x.reshape(numbers(shape))


def _transpose(x: Tensor, perm: Tensor) -> Tensor:
    return x.permute(numbers(perm))


def _expand_dims(x: Tensor, axes: Tensor) -> Tensor:
    rank = x.dim() + axes.numel()
    for axis in sorted(axis % rank for axis in numbers(axes)):
        x = x.unsqueeze(axis)
    return x


def _squeeze(x: Tensor, axes: Tensor | None = None) -> Tensor:
    return x.squeeze() if axes is None else x.squeeze(tuple(numbers(axes)))


def _tile(x: Tensor, reps: Tensor) -> Tensor:
    return x.repeat(numbers(reps))


def _concat(values: list[Tensor], axis: Tensor, interleave: Tensor | None = None) -> Tensor:
    if interleave is not None and bool(interleave):
        raise TypeError("an interleaved concatenation")
    # Single numbers make a vector, as the parts of a shape do.
    return torch.cat([value.reshape(1) if value.dim() == 0 else value for value in values], int(axis))


def _stack(values: list[Tensor], axis: Tensor) -> Tensor:
    return torch.stack(values, int(axis))


def _split(
    x: Tensor, axis: Tensor, split_sizes: Tensor | None = None, num_splits: Tensor | None = None
) -> tuple[Tensor, ...]:
    if split_sizes is not None:
        return torch.split(x, numbers(split_sizes), int(axis))
    assert num_splits is not None
    return torch.split(x, x.shape[int(axis)] // int(num_splits), int(axis))


def _slice_by_index(
    x: Tensor,
    begin: Tensor,
    end: Tensor,
    stride: Tensor | None = None,
    begin_mask: Tensor | None = None,
    end_mask: Tensor | None = None,
    squeeze_mask: Tensor | None = None,
) -> Tensor:
    def flags(mask: Tensor | None) -> list[bool]:
        return [False] * x.dim() if mask is None else [bool(flag) for flag in mask]

    steps = [1] * x.dim() if stride is None else numbers(stride)
    if min(steps) < 1:
        raise TypeError(f"a slice with the strides {steps}")
    index: list[int | slice] = []
    bounds = zip(numbers(begin), numbers(end), steps, strict=True)
    masks = zip(flags(begin_mask), flags(end_mask), flags(squeeze_mask), strict=True)
    for (start, stop, step), (from_first, to_last, drop) in zip(bounds, masks, strict=True):
        whole = slice(None if from_first else start, None if to_last else stop, step)
        index.append(start if drop else whole)
    return x[tuple(index)]


def _gather(
    x: Tensor,
    indices: Tensor,
    axis: Tensor,
    batch_dims: Tensor | None = None,
    validate_indices: Tensor | None = None,
) -> Tensor:
    if batch_dims is not None and int(batch_dims) != 0:
        raise TypeError(f"a gather of {int(batch_dims)} batch dimensions")
    at = int(axis) % x.dim()
    found = torch.index_select(x, at, indices.flatten().int())
    return found.reshape(x.shape[:at] + indices.shape + x.shape[at + 1 :])


def _gather_nd(
    x: Tensor, indices: Tensor, batch_dims: Tensor | None = None, validate_indices: Tensor | None = None
) -> Tensor:
    if batch_dims is not None and int(batch_dims) != 0:
        raise TypeError(f"a gather of {int(batch_dims)} batch dimensions")
    return x[tuple(each.long() for each in indices.unbind(-1))]


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return functional.linear(x, weight, bias)


def _matmul(
    x: Tensor, y: Tensor, transpose_x: Tensor | None = None, transpose_y: Tensor | None = None
) -> Tensor:
    left = x.transpose(-1, -2) if transpose_x is not None and bool(transpose_x) else x
    right = y.transpose(-1, -2) if transpose_y is not None and bool(transpose_y) else y
    return left @ right


def _attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None) -> Tensor:
    return functional.scaled_dot_product_attention(query, key, value, attn_mask)


def _read_state(input: Tensor) -> Tensor:
    return input


def _blockwise_shift_scale(data: Tensor, scale: Tensor, offset: Tensor | None = None) -> Tensor:
    """Linear quantization of iOS 18: a scale, and an offset, for each block of `data`."""
    shifted = data.float() if offset is None else data.float() - _spread(offset.float(), data)
    return shifted * _spread(scale, data)


def _spread(of_blocks: Tensor, data: Tensor) -> Tensor:
    for axis, size in enumerate(data.shape):
        of_blocks = of_blocks.repeat_interleave(size // of_blocks.shape[axis], axis)
    return of_blocks


def _affine_dequantize(quantized_data: Tensor, zero_point: Tensor, scale: Tensor, axis: Tensor) -> Tensor:
    """Linear quantization of iOS 16: a scale and a zero point for each index along `axis`."""
    shape = [1] * quantized_data.dim()
    shape[int(axis)] = -1
    spread = [value.float().reshape(shape if value.dim() else []) for value in (zero_point, scale)]
    return (quantized_data.float() - spread[0]) * spread[1]


def _of_one(compute: Callable[[Tensor], Tensor]) -> Op:
    return lambda x: compute(x)


def _of_two(compute: Callable[[Tensor, Tensor], Tensor]) -> Op:
    return lambda x, y: compute(x, y)


OPS: dict[str, Op] = SPATIAL_OPS | {
    "add": _of_two(torch.add),
    "sub": _of_two(torch.sub),
    "mul": _of_two(torch.mul),
    "real_div": _of_two(torch.div),
    "maximum": _of_two(torch.maximum),
    "minimum": _of_two(torch.minimum),
    "equal": _of_two(torch.eq),
    "not_equal": _of_two(torch.ne),
    "greater": _of_two(torch.gt),
    "greater_equal": _of_two(torch.ge),
    "less": _of_two(torch.lt),
    "less_equal": _of_two(torch.le),
    "logical_and": _of_two(torch.logical_and),
    "logical_or": _of_two(torch.logical_or),
    "logical_not": _of_one(torch.logical_not),
    "abs": _of_one(torch.abs),
    "exp": _of_one(torch.exp),
    "relu": _of_one(torch.relu),
    "relu6": _of_one(functional.relu6),
    "sigmoid": _of_one(torch.sigmoid),
    "silu": _of_one(functional.silu),
    "sqrt": _of_one(torch.sqrt),
    "square": _of_one(torch.square),
    "tanh": _of_one(torch.tanh),
    "rsqrt": _rsqrt,
    "cast": _cast,
    "clip": _clip,
    "gelu": _gelu,
    "leaky_relu": _leaky_relu,
    "prelu": _prelu,
    "softmax": _softmax,
    "select": _select,
    "reduce_mean": _reduce_mean,
    "reduce_sum": _reduce_sum,
    "layer_norm": _layer_norm,
    "batch_norm": _batch_norm,
    "reshape": _reshape,
    "transpose": _transpose,
    "expand_dims": _expand_dims,
    "squeeze": _squeeze,
    "tile": _tile,
    "concat": _concat,
    "stack": _stack,
    "split": _split,
    "slice_by_index": _slice_by_index,
    "gather": _gather,
    "gather_nd": _gather_nd,
    "linear": _linear,
    "matmul": _matmul,
    "scaled_dot_product_attention": _attention,
    "read_state": _read_state,
    "constexpr_blockwise_shift_scale": _blockwise_shift_scale,
    "constexpr_affine_dequantize": _affine_dequantize,
}
