"""Ops of MIL over images and series: convolutions, poolings, upsamplings; see `mnet.export.lowering.coreml_ops`."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Op = Callable[..., Any]


def numbers(value: Tensor) -> list[int]:
    """The integers of a tensor, as a list."""
    return [int(number) for number in value.flatten()]


def _conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    strides: Tensor | None = None,
    pad_type: str = "valid",
    pad: Tensor | None = None,
    dilations: Tensor | None = None,
    groups: Tensor | None = None,
) -> Tensor:
    if pad_type not in ("valid", "custom"):
        raise TypeError(f"a convolution padded {pad_type}")
    if pad_type == "custom" and pad is not None:
        x = functional.pad(x, _edges(pad))
    convolve = {3: functional.conv1d, 4: functional.conv2d, 5: functional.conv3d}[x.dim()]
    return convolve(
        x,
        weight,
        bias,
        stride=1 if strides is None else tuple(numbers(strides)),
        dilation=1 if dilations is None else tuple(numbers(dilations)),
        groups=1 if groups is None else int(groups),
    )


def _conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    strides: Tensor | None = None,
    pad_type: str = "valid",
    pad: Tensor | None = None,
    output_shape: Tensor | None = None,
    dilations: Tensor | None = None,
    groups: Tensor | None = None,
) -> Tensor:
    if pad_type not in ("valid", "custom"):
        raise TypeError(f"a transposed convolution padded {pad_type}")
    convolve = {
        3: functional.conv_transpose1d,
        4: functional.conv_transpose2d,
        5: functional.conv_transpose3d,
    }
    whole = convolve[x.dim()](
        x,
        weight,
        bias,
        stride=1 if strides is None else tuple(numbers(strides)),
        dilation=1 if dilations is None else tuple(numbers(dilations)),
        groups=1 if groups is None else int(groups),
    )
    if output_shape is not None:  # what lies over the end is the bias alone
        missing = [size - whole.shape[axis] for axis, size in enumerate(numbers(output_shape)) if axis > 1]
        before = [0] * len(missing) if pad is None else numbers(pad)[::2]
        if any(more + edge > 0 for more, edge in zip(missing, before, strict=True)):
            raise TypeError("a transposed convolution with an output padding")
        for axis, (more, edge) in enumerate(zip(missing, before, strict=True), 2):
            whole = whole.narrow(axis, edge, whole.shape[axis] + more)
        return whole
    return whole if pad is None else functional.pad(whole, [-edge for edge in _edges(pad)])


def _edges(pad: Tensor) -> list[int]:
    """MIL's padding, first dimension first, as PyTorch wants it: last dimension first."""
    edges = numbers(pad)
    return [edge for k in range(len(edges) - 2, -1, -2) for edge in edges[k : k + 2]]


def _pool(average: bool) -> Op:
    def compute(
        x: Tensor,
        kernel_sizes: Tensor,
        strides: Tensor | None = None,
        pad_type: str = "valid",
        pad: Tensor | None = None,
        exclude_padding_from_average: Tensor | None = None,
        ceil_mode: Tensor | None = None,
    ) -> Tensor:
        if pad_type not in ("valid", "custom") or (ceil_mode is not None and bool(ceil_mode)):
            raise TypeError(f"a pooling padded {pad_type}, or rounded up")
        edges = [0] * (2 * kernel_sizes.numel()) if pad is None or pad_type == "valid" else _edges(pad)
        kernel = tuple(numbers(kernel_sizes))
        stride = kernel if strides is None else tuple(numbers(strides))
        rank = len(kernel) - 1
        if not average:
            pool: Op = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)[rank]
            return pool(functional.pad(x, edges, value=-torch.inf), kernel, stride)
        pool = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)[rank]
        mean = pool(functional.pad(x, edges), kernel, stride)
        if exclude_padding_from_average is None or not bool(exclude_padding_from_average):
            return mean
        return mean / pool(functional.pad(torch.ones_like(x), edges), kernel, stride)

    return compute


def _instance_norm(
    x: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None, epsilon: Tensor | None = None
) -> Tensor:
    return functional.instance_norm(
        x, weight=gamma, bias=beta, eps=1e-5 if epsilon is None else float(epsilon)
    )


def _upsample_nearest(
    x: Tensor, scale_factor_height: Tensor | None = None, scale_factor_width: Tensor | None = None
) -> Tensor:
    scales = [1.0 if scale is None else float(scale) for scale in (scale_factor_height, scale_factor_width)]
    return functional.interpolate(x, scale_factor=scales, mode="nearest")


def _upsample_bilinear(
    x: Tensor,
    scale_factor_height: Tensor | None = None,
    scale_factor_width: Tensor | None = None,
    align_corners: Tensor | None = None,
    half_pixel_centers: Tensor | None = None,
) -> Tensor:
    aligned = align_corners is None or bool(align_corners)
    if not aligned and half_pixel_centers is not None and not bool(half_pixel_centers):
        raise TypeError("a bilinear upsampling without half pixel centers")
    scales = [1.0 if scale is None else float(scale) for scale in (scale_factor_height, scale_factor_width)]
    sizes = [int(size * scale) for size, scale in zip(x.shape[-2:], scales, strict=True)]
    return functional.interpolate(x, size=sizes, mode="bilinear", align_corners=aligned)


def _pixel_shuffle(x: Tensor, upscale_factor: Tensor) -> Tensor:
    return functional.pixel_shuffle(x, int(upscale_factor))


SPATIAL_OPS: dict[str, Op] = {
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "max_pool": _pool(average=False),
    "avg_pool": _pool(average=True),
    "instance_norm": _instance_norm,
    "upsample_nearest_neighbor": _upsample_nearest,
    "upsample_bilinear": _upsample_bilinear,
    "pixel_shuffle": _pixel_shuffle,
}
