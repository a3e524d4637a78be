"""A second opinion on `ios` packages: coremltools reads the saved one itself, and its ops compute the outputs.

Nothing of the project's checker takes part, neither its reader nor its table of ops.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mnet.export.exporter import export_bundle
from mnet.export.format.bundle import Bundle
from mnet.export.format.golden import relative_error
from mnet.export.lowering.quiet import quiet
from mnet.export.session import open_session
from mnet.export.targets.ios import WEIGHTS, flatten
from tests.export.models import ConvNet, image_spec
from tests.export.ranker import Ranker, ranker_bundle
from tests.once import made_once


def convnet_bundle(factory: pytest.TempPathFactory) -> Bundle:
    """Convolutions, plain and depthwise, whose weights are generated."""

    def make(folder: Path) -> None:
        torch.manual_seed(0)
        export_bundle(image_spec(ConvNet().eval(), ConvNet.generated), "ios", folder / "bundle")

    return Bundle.load(made_once(factory, "convnet-ios", make) / "bundle")


@pytest.mark.parametrize("kind", ["input", "state", "convolutions"])
def test_coremltools_computes_what_eager_pytorch_and_the_checker_do(
    kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pytest.importorskip("coremltools")
    if kind == "convolutions":
        bundle = convnet_bundle(tmp_path_factory)
    else:
        bundle = ranker_bundle(tmp_path_factory, Ranker(), "ios", kind)
    golden, session, second = bundle.golden, open_session(bundle), SecondOpinion(bundle)
    allowed, scales = bundle.manifest.golden.tolerance, bundle.manifest.scales
    for weights, expected in ((bundle.default_weights, golden.default), (golden.weights, golden.swapped)):
        for inputs, eager in zip(golden.inputs, expected, strict=True):
            found = second.run(weights, inputs)
            assert relative_error(found, eager, scales) <= allowed
            assert relative_error(found, session.run(inputs), scales) <= allowed
        if weights is not golden.weights:
            assert relative_error(found, golden.swapped[-1], scales) > allowed
            session.swap(bundle.golden_pack())


class SecondOpinion:
    """The function `main` of a bundle's package as coremltools reads it."""

    def __init__(self, bundle: Bundle) -> None:
        with quiet():
            from coremltools.converters.mil.frontend.milproto.load import load
            from coremltools.models.utils import load_spec

        self._manifest = bundle.manifest
        package = bundle.path / bundle.manifest.model.program
        specification = load_spec(str(package))
        weights = package / "Data" / "com.apple.CoreML" / "weights"
        program = load(specification, specification.specificationVersion, str(weights))
        self._main = program.functions["main"]
        for constant in self._main.find_ops(op_type="const"):
            (output,) = constant.outputs
            if isinstance(output.val, np.bool_):  # which numpy 2 takes for no axis' `keepdims`
                _know(output, bool(output.val))

    def run(self, weights: dict[str, Tensor], inputs: list[Tensor]) -> list[Tensor]:
        """The outputs under some generated parameters."""
        given = {info.name: tensor for info, tensor in zip(self._manifest.inputs, inputs, strict=True)}
        given[WEIGHTS] = flatten(weights, self._manifest.slots)
        for name, value in self._main.inputs.items():
            tensor = given[name]
            _know(value, (tensor.int() if tensor.dtype == torch.int64 else tensor).numpy())
        for operation in self._main.operations:
            if operation.op_type != "const":
                results = _computed(operation)
                several = results if isinstance(results, list | tuple) else (results,)
                for output, result in zip(operation.outputs, several, strict=True):
                    assert result is not None, f"coremltools computes no {operation.op_type}"
                    _know(output, result)
        return [torch.from_numpy(np.array(output.val)) for output in self._main.outputs]


def _know(value: Any, content: Any) -> None:
    """Let coremltools take a value for known, as it knows constants while it compiles."""
    value._sym_val = SimpleNamespace(val=content)


def _computed(operation: Any) -> Any:
    match operation.op_type:
        case "read_state":
            return operation.input.val
        case "conv":  # the one op here that coremltools computes no value of
            return _convolved(operation)
    return operation.value_inference()


def _convolved(operation: Any) -> Any:
    image, kernel = (torch.from_numpy(np.array(each.val)).float() for each in (operation.x, operation.weight))
    assert operation.pad_type.val == "custom"
    top, bottom, left, right = map(int, operation.pad.val)
    padded = functional.pad(image, (left, right, top, bottom))
    strides, dilations = (tuple(map(int, each.val)) for each in (operation.strides, operation.dilations))
    bias = None if operation.bias is None else torch.from_numpy(np.array(operation.bias.val)).float()
    groups = int(operation.groups.val)
    convolved = functional.conv2d(padded, kernel, bias, strides, 0, dilations, groups)
    return convolved.to(torch.float16).numpy()
