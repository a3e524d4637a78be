"""How torch functions compute for all packs at once: quick rules for the common ones, and a slow one for any other.

`torch.func.vmap` knows of every tensor whether it differs between packs, and along which dimension, so nothing is
guessed from a shape. The rules here only replace what vmap does slowly (a Linear without its bias fused, a pointwise
convolution as a grouped one), what it has no rule for (recurrent layers, assignment by a mask), and BatchNorm in
training, which takes its statistics from the whole batch, as it does without packs.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C import _functorch
from torch._functorch.pyfunctorch import temporarily_pop_interpreter_stack
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_unflatten


class NoRule(Exception):
    """A rule does not cover these arguments; vmap's own does."""


class PackRules(TorchFunctionMode):
    """The mode in which a function under `torch.func.vmap` over `n_packs` packs runs; made inside of it."""

    def __init__(self, n_packs: int) -> None:
        super().__init__()
        self.n_packs = n_packs
        self._level = _functorch.maybe_current_level()

    def rows(self, value: Any) -> Tensor | None:
        """What a tensor is in each pack, [M, *shape]; None where all packs share it, and for what is no tensor."""
        if not isinstance(value, Tensor) or _functorch.maybe_get_level(value) != self._level:
            return None
        at = _functorch.maybe_get_bdim(value)
        return _functorch.get_unwrapped(value).movedim(at, 0)

    def of_each(self, value: Tensor) -> Tensor:
        """As `rows`, with what all packs share repeated."""
        rows = self.rows(value)
        return value.expand(self.n_packs, *value.shape) if rows is None else rows

    def tensor(self, rows: Tensor) -> Tensor:
        """The tensor that is row m of [M, *shape] in pack m."""
        assert self._level is not None
        return _functorch._add_batch_dim(rows, 0, self._level)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if _functorch.maybe_current_level() != self._level:
            return func(*args, **kwargs)
        if rule := RULES.get(func):
            try:
                return rule(self, *args, **kwargs)
            except NoRule:
                pass
        try:
            return func(*args, **kwargs)
        except RuntimeError as error:
            try:
                return self._pack_by_pack(func, args, kwargs)
            except (NoRule, RuntimeError):
                raise error from None

    def _pack_by_pack(self, func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Any function: once for each pack, its results stacked; what it writes in place, it writes in each."""
        leaves, structure = tree_flatten((args, kwargs))
        rows = [self.rows(leaf) for leaf in leaves]
        if all(row is None for row in rows) or "out" in kwargs:
            raise NoRule
        name = getattr(func, "__name__", "")
        in_place = name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))
        if in_place and rows[0] is None:
            raise NoRule
        results = []
        for pack in range(self.n_packs):
            of_pack = [leaf if row is None else row[pack] for leaf, row in zip(leaves, rows, strict=True)]
            own_args, own_kwargs = tree_unflatten(of_pack, structure)
            results.append(func(*own_args, **own_kwargs))
        if in_place:
            return None if name == "__setitem__" else args[0]
        flat = [tree_flatten(result) for result in results]
        return tree_unflatten(
            [self._stacked(values) for values in zip(*(values for values, _ in flat), strict=True)],
            flat[0][1],
        )

    def _stacked(self, values: Sequence[Any]) -> Any:
        if all(isinstance(value, Tensor) for value in values):
            return self.tensor(torch.stack(list(values)))
        if any(value != values[0] for value in values[1:]):
            raise NoRule
        return values[0]


def _linear(packs: PackRules, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    x, w, b = packs.rows(input), packs.rows(weight), packs.rows(bias)
    if weight.dim() != 2 or input.dim() < 1 or (x is None and w is None):
        raise NoRule
    if w is None:
        assert x is not None
        out = functional.linear(x.flatten(0, -2), weight, bias if b is None else None)
        out = out.view(*x.shape[:-1], len(weight))
        return packs.tensor(out if b is None else out + _before_last(b, x))
    x = packs.of_each(input)
    flat = x.flatten(1, -2) if x.dim() > 2 else x.unsqueeze(1)
    matrix = w.transpose(1, 2)
    if bias is None:
        out = torch.bmm(flat, matrix)
    else:
        out = torch.baddbmm(bias if b is None else b.unsqueeze(1), flat, matrix)
    return packs.tensor(out.view(*x.shape[:-1], out.shape[-1]))


def _before_last(value: Tensor, x: Tensor) -> Tensor:
    """[M, n] -> [M, 1, ..., 1, n], to broadcast with `x`."""
    return value.view(len(value), *(1,) * (x.dim() - 2), value.shape[-1])


def _conv2d(
    packs: PackRules,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """A pointwise one is a Linear with the channels last, in half the time of a grouped convolution on a CPU."""
    w, plain = packs.rows(weight), _all(stride, 1) and (_all(padding, 0) or isinstance(padding, str))
    if w is None or input.dim() != 4 or weight.shape[2:] != (1, 1) or groups != 1 or not plain:
        raise NoRule
    return _linear(packs, input.permute(0, 2, 3, 1), packs.tensor(w.flatten(2)), bias).permute(0, 3, 1, 2)


def _all(setting: Any, value: int) -> bool:
    """Whether a setting of a conv, one number or one a dimension, is this everywhere."""
    return all(s == value for s in (setting if isinstance(setting, list | tuple) else (setting,)))


def _batch_norm(
    packs: PackRules,
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Over the rows of all packs. What packs do not share is the scale and shift behind it."""
    x, own = packs.rows(input), [packs.rows(value) for value in (weight, bias)]
    if x is None or input.dim() < 2 or any(packs.rows(v) is not None for v in (running_mean, running_var)):
        raise NoRule
    shared = (weight, bias) if own == [None, None] else (None, None)
    normal = functional.batch_norm(
        x.flatten(0, 1), running_mean, running_var, *shared, training, momentum, eps
    ).view_as(x)
    if shared == (weight, bias):
        return packs.tensor(normal)
    trailing = (1,) * (input.dim() - 2)
    for value, rows, combine in ((weight, own[0], torch.mul), (bias, own[1], torch.add)):
        if value is not None:
            # [M, 1, C, 1, ...] of a pack's own, [C, 1, ...] of everyone's.
            wide = value.view(-1, *trailing) if rows is None else rows.view(len(rows), 1, -1, *trailing)
            normal = combine(normal, wide)
    return packs.tensor(normal)


def _layer_norm(
    packs: PackRules,
    input: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """With a scale and shift that all packs share, it is one fused function."""
    x = packs.rows(input)
    if x is None or packs.rows(weight) is not None or packs.rows(bias) is not None:
        raise NoRule
    return packs.tensor(functional.layer_norm(x, normalized_shape, weight, bias, eps))


def _dropout(
    packs: PackRules, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    x = packs.rows(input)
    if x is None or inplace:
        raise NoRule
    # Within vmap anything random of what packs share would be drawn once for each pack.
    with temporarily_pop_interpreter_stack():
        out = functional.dropout(x, p, training)
    return packs.tensor(out)


def _attention(
    packs: PackRules,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **settings: Any,
) -> Tensor:
    """The rows of all packs are one batch; vmap would call it once for each pack."""
    if (
        min(query.dim(), key.dim(), value.dim()) < 3
        or dropout_p
        or not query.dim() == key.dim() == value.dim()
    ):
        raise NoRule
    mask = attn_mask
    if mask is not None and (packs.rows(mask) is not None or mask.dim() > 2):
        wide = mask.expand(*query.shape[:-1], key.shape[-2])
        mask = packs.of_each(wide).flatten(0, 1)
    q, k, v = (packs.of_each(part).flatten(0, 1) for part in (query, key, value))
    out = functional.scaled_dot_product_attention(q, k, v, mask, is_causal=is_causal, **settings)
    return packs.tensor(out.unflatten(0, (packs.n_packs, -1)))


def _recurrent(layer: Callable[..., Any]) -> Callable[..., Any]:
    """`torch.gru` and its kind with weights that all packs share: their rows are one batch."""

    def rule(packs: PackRules, input: Tensor, state: Any, weights: Any, *settings: Any) -> Any:
        states = state if isinstance(state, list | tuple) else (state,)
        shared = all(packs.rows(weight) is None for weight in weights) if isinstance(weights, list) else False
        x = packs.rows(input)
        if not shared or x is None or x.dim() != 4:
            raise NoRule
        batch = 0 if settings[-1] else 1  # of the input; a state has its batch in dimension 1
        folded = [_folded(packs.of_each(s), 1) for s in states]
        out, *last = layer(
            _folded(x, batch), folded if isinstance(state, list | tuple) else folded[0], weights, *settings
        )
        unfolded = (
            _unfolded(value, at, packs.n_packs) for value, at in ((out, batch), *((s, 1) for s in last))
        )
        return tuple(packs.tensor(value) for value in unfolded)

    return rule


def _folded(x: Tensor, batch: int) -> Tensor:
    """[M, ...] with the pack's rows in dimension `batch` of the rest -> [...] with those of all packs there."""
    return x.movedim(0, batch).flatten(batch, batch + 1)


def _unfolded(x: Tensor, batch: int, n_packs: int) -> Tensor:
    return x.unflatten(batch, (n_packs, -1)).movedim(batch, 0)


RULES: dict[Callable[..., Any], Callable[..., Any]] = {
    functional.linear: _linear,
    functional.conv2d: _conv2d,
    functional.batch_norm: _batch_norm,
    functional.layer_norm: _layer_norm,
    functional.dropout: _dropout,
    functional.scaled_dot_product_attention: _attention,
    **{layer: _recurrent(layer) for layer in (torch.gru, torch.lstm, torch.rnn_tanh, torch.rnn_relu)},
}
