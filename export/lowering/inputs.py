"""What a program takes, as its manifest says: other inputs are refused by name before a runtime sees them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mnet.export.format.manifest import Manifest, dtype_name, torch_dtype


class Inputs:
    """The inputs of a manifest; `largest` are the shapes that they have at most."""

    def __init__(self, manifest: Manifest) -> None:
        self._infos = manifest.inputs
        self._usual = [(torch.Size(info.shape), torch_dtype(info.dtype)) for info in manifest.inputs]
        self.varies = any(info.dynamic for info in manifest.inputs)
        self.largest = tuple(info.largest for info in manifest.inputs)

    def check(self, inputs: Sequence[Tensor]) -> None:
        """Raises ValueError unless these are inputs of the model."""
        if [(tensor.shape, tensor.dtype) for tensor in inputs] == self._usual:
            return
        if len(inputs) != len(self._infos):
            raise ValueError(f"the model takes {len(self._infos)} inputs, not {len(inputs)}")
        sizes: dict[str, int] = {}
        for info, tensor in zip(self._infos, inputs, strict=True):
            given = f"input {info.name} is {dtype_name(tensor.dtype)} {list(tensor.shape)}"
            if dtype_name(tensor.dtype) != info.dtype or not info.takes(tensor.shape):
                raise ValueError(f"{given}; the model takes {info.dtype} {info.bounds}")
            for each in info.dynamic:
                size = tensor.shape[each.dimension]
                if sizes.setdefault(each.name, size) != size:
                    raise ValueError(f"{given}, and another input's {each.name} is {sizes[each.name]}")
