"""What can be generated, and what cannot, said by name before anything is trained."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._pytree import tree_leaves


def generated_parameters(device_model: nn.Module, generated: Sequence[str]) -> dict[str, nn.Parameter]:
    """The parameters to generate, by name.

    Raises:
        ValueError: there is none; a name is no parameter of the model; a parameter stands in several places of the
            model, so that one name cannot stand for it.
    """
    names: dict[int, list[str]] = {}
    for name, parameter in device_model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    parameters = dict(device_model.named_parameters(remove_duplicate=False))
    unknown = [name for name in generated if name not in parameters]
    if unknown or not generated:
        raise ValueError(
            f"cannot generate {', '.join(unknown) or 'nothing'}: the device model has {', '.join(parameters)}"
        )
    if len(set(generated)) < len(generated):
        twice = next(name for name in generated if list(generated).count(name) > 1)
        raise ValueError(f"cannot generate {twice}: it is named twice")
    for name in generated:
        others = [other for other in names[id(parameters[name])] if other != name]
        if others:
            raise ValueError(f"cannot generate {name}: it is shared with {', '.join(others)}")
    return {name: parameters[name] for name in generated}


@torch.no_grad()
def check_generated(device_model: nn.Module, generated: Sequence[str], inputs: Sequence[Tensor]) -> None:
    """Run `device_model(*inputs)` once, and refuse what would train, but not serve.

    Raises:
        ValueError: as `generated_parameters`; a generated parameter plays no part in the forward pass.
    """
    watch = _Watch(generated_parameters(device_model, generated))
    with _in_eval_mode(device_model), watch:
        device_model(*inputs)
    idle = [name for name in generated if name not in watch.used]
    if idle:
        raise ValueError(f"cannot generate {', '.join(idle)}: the forward pass does not use it")


@torch.no_grad()
def operations(device_model: nn.Module, generated: Sequence[str], inputs: Sequence[Tensor]) -> dict[str, str]:
    """The torch function that each generated parameter goes into first in `device_model(*inputs)`, by its name."""
    watch = _Watch(generated_parameters(device_model, generated))
    with _in_eval_mode(device_model), watch:
        device_model(*inputs)
    return watch.used


class _Watch(TorchFunctionMode):
    """Notes which function takes each generated parameter first."""

    def __init__(self, parameters: dict[str, nn.Parameter]) -> None:
        super().__init__()
        self.used: dict[str, str] = {}
        self._names = {id(parameter): name for name, parameter in parameters.items()}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if any(isinstance(leaf, Tensor) for leaf in tree_leaves(result)):
            for value in (*args, *kwargs.values()):
                for part in value if isinstance(value, list | tuple) else (value,):
                    if id(part) in self._names:
                        self.used.setdefault(self._names[id(part)], resolve_name(func) or str(func))
        return result


@contextmanager
def _in_eval_mode(model: nn.Module) -> Iterator[None]:
    """An example must not move running statistics."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
