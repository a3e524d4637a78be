"""Run a module with weights of its own for each pack of a batch: `under`, `call`, `call_alike`.

A pack's rows go through the module as if they were the whole batch and its weights the module's own: what comes out
is what `torch.func.functional_call` gives, pack by pack, in values and gradients. All packs are computed at once, by
`torch.func.vmap` and the rules of `pack_rules`; a module that cannot run so, as one that decides by what it computed,
runs once for each pack, and a warning says so. Two things differ from pack by pack: BatchNorm in training takes its
statistics from the whole batch, and checkpoints inside of the module keep their activations.
"""

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils import checkpoint
from torch.utils._pytree import TreeSpec, tree_flatten, tree_map, tree_unflatten

from mnet.toolchain.metanetwork.pack_rules import PackRules


class _ForAll(Tensor):
    """A tensor that all packs of a batch share; anything computed from it is a plain one."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]


def for_all(tensor: Tensor) -> Tensor:
    """Mark an argument of a module that all packs share, as sampled candidates; without packs it changes nothing."""
    return tensor.as_subclass(_ForAll)


def call(module: nn.Module, parameters: Mapping[str, Tensor], *inputs: Tensor) -> Any:
    """Run `module` on `inputs` [M, k, ...], pack m under row m of `parameters` {name: [M, *shape]} -> [M, k, ...].

    A module that returns several tensors, as a tuple, a dict or a dataclass of them, returns them so.
    """
    return _run(_Method(module), parameters, _Arguments.of(inputs, {}, lambda value: value))


def call_alike(module: nn.Module, parameters: Mapping[str, Tensor], *inputs: Tensor) -> Any:
    """Run `module` on the same `inputs` [k, ...] under each of the M rows of `parameters` -> [M, k, ...].

    As `call`, but what does not depend on the parameters is computed once.
    """
    return _run(_Method(module), parameters, _Arguments.of(inputs, {}, lambda value: None))


def under(module: nn.Module, parameters: Mapping[str, Tensor], one_by_one: bool = False) -> nn.Module:
    """A stand-in for `module`, whose methods run with row m of `parameters` in the m-th pack of a batch.

    The tensors that go into a method have the rows of all packs in their first dimension, M * k: the k rows of pack 0,
    then those of pack 1, and so on, the same number in all of them; so has what comes out. A tensor that the packs
    share is marked by `for_all`; one without dimensions is shared.

    Args:
        module: any module.
        parameters: of some of its parameters, by name, the value in each of M packs: fp32 [M, *shape].
        one_by_one: run once for each pack, to compare with.

    Raises:
        ValueError: a name is no parameter of the module, or a value has another shape; later, in a method: a tensor
            does not fall into M packs, or has another number of rows than the first.
        AttributeError: later, where a generated parameter is read from outside of the module's methods.
    """
    own, n_packs = dict(module.named_parameters(remove_duplicate=False)), len(next(iter(parameters.values())))
    for name, values in parameters.items():
        if name not in own:
            raise ValueError(f"{name} is no parameter of the module")
        if values.shape != (expected := (n_packs, *own[name].shape)):
            raise ValueError(f"{name}: expected {list(expected)}, got {list(values.shape)}")
    return cast(nn.Module, PerPack(module, parameters, one_by_one))


class PerPack:
    """What `under` returns: the module's methods and attributes, run per pack where they are methods."""

    def __init__(self, module: nn.Module, parameters: Mapping[str, Tensor], one_by_one: bool) -> None:
        self._module, self._parameters, self._one_by_one = module, parameters, one_by_one

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call("__call__", args, kwargs)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._module, name)
        if isinstance(value, nn.Module):
            within = {
                own.removeprefix(f"{name}."): values
                for own, values in self._parameters.items()
                if own.startswith(f"{name}.")
            }
            return PerPack(value, within, self._one_by_one) if within else value
        computed = isinstance(inspect.getattr_static(self._module, name, None), property)
        if isinstance(value, Tensor) and (name in self._parameters or computed):
            raise AttributeError(
                f"{type(self._module).__name__}.{name} differs between packs: read it in a method of the model"
            )
        if inspect.ismethod(value) and value.__self__ is self._module and name not in _OF_EVERY_MODULE:
            return lambda *args, **kwargs: self._call(name, args, kwargs)
        return value

    def _call(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        n_packs, first = len(next(iter(self._parameters.values()))), None

        def split(value: Tensor) -> Tensor | None:
            nonlocal first
            if isinstance(value, _ForAll) or value.dim() == 0:
                return None
            first = len(value) if first is None else first
            if len(value) % n_packs:
                raise ValueError(f"a batch of shape {list(value.shape)} does not fall into {n_packs} packs")
            if len(value) != first:
                raise ValueError(
                    f"{name} takes tensors of {first} and of {len(value)} rows: those of a batch have as many each; "
                    "mark one that all packs share by mnet.toolchain.metanetwork.for_all"
                )
            return value.unflatten(0, (n_packs, -1))

        method = _Method(self._module, name)
        out = _run(method, self._parameters, _Arguments.of(args, kwargs, split), self._one_by_one)
        return tree_map(lambda value: value.flatten(0, 1) if _has_rows(value) else value, out)


_OF_EVERY_MODULE = frozenset(dir(nn.Module)) - {"forward"}


def _has_rows(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() > 1


class _Method(nn.Module):
    """A method of a module as a module, since `functional_call` knows of no other."""

    def __init__(self, module: nn.Module, name: str = "__call__") -> None:
        super().__init__()
        self.module, self.name = module, name

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return getattr(self.module, self.name)(*args, **kwargs)


class _Arguments(NamedTuple):
    """Arguments of a call, flattened: `own[n]` [M, ...] is what leaf n is in each pack, None where they share it."""

    leaves: list[Any]
    own: list[Tensor | None]
    structure: TreeSpec

    @classmethod
    def of(
        cls, args: Sequence[Any], kwargs: Mapping[str, Any], split: Callable[[Tensor], Tensor | None]
    ) -> "_Arguments":
        leaves, structure = tree_flatten((tuple(args), dict(kwargs)))
        own = [split(leaf) if isinstance(leaf, Tensor) else None for leaf in leaves]
        shared = [leaf.as_subclass(Tensor) if isinstance(leaf, _ForAll) else leaf for leaf in leaves]
        return cls(shared, own, structure)

    def with_own(self, own: Sequence[Tensor]) -> Any:
        """`args, kwargs` of one pack, from what is its own of them."""
        values = iter(own)
        filled = [
            leaf if rows is None else next(values) for leaf, rows in zip(self.leaves, self.own, strict=True)
        ]
        return tree_unflatten(filled, self.structure)


# What has shown that it does not run for all packs at once: names of methods.
_SLOW: "WeakKeyDictionary[nn.Module, set[str]]" = WeakKeyDictionary()


def _run(
    method: _Method, parameters: Mapping[str, Tensor], arguments: _Arguments, one_by_one: bool = False
) -> Any:
    """What the method returns in each pack, its tensors as [M, ...]."""
    values = {f"module.{name}": value for name, value in parameters.items()}
    own = [rows for rows in arguments.own if rows is not None]
    with _no_checkpoints() if torch.is_grad_enabled() else nullcontext():
        if one_by_one or method.name in _SLOW.get(method.module, ()):
            return _one_by_one(method, values, arguments, own)
        try:
            return _all_at_once(method, values, arguments, own)
        except RuntimeError as error:
            result = _one_by_one(method, values, arguments, own)
            _SLOW.setdefault(method.module, set()).add(method.name)
            what = f"{type(method.module).__name__}.{method.name.strip('_')}"
            why = str(error).strip().splitlines()[0].split(". ")[0].rstrip(".")
            warnings.warn(
                f"{what} does not run for all packs at once ({why}): it runs once for each, exact and slower",
                stacklevel=2,
            )
            return result


def _all_at_once(
    method: _Method, values: dict[str, Tensor], arguments: _Arguments, own: Sequence[Tensor]
) -> Any:
    n_packs, plain, structure = len(next(iter(values.values()))), list[Any](), None

    def one(parameters: dict[str, Tensor], own: Sequence[Tensor]) -> list[Tensor]:
        nonlocal plain, structure
        args, kwargs = arguments.with_own(own)
        with PackRules(n_packs):
            result = functional_call(method, parameters, args, kwargs, tie_weights=False)
        plain, structure = tree_flatten(result)
        return [leaf for leaf in plain if isinstance(leaf, Tensor)]

    found = iter(vmap(one, randomness="different")(values, list(own)))
    assert structure is not None
    return tree_unflatten([next(found) if isinstance(leaf, Tensor) else leaf for leaf in plain], structure)


def _one_by_one(
    method: _Method, values: dict[str, Tensor], arguments: _Arguments, own: Sequence[Tensor]
) -> Any:
    results = []
    columns = [*values.values(), *own]
    for row in zip(*(column.unbind() for column in columns), strict=True):
        args, kwargs = arguments.with_own(row[len(values) :])
        parameters = dict(zip(values, row, strict=False))
        results.append(functional_call(method, parameters, args, kwargs, tie_weights=False))
    flat = [tree_flatten(result) for result in results]
    stacked = [
        torch.stack(leaves) if isinstance(leaves[0], Tensor) else leaves[0]
        for leaves in zip(*(leaves for leaves, _ in flat), strict=True)
    ]
    return tree_unflatten(stacked, flat[0][1])


@contextmanager
def _no_checkpoints() -> Iterator[None]:
    """What `torch.utils.checkpoint` wraps runs as it is: computed again later, it would find the shared weights."""

    def nothing(*_: Any, **__: Any) -> Iterator[None]:
        yield

    class Direct:
        @staticmethod
        def apply(function: Callable[..., Any], _: bool, *args: Any) -> Any:
            return function(*args)

    replaced = {"_checkpoint_without_reentrant_generator": nothing, "CheckpointFunction": Direct}
    former = {name: getattr(checkpoint, name) for name in replaced}
    for name, value in replaced.items():
        setattr(checkpoint, name, value)
    try:
        yield
    finally:
        for name, value in former.items():
            setattr(checkpoint, name, value)
