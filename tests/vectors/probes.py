"""Vectors about the probe: outputs with their scales, and the 16 sums over them."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from mnet.export.format.manifest import dtype_name, torch_dtype
from mnet.export.format.probe import LENGTH, distance, probe
from tests.vectors.vector import Vector

# Computed alike everywhere, in whatever order the values are added up.
EXACT = 1e-9


def probe_vectors() -> Iterator[Vector]:
    """Outputs of every dtype, one and several, some longer than any chunk."""

    def vector(name: str, *outputs: Tensor, scales: tuple[float, ...], **changed: Any) -> Vector:
        listed = [
            {"dtype": dtype_name(output.dtype), "values": output.flatten().tolist(), "scale": scale}
            for output, scale in zip(outputs, scales, strict=True)
        ]
        right = {"probe": probe(outputs, scales), "verdict": "accepted"}
        return {"name": f"probe: {name}", "kind": "probe", "outputs": listed, **right, **changed}

    waves = (
        torch.sin(torch.arange(20_000) * 0.1).mul(64).round().div(64)
    )  # few digits, in a file that git keeps
    mixed = (
        torch.tensor([[True, False], [True, True]]),
        torch.tensor([0, 255, 7], dtype=torch.uint8),
        torch.tensor([-(2**31), 5], dtype=torch.int32),
        torch.tensor([2**40, -3]),
        torch.tensor([0.5, -65504.0]).half(),
        torch.tensor(1.25),
    )
    yield vector("one number", torch.tensor([1.0]), scales=(1.0,))
    yield vector("two outputs", torch.tensor([1.0, -2.0, 3.0]), torch.tensor([10.0]), scales=(2.0, 5.0))
    yield vector("twenty thousand numbers", waves, scales=(0.5,))
    yield vector("every dtype", *mixed, scales=(0.75, 100.0, 1e9, 1e12, 3e4, 1.0))
    yield vector("zeros", torch.zeros(3), scales=(1.0,))
    swapped = probe([waves[:3].flip(0)], [0.5])
    yield vector("in another order", waves[:3], scales=(0.5,), probe=swapped, verdict="self_test_failed")
    first = [sum(waves[:3].tolist()) / math.sqrt(3)] * LENGTH
    yield vector("sums without signs", waves[:3], scales=(0.5,), probe=first, verdict="self_test_failed")


def right(vector: Vector) -> bool:
    """Whether the probe of the outputs is the one that the vector says."""
    outputs = [torch.tensor(each["values"], dtype=torch_dtype(each["dtype"])) for each in vector["outputs"]]
    found = probe(outputs, [each["scale"] for each in vector["outputs"]])
    return distance(found, vector["probe"]) <= EXACT
