"""Run a module with weights of its own for each pack of a batch: `call` any module, `under` at the speed of a batch.

Inside `under` the torch functions that take a generated parameter compute with its value of each pack instead: a
Linear or a pointwise convolution becomes one batched matmul, any other convolution a grouped one. Everything else
runs as it always does, on the whole batch. Both give the same numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional
from torch.overrides import TorchFunctionMode, resolve_name


class Packs(NamedTuple):
    """The value of one generated parameter in each of M packs: `values` fp32 [M, *shape]."""

    values: Tensor


def call(module: nn.Module, parameters: Mapping[str, Tensor], *inputs: Tensor) -> Tensor:
    """Run `module` on `inputs` [M, k, ...], pack m under row m of `parameters` {name: [M, *shape]} -> [M, k, ...].

    For any module; everything that it computes is computed pack by pack.
    """

    def one(pack: dict[str, Tensor], *rows: Tensor) -> Tensor:
        return functional_call(module, pack, rows)

    return vmap(one, randomness="different")(dict(parameters), *inputs)


def call_alike(module: nn.Module, parameters: Mapping[str, Tensor], *inputs: Tensor) -> Tensor:
    """Run `module` on the same `inputs` [k, ...] under each of the M rows of `parameters` -> [M, k, ...].

    As `call`, but what does not depend on the parameters is computed once.
    """

    def one(pack: dict[str, Tensor]) -> Tensor:
        return functional_call(module, pack, inputs)

    try:
        return vmap(one, randomness="different")(dict(parameters))
    except (
        RuntimeError
    ):  # a module that adds in place, as in `x += generated(x)`: each pack needs an x of its own
        packs = len(next(iter(parameters.values())))
        return call(module, parameters, *(value.expand(packs, *value.shape) for value in inputs))


def under(module: nn.Module, parameters: Mapping[str, Tensor]) -> "PerPack":
    """`with under(module, parameters):` any method of `module` has row m of `parameters` in the m-th pack of a batch.

    The leading dimension of what goes in must be M * k: the k rows of pack 0, then those of pack 1, and so on. There
    is a rule for linear, conv2d, layer_norm and group_norm, and for a parameter that is added to a batch, subtracted,
    multiplied or divided; gradients flow to the values. What a module computes from its parameters alone, or after it
    has put rows of different packs together, is not covered.

    Args:
        module: any module.
        parameters: of some of its parameters, by name, the value in each of M packs: fp32 [M, *shape].

    Raises:
        ValueError: a name is no parameter of the module, or a value has another shape; later, inside: a batch does
            not fall into M packs.
        NotImplementedError: inside, on any other operation with such a parameter, naming both.
    """
    return PerPack(module, parameters)


class PerPack(TorchFunctionMode):
    """The mode behind `under`."""

    def __init__(self, module: nn.Module, parameters: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.n_packs = len(next(iter(parameters.values())))
        self._names: dict[int, str] = {}
        self._packs: dict[int, Packs] = {}
        own = dict(module.named_parameters(remove_duplicate=False))
        for name, values in parameters.items():
            if name not in own:
                raise ValueError(f"{name} is no parameter of the module")
            if values.shape != (expected := (self.n_packs, *own[name].shape)):
                raise ValueError(f"{name}: expected {list(expected)}, got {list(values.shape)}")
            self._names[id(own[name])] = name
            self._packs[id(own[name])] = Packs(values)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        names = [name for value in (*args, *kwargs.values()) for name in self._found(value)]
        if not names:
            return func(*args, **kwargs)
        rule = RULES.get(func)
        if rule is None:
            return self._about(names[0], func, args, kwargs)
        try:
            return rule(
                self.n_packs,
                *(self._packs.get(id(value), value) for value in args),
                **{key: self._packs.get(id(value), value) for key, value in kwargs.items()},
            )
        except _NoRule as error:
            raise self._refusal(names[0], func, str(error)) from None

    def _found(self, value: Any) -> list[str]:
        """Names of the generated parameters that `value` is or lists."""
        values = value if isinstance(value, list | tuple) else (value,)
        return [self._names[id(v)] for v in values if id(v) in self._names]

    def _about(self, name: str, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """A question about a parameter's shape or dtype has the same answer in every pack; nothing else has."""
        if func in QUESTIONS or getattr(func, "__name__", "") == "__get__":
            answer = func(*args, **kwargs)
            if not isinstance(answer, Tensor):
                return answer
        raise self._refusal(name, func, "there is no batched rule for it")

    def _refusal(self, name: str, func: Callable[..., Any], why: str) -> NotImplementedError:
        operation = resolve_name(func) or getattr(func, "__name__", str(func))
        # No TypeError: Python's operators take that for "not my type" and drop the message.
        return NotImplementedError(
            f"{name} is generated and goes into {operation}: {why}; MetaNetwork.call runs any module"
        )


class _NoRule(Exception):
    """A rule does not cover these arguments."""


QUESTIONS = (
    Tensor.size,
    Tensor.dim,
    Tensor.numel,
    Tensor.__len__,
    Tensor.is_floating_point,
    Tensor.is_contiguous,
)


def _rows(n_packs: int, x: Any) -> Tensor:
    """[M * k, ...] -> [M, k, ...]."""
    if not isinstance(x, Tensor):
        raise _NoRule("it must meet a batch there")
    if x.dim() < 2 or len(x) % n_packs:
        raise ValueError(f"a batch of shape {list(x.shape)} does not fall into {n_packs} packs")
    return x.unflatten(0, (n_packs, len(x) // n_packs))


def _beside(value: Any, x: Tensor, trailing: int = 0) -> Any:
    """Shape a parameter to broadcast with rows `x` [M, k, ...], `trailing` dimensions of which come after its own."""
    if isinstance(value, Packs):
        packs = value.values
        shape = packs.shape[1:] + (1,) * trailing
        missing = x.dim() - 1 - len(shape)
        if missing < 0 or (missing < 1 and shape[0] != 1):
            raise _NoRule("it has a dimension for the batch")
        return packs.reshape(len(packs), *(1,) * missing, *shape)
    return value.view(*value.shape, *(1,) * trailing) if isinstance(value, Tensor) else value


def _linear(n_packs: int, input: Any, weight: Any, bias: Any = None) -> Tensor:
    rows = _rows(n_packs, input)
    flat = rows.flatten(1, -2)
    if isinstance(weight, Packs):
        matrix = weight.values.transpose(1, 2)
        out = torch.bmm(flat, matrix) if bias is None else torch.baddbmm(_beside(bias, flat), flat, matrix)
    else:
        out = functional.linear(flat, weight) + _beside(bias, flat)
    return out.view(*input.shape[:-1], out.shape[-1])


def _conv2d(
    n_packs: int,
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    rows = _rows(n_packs, input)
    if rows.dim() != 5:
        raise _NoRule("it must meet a batch there")
    values = [value.values if isinstance(value, Packs) else value for value in (weight, bias)]
    plain = _all(stride, 1) and (_all(padding, 0) or isinstance(padding, str)) and groups == 1
    if plain and values[0].shape[-2:] == (1, 1):
        # A pointwise conv is a Linear with the channels last, in half the time of a grouped conv on a CPU.
        matrix = Packs(values[0].flatten(2)) if isinstance(weight, Packs) else values[0].flatten(1)
        return _linear(n_packs, input.permute(0, 2, 3, 1), matrix, bias).permute(0, 3, 1, 2)
    packed = [0 if isinstance(value, Packs) else None for value in (weight, bias)]

    def convolve(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        return functional.conv2d(x, w, b, stride, padding, dilation, groups)

    return vmap(convolve, in_dims=(0, *packed))(rows, *values).flatten(0, 1)


def _all(setting: Any, value: int) -> bool:
    """Whether a setting of a conv, one number or one a dimension, is this everywhere."""
    return all(s == value for s in (setting if isinstance(setting, list | tuple) else (setting,)))


def _layer_norm(
    n_packs: int,
    input: Any,
    normalized_shape: Any,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
) -> Tensor:
    return _affine(n_packs, functional.layer_norm(input, normalized_shape, eps=eps), weight, bias, 0)


def _group_norm(
    n_packs: int,
    input: Any,
    num_groups: int,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
) -> Tensor:
    return _affine(n_packs, functional.group_norm(input, num_groups, eps=eps), weight, bias, input.dim() - 2)


def _affine(n_packs: int, normal: Tensor, weight: Any, bias: Any, trailing: int) -> Tensor:
    rows = _rows(n_packs, normal)
    if weight is not None:
        rows = rows * _beside(weight, rows, trailing)
    if bias is not None:
        rows = rows + _beside(bias, rows, trailing)
    return rows.flatten(0, 1)


def _elementwise(operation: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def rule(n_packs: int, input: Any, other: Any, **named: Any) -> Tensor:
        rows = _rows(n_packs, other if isinstance(input, Packs) else input)
        left, right = (_beside(x, rows) if isinstance(x, Packs) else rows for x in (input, other))
        return operation(left, right, **named).flatten(0, 1)

    return rule


RULES: dict[Callable[..., Any], Callable[..., Tensor]] = {
    functional.linear: _linear,
    functional.conv2d: _conv2d,
    functional.layer_norm: _layer_norm,
    functional.group_norm: _group_norm,
    **{
        spelling: _elementwise(operation)
        for operation, method in (
            (torch.add, Tensor.add),
            (torch.sub, Tensor.sub),
            (torch.mul, Tensor.mul),
            (torch.div, Tensor.div),
        )
        for spelling in (operation, method)
    },
}
