"""A bundle from any module, and a pack from anybody's weights: nothing here needs a MetaNetwork."""

import dataclasses
import fnmatch
import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten_with_path

from mnet.export.adapters import adapter_metadata
from mnet.export.exporter import Stage, export_bundle
from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import BundleError
from mnet.export.format.golden import TOLERANCE, Reference, relative_error
from mnet.export.format.pack_dtypes import find_pack_dtype, rounded
from mnet.export.format.packs import check_parameters
from mnet.export.lowering.quantization import find_base_dtype, with_base
from mnet.export.lowering.spec import ExportSpec
from mnet.export.lowering.tables import table_rows, with_reserve, with_rows
from mnet.export.targets import load_program

Example = Sequence[Tensor] | Mapping[str, Tensor]
OUTPUT = "output"


def export_module(
    module: nn.Module,
    *,
    generated: Sequence[str],
    example: Example | Sequence[Example],
    target: str,
    out: str | Path,
    name: str | None = None,
    binding: str | None = None,
    pack_dtype: str = "fp32",
    quantize: str | None = None,
    reserve: Mapping[str, int] | None = None,
    dynamic: Mapping[str, tuple[int, int]] | None = None,
    metadata: Mapping[str, str] | None = None,
    stage: Stage = lambda _: None,
) -> Bundle:
    """Export any module for one target, with some of its parameters swappable, and verify it on the target's runtime.

    Args:
        module: what the device runs; it is copied, moved to the CPU and set to `eval`.
        generated: which parameters packs replace: names, patterns such as `head.*` or `*.lora_[AB].*`, or rows of the
            weight of an Embedding or a Linear, such as `items.weight[50:60]`.
        example: inputs of one inference, batch 1: tensors in the order of `forward`, or by the names of its arguments.
            Or several such, of the same shapes. All become golden samples; the self-test runs the first, so its
            outputs must depend on every generated parameter.
        target: name of a target, e.g. `android`; `mnet targets` lists them.
        out: folder for the bundle; created, or replaced if it holds a bundle.
        name: of the model, for people; by default that of the class.
        binding: how new weights reach the program, where the target leaves a choice; None lets a rule choose.
        pack_dtype: what the weights travel in: `fp32`, `fp16` or `int8`.
        quantize: `int8` to quantize the layers that are not generated, on targets that can; None to leave them.
        reserve: room for rows that do not exist yet, as in `{"items.weight": 500}`: the weight of an Embedding or a
            Linear gets so many further rows of zeros, which are generated too, as `items.weight[1682:2182]`. The first
            example must use one of the new ids of an Embedding, or the self-test would be blind to them.
        dynamic: sizes of inputs that vary, with their bounds, as in `{"history": (1, 200)}`: the size of the input's
            second dimension, of `series[2]` its third one, of `ids,mask` one that both inputs share. Golden samples at
            the least and the largest sizes are added to the examples.
        metadata: free text for the manifest.
        stage: called with one line before each step.

    Returns:
        The bundle. Its outputs are named as the module names them: by the keys of a dict or `ModelOutput`, joined with
        dots where it is nested; `output_0` and so on for a tuple; `output` for one tensor.

    Raises:
        BundleError: for a pattern that matches nothing, an unknown target, one that is not installed, and whatever
            cannot be exported or would leave a self-test blind.
    """
    spec = module_spec(
        module, generated=generated, example=example, name=name, reserve=reserve, dynamic=dynamic
    )
    spec = dataclasses.replace(
        spec,
        metadata={**spec.metadata, **(metadata or {})},
        binding=binding,
        pack_dtype=find_pack_dtype(pack_dtype),
        base_dtype=find_base_dtype(quantize),
    )
    return export_bundle(spec, target, Path(out), stage)


def module_spec(
    module: nn.Module,
    *,
    generated: Sequence[str],
    example: Example | Sequence[Example],
    name: str | None = None,
    reserve: Mapping[str, int] | None = None,
    dynamic: Mapping[str, tuple[int, int]] | None = None,
) -> ExportSpec:
    """What `export_module` exports, for any target. Raises BundleError as it does."""
    examples = _examples(example)
    names = _input_names(module, examples[0])
    model, reserved = with_reserve(module, reserve or {})
    model = model.cpu().eval()
    inputs = tuple(_positional(each, names) for each in examples)
    if isinstance(examples[0], Mapping):
        _by_position(model, names)
    return ExportSpec(
        name=name or type(module).__name__,
        model=model,
        generated=(*matched_parameters(model, generated), *reserved),
        inputs=inputs,
        input_names=names,
        output_names=_output_names(model, inputs[0]),
        metadata=adapter_metadata(model),
        dynamic=dict(dynamic or {}),
    )


def make_pack(
    bundle: Bundle,
    weights: Mapping[str, Tensor],
    version: int,
    *,
    module: nn.Module | None = None,
    generator: str = "weights",
) -> bytes:
    """Make a weight pack of any weights for a bundle, with the probe that a device's self-test compares with.

    Args:
        bundle: what the device runs.
        weights: each generated parameter by its name in the module, fp32, in PyTorch's layout and shape. With
            `module`, a whole state dict is taken too, if all that is not generated is as in the module.
        version: a device takes a pack only if its version is higher than that of the pack in use; the default is 0.
        module: the module that the bundle was exported from. The probe is what it answers in eager PyTorch. Without it,
            the probe is what the bundle's own runtime answers here, once that has given the stored outputs of eager
            PyTorch for the default and the golden weights.
        generator: where the weights come from, for people: the hash of a checkpoint, for example.

    Returns:
        The bytes of a safetensors file, for `Session.swap` or for a file.

    Raises:
        Refused: for weights that do not fit the slots or are not finite.
        BundleError: for a module that the bundle does not come from, for weights that differ from it where nothing is
            generated, and, without a module, where the bundle's runtime is not installed.
        ValueError: if the outputs under the weights are not finite, or a weight is too large for the pack's dtype.
    """
    manifest = bundle.manifest
    names = [slot.parameter for slot in manifest.slots]
    if module is not None:
        weights = _generated_only(module, weights, names)
    dtypes = manifest.pack_dtypes
    parameters = rounded(check_parameters(weights, manifest.slots), dtypes)
    outputs = answers(bundle, module)(parameters, bundle.golden.inputs[0])
    if not all(output.isfinite().all() for output in outputs):
        raise ValueError("an output is not finite under these weights")
    return bundle.pack(parameters, version, generator, bundle.probe(outputs))


def matched_parameters(module: nn.Module, patterns: Sequence[str]) -> tuple[str, ...]:
    """The parameters of `module` that match one of the patterns, in its order.

    Raises BundleError for a pattern that matches none.
    """
    known = [name for name, _ in module.named_parameters(remove_duplicate=False)]
    found: set[str] = set()
    rows = tuple(pattern for pattern in patterns if table_rows(pattern))
    for pattern in set(patterns) - set(rows):
        matching = {name for name in known if name == pattern or fnmatch.fnmatchcase(name, pattern)}
        if not matching:
            raise BundleError(f"no parameter matches {pattern!r}; the model has {', '.join(known)}")
        found |= matching
    return (*(name for name in known if name in found), *rows)


Answers = Callable[[Mapping[str, Tensor], Sequence[Tensor]], Sequence[Tensor]]


def answers(bundle: Bundle, module: nn.Module | None = None) -> Answers:
    """What gives the outputs under any weights for any inputs: the module in eager PyTorch, or the bundle's runtime.

    Raises BundleError for a module that is not the bundle's, and for a runtime that does not give the golden outputs.
    """
    golden, scales = bundle.golden, bundle.manifest.scales
    if module is not None:
        given = _eager(module, bundle)
        known, tolerance = [(bundle.default_weights, golden.default)], TOLERANCE
    else:
        given = _on_runtime(bundle)
        known = [(bundle.default_weights, golden.default), (golden.weights, golden.swapped)]
        tolerance = bundle.manifest.golden.tolerance
    for weights, expected in known:
        found = given(weights, golden.inputs[0])
        if len(found) != len(expected[0]) or relative_error(found, expected[0], scales) > tolerance:
            raise BundleError(
                "the bundle's runtime does not give the bundle's golden outputs here"
                if module is None
                else "the bundle was not exported from this module: under the default weights it gives other outputs"
            )
    return given


def _on_runtime(bundle: Bundle) -> Answers:
    program = load_program(bundle.path / bundle.manifest.model.program, bundle.manifest)
    return lambda weights, inputs: program.bind(weights)(inputs)


def _eager(module: nn.Module, bundle: Bundle) -> Answers:
    manifest = bundle.manifest
    parameters, names = list(bundle.default_weights), tuple(info.name for info in manifest.inputs)
    model = with_base(_as_exported(module, parameters), parameters, manifest.model.base_dtype)
    if set(names) <= set(inspect.signature(module.forward).parameters):
        _by_position(model, names)
    return Reference(model).outputs


def _as_exported(module: nn.Module, parameters: Sequence[str]) -> nn.Module:
    """The module with the rows that were reserved at its export, as far as it does not have them, as parameters."""
    reserve = {}
    for table, start, stop in filter(None, map(table_rows, parameters)):
        whole = dict(module.named_parameters(remove_duplicate=False)).get(table)
        if whole is not None and table.endswith("weight") and start == len(whole):
            reserve[table] = stop - start
    grown, _ = with_reserve(module, reserve)
    return with_rows(grown, parameters)


def _generated_only(
    module: nn.Module, weights: Mapping[str, Tensor], names: Sequence[str]
) -> dict[str, Tensor]:
    state = module.state_dict()
    for name in weights.keys() - set(names):
        if name in state and not torch.equal(weights[name].cpu(), state[name].cpu()):
            raise BundleError(
                f"{name} differs from the module's, and no pack carries it: the bundle has slots for {', '.join(names)}"
            )
    return {name: value for name, value in weights.items() if name in names or name not in state}


def _examples(example: Example | Sequence[Example]) -> list[Example]:
    """One example, or each of several."""
    if isinstance(example, Mapping):
        return [example]
    if not example:
        raise BundleError("an example input is needed")
    if isinstance(example[0], Tensor):
        return [cast(Sequence[Tensor], example)]
    return list(cast(Sequence[Example], example))


def _input_names(module: nn.Module, example: Example) -> tuple[str, ...]:
    if isinstance(example, Mapping):
        return tuple(example)
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    found = [
        each.name for each in inspect.signature(module.forward).parameters.values() if each.kind in plain
    ]
    return tuple(found[k] if k < len(found) else f"input_{k}" for k in range(len(example)))


def _positional(example: Example, names: Sequence[str]) -> tuple[Tensor, ...]:
    if not isinstance(example, Mapping):
        return tuple(example)
    if set(example) != set(names):
        raise BundleError(
            f"an example names the inputs {', '.join(example)}, the first one {', '.join(names)}"
        )
    return tuple(example[name] for name in names)


@torch.no_grad()
def _output_names(model: nn.Module, inputs: Sequence[Tensor]) -> tuple[str, ...]:
    leaves, _ = tree_flatten_with_path(model(*inputs))
    paths = [
        ".".join(str(getattr(step, "key", getattr(step, "idx", getattr(step, "name", "")))) for step in path)
        for path, leaf in leaves
        if leaf is not None
    ]
    return tuple(f"{OUTPUT}_{path}" if path[:1].isdigit() else path or OUTPUT for path in paths)


def _by_position(model: nn.Module, names: Sequence[str]) -> None:
    """Let `forward` take by position, as exporters call it, what it takes by these names."""
    forward = type(model).forward

    def positional(self: nn.Module, *inputs: Tensor) -> Any:
        return forward(self, **dict(zip(names, inputs, strict=True)))

    model.forward = types.MethodType(positional, model)
