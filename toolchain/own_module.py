"""A user's own module, its trained weights and its example inputs, from what a command line names.

`nets:build` is a function or class of the module `nets`, which may lie in the current folder; weights are a safetensors
file or a checkpoint; examples come from a function, a safetensors file, or from shapes alone.
"""

import hashlib
import pickle
import re
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mnet.toolchain.errors import UserError
from mnet.toolchain.settings import find_part

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mnet.export.format.bundle import Bundle
    from mnet.export.lowering.spec import ExportSpec
    from mnet.export.modules import Example

_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_INPUT = re.compile(r"(?P<name>\w+):(?P<dtype>\w+)\[(?P<shape>\d+(?:,\d+)*)\](?:<(?P<below>\d+))?")
_DTYPES = ("bool", "uint8", "int32", "int64", "float16", "float32")  # those of the manifest
# Under which training programs keep a state dict, and what wrappers put before its names.
_HELD_UNDER = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "model.", "_orig_mod.")
_DRAWN = 2  # examples of `--input`
_SHOWN = 5  # names in a message


class InputShape(NamedTuple):
    """An input as `NAME:float32[1,3,224,224]` describes it; integers are drawn from 0 to before `below`."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    below: int


def is_reference(text: str) -> bool:
    """Whether `text` has the form `package.module:name`."""
    return _REFERENCE.fullmatch(text) is not None


def input_shape(text: str) -> InputShape:
    """Read `NAME:DTYPE[1,3,224,224]`, for integers also `NAME:int64[1,16]<30522`. Raises UserError."""
    found = _INPUT.fullmatch(text.replace(" ", ""))
    if found is None:
        raise UserError(f"--input {text}: expected NAME:DTYPE[SIZES], as in image:float32[1,3,224,224]")
    if found["dtype"] not in _DTYPES:
        raise UserError(f"--input {text}: {found['dtype']} is none of {', '.join(_DTYPES)}")
    shape = tuple(map(int, found["shape"].split(",")))
    return InputShape(found["name"], found["dtype"], shape, int(found["below"] or 2))


def load_module(reference: str, weights: Path | None = None) -> "nn.Module":
    """Build the module that `package.module:name` names, a function, a class or a module, with these weights in it.

    Args:
        reference: what is called without arguments, with PyTorch's random numbers seeded; a module is taken as it is.
        weights: a file for `read_state`; None leaves the weights that the module is built with.

    Returns:
        The module in `eval` mode.

    Raises:
        UserError: for what cannot be imported, fails, or is no module, and for weights that do not fit it by name or
            shape.
    """
    from torch import nn

    made = _called(reference)
    if not isinstance(made, nn.Module):
        raise UserError(f"{reference} gives a {type(made).__name__}, not a torch.nn.Module")
    if weights is not None:
        fill(made, read_state(weights), weights)
    return made.eval()


def load_examples(reference: str | None, inputs: Sequence[str], module: "nn.Module") -> "list[Example]":
    """Example inputs: from a function `package.module:name`, a safetensors file, or drawn for `inputs`.

    Args:
        reference: a function, which is called without arguments and returns what `export_module` takes as `example`,
            such a value, or the path of a safetensors file whose tensors are called like the arguments of `forward`.
        inputs: without it, each input as `input_shape` reads it; two examples are drawn, always the same.
        module: whose inputs they are.

    Raises:
        UserError: where neither or both are given, or what is given are no tensors.
    """
    import torch

    if (reference is None) == (not inputs):
        raise UserError("give --example, a function or a safetensors file, or each --input by its shape")
    torch.manual_seed(0)
    if reference is None:
        shapes = [input_shape(text) for text in inputs]
        return [{each.name: _drawn(each) for each in shapes} for _ in range(_DRAWN)]
    found = _called(reference) if is_reference(reference) else read_state(Path(reference))
    examples = [found] if isinstance(found, torch.Tensor) else found
    if isinstance(found, torch.Tensor | Mapping) or _tensors(found):
        examples = [(found,) if isinstance(found, torch.Tensor) else found]
    if not isinstance(examples, list | tuple) or not examples or not all(map(_tensors, examples)):
        raise UserError(
            f"{reference} gives no example: return a tensor, a tuple of tensors, a dict of tensors by the names of "
            f"{type(module).__name__}.forward's arguments, or a list of such"
        )
    return list(examples)


def export_own(
    reference: str,
    weights: Path | None,
    generated: Sequence[str],
    example: str | None,
    inputs: Sequence[str],
    target: str,
    out: Path,
    stage: Callable[[str], None] = lambda _: None,
    *,
    lora: Path | None = None,
    **options: Any,
) -> "Bundle":
    """Export the module that `load_module` gives, with the examples of `load_examples`; else as `export_module`.

    With `lora`, a folder of PEFT, its adapter is put into the module, and unless more is named its factors are what is
    generated.
    """
    stage("loading the module")
    from mnet.export.modules import export_module

    module, generated, examples = _loaded(reference, weights, generated, lora, example, inputs)
    metadata = {"module": reference}
    if weights is not None:
        metadata["weights"] = hashlib.sha256(weights.read_bytes()).hexdigest()
    return export_module(
        module,
        generated=generated,
        example=examples,
        target=target,
        out=out,
        metadata=metadata,
        stage=stage,
        **options,
    )


def own_spec(
    reference: str,
    weights: Path | None,
    generated: Sequence[str],
    lora: Path | None,
    example: str | None,
    inputs: Sequence[str],
    dynamic: "Mapping[str, tuple[int, int]]",
) -> "ExportSpec":
    """What `export_own` exports, for any target."""
    from mnet.export.modules import module_spec

    module, generated, examples = _loaded(reference, weights, generated, lora, example, inputs)
    return module_spec(module, generated=generated, example=examples, dynamic=dynamic)


def _loaded(
    reference: str,
    weights: Path | None,
    generated: Sequence[str],
    lora: Path | None,
    example: str | None,
    inputs: Sequence[str],
) -> "tuple[nn.Module, list[str], list[Example]]":
    """The module, with its adapter if there is one, what of it is generated, and the examples."""
    from mnet.export.adapters import Adapter, inject

    module = load_module(reference, weights)
    examples = load_examples(example, inputs, module)
    names = [*generated]
    if lora is not None:
        adapter = Adapter.read(lora)
        names += inject(module, adapter.config, adapter.tensors)
    return module, names, examples


def read_state(path: Path) -> "dict[str, Tensor]":
    """The tensors of a safetensors file or of a checkpoint of `torch.save`, by name; no pickled code is run.

    A checkpoint may be a state dict, or hold one under `state_dict`, `model_state_dict` or `model`.
    Raises UserError for what is neither, OSError for a file that cannot be read.
    """
    import safetensors
    import safetensors.torch
    import torch

    with path.open("rb") as file:
        head = file.read(9)
    if head[8:9] == b"{":  # behind the length of a safetensors file's header
        try:
            return safetensors.torch.load_file(path)
        except safetensors.SafetensorError as error:
            raise UserError(f"{path} is a damaged safetensors file: {error}") from None
    if not head.startswith((b"PK", b"\x80")):  # a zip file, or a pickle as of old
        raise UserError(f"{path} is neither a safetensors file nor a checkpoint")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise UserError(
            f"{path} holds Python objects next to its tensors, and loading these could run code: save "
            "`module.state_dict()` alone, best with safetensors.torch.save_file"
        ) from None
    except (RuntimeError, ValueError, EOFError, KeyError) as error:
        raise UserError(f"{path} is neither a safetensors file nor a checkpoint: {error}") from None
    held = found
    if isinstance(found, dict):
        held = next((found[key] for key in _HELD_UNDER if isinstance(found.get(key), dict)), found)
    if not isinstance(held, dict) or not all(isinstance(each, torch.Tensor) for each in held.values()):
        raise UserError(
            f"{path} holds no state dict, of tensors by name, and none under {', '.join(_HELD_UNDER)}"
        )
    return held


def fitted(known: Collection[str], state: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """`state` by the `known` names: without a prefix that a wrapper put before every one of its names."""
    for prefix in _PREFIXES:
        if state and not state.keys() & known and all(name.startswith(prefix) for name in state):
            return fitted(known, {name.removeprefix(prefix): value for name, value in state.items()})
    return dict(state)


def fill(module: "nn.Module", given: "Mapping[str, Tensor]", path: Path) -> None:
    """Load a state dict; UserError that names what is missing, unknown or of another shape."""
    known = module.state_dict(keep_vars=True)
    state = fitted(known, given)
    # A tensor that two names share stands in a safetensors file once.
    there = {id(known[name]) for name in state if name in known}
    missing = [name for name, value in known.items() if name not in state and id(value) not in there]
    extra = [name for name in state if name not in known]
    faults = [
        f"{name} is {list(value.shape)} there and {list(known[name].shape)} in the module"
        for name, value in state.items()
        if name in known and value.shape != known[name].shape
    ]
    if missing:
        faults.append(f"it lacks {_some(missing)}")
    if extra:
        faults.append(f"the module has no {_some(extra)}")
    if faults:
        raise UserError(f"{path} does not fit {type(module).__name__}: {'; '.join(faults[:_SHOWN])}")
    module.load_state_dict(state, strict=False)


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _called(reference: str) -> Any:
    """What `package.module:name` names or, where that can be called and is no module, returns. Raises UserError."""
    import torch

    torch.manual_seed(0)
    try:
        found = find_part(reference, {}, "module")
        return found() if callable(found) and not isinstance(found, torch.nn.Module) else found
    except UserError:
        raise
    except Exception as error:  # whatever a user's code raises is one line, with its place
        place = traceback.extract_tb(error.__traceback__)[-1]
        kind = type(error).__name__
        raise UserError(
            f"{reference} fails in {place.filename}, line {place.lineno}: {kind}: {error}"
        ) from error


def _tensors(example: Any) -> bool:
    """Whether it is one example: tensors in order, or by name."""
    import torch

    values = example.values() if isinstance(example, Mapping) else example
    return (
        isinstance(example, Mapping | list | tuple)
        and len(example) > 0
        and all(isinstance(value, torch.Tensor) for value in values)
    )


def _drawn(shape: InputShape) -> "Tensor":
    import torch

    dtype: torch.dtype = getattr(torch, shape.dtype)
    if dtype.is_floating_point:
        return torch.randn(shape.shape).to(dtype)
    return torch.randint(0, shape.below, shape.shape).to(dtype)
