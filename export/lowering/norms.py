"""Norms and PReLU of generated parameters, by operations that every exporter takes: see `rewriting.py`."""

from typing import Any

import torch
from torch.fx import Node
from torch.nn import functional

Shape = tuple[int, ...]


def shape_of(node: Node, argument: int = 0) -> Shape:
    given = node.args[argument]
    assert isinstance(given, Node)
    return tuple(given.meta["val"].shape)


def _over_channels(node: Node, value: Any) -> Any:
    """A value for each channel, to be broadcast over the operation's batch."""
    return None if value is None else value.reshape([1, -1] + [1] * (len(shape_of(node)) - 2))


def _affine(x: Any, weight: Any, bias: Any) -> Any:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def layer_norm(
    node: Node, x: Any, of: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5, *_: Any
) -> Any:
    return _affine(functional.layer_norm(x, of, eps=eps), weight, bias)


def rms_norm(node: Node, x: Any, of: Any, weight: Any = None, eps: float | None = None) -> Any:
    axes = list(range(-len(of), 0))
    least = torch.finfo(torch.float32).eps if eps is None else eps
    return _affine(x * torch.rsqrt((x * x).mean(axes, keepdim=True) + least), weight, None)


def group_norm(
    node: Node, x: Any, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, *_: Any
) -> Any:
    plain = functional.group_norm(x, groups, eps=eps)
    return _affine(plain, _over_channels(node, weight), _over_channels(node, bias))


def batch_norm(
    node: Node,
    x: Any,
    weight: Any,
    bias: Any,
    mean: Any,
    variance: Any,
    _: bool,
    __: float,
    eps: float,
    *___: Any,
) -> Any:
    scale = torch.rsqrt(variance + eps)
    x = x * _over_channels(node, scale) - _over_channels(node, mean * scale)
    return _affine(x, _over_channels(node, weight), _over_channels(node, bias))


def instance_norm(
    node: Node,
    x: Any,
    weight: Any,
    bias: Any,
    mean: Any,
    variance: Any,
    of_input: bool,
    __: float,
    eps: float,
    *_: Any,
) -> Any:
    plain = functional.instance_norm(x, mean, variance, use_input_stats=of_input, eps=eps)
    return _affine(plain, _over_channels(node, weight), _over_channels(node, bias))


def prelu(node: Node, x: Any, weight: Any) -> Any:
    slopes = _over_channels(node, weight) if len(shape_of(node)) > 1 else weight
    return torch.relu(x) - slopes * torch.relu(-x)
