"""Vectors about packs that travel in fp16, or in int8 with scales."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from mnet.export.format.bundle import Bundle
from mnet.export.format.golden import Reference
from mnet.export.format.pack_dtypes import narrowed
from mnet.export.format.packs import write_pack
from mnet.export.format.probe import LENGTH
from tests.export.ranker import PackFactory, random_weights
from tests.vectors.vector import Vector, base64_text


def half_vectors(bundle: Bundle, model: nn.Module) -> Iterator[Vector]:
    """Packs for a bundle whose slots travel in fp16."""
    packs = _Packs(bundle, model)
    name = next(iter(packs.tensors))
    value = packs.tensors[name]
    tiny = value.clone()
    tiny.view(-1)[:3] = torch.tensor([2**-24, -(2**-20), -0.0])
    yield from packs.good()
    yield packs.read("in fp32", "wrong_dtype", packs.wide)
    yield packs.read("one tensor in bfloat16", "wrong_dtype", packs.tensors | {name: value.bfloat16()})
    yield packs.read("one tensor in int16", "wrong_dtype", packs.tensors | {name: value.view(torch.int16)})
    yield packs.read("numbers below the normal ones", "accepted", packs.tensors | {name: tiny})
    yield packs.read("a NaN", "not_finite", packs.tensors | {name: value * torch.nan})
    yield packs.read("an infinity", "not_finite", packs.tensors | {name: value / 0})
    yield packs.read("flattened", "wrong_shape", packs.tensors | {name: value.flatten()})
    yield packs.read(
        "with a scale", "extra_tensor", packs.tensors | {f"{name}:scale": torch.ones(len(value))}
    )


def int8_vectors(bundle: Bundle, model: nn.Module) -> Iterator[Vector]:
    """Packs for a bundle whose matrices travel in int8, each with a scale for every output channel."""
    packs = _Packs(bundle, model)
    name, vector = next(iter(packs.tensors)), next(n for n, t in packs.wide.items() if t.dim() == 1)
    value, scale = packs.tensors[name], packs.tensors[f"{name}:scale"]
    without = {n: t for n, t in packs.tensors.items() if n != f"{name}:scale"}
    yield from packs.good()
    yield packs.swapped("outputs of weights that were not rounded", "self_test_failed", packs.exact)
    yield packs.read("in fp32", "missing_tensor", packs.wide)
    yield packs.read("a scale less", "missing_tensor", without)
    yield packs.read(
        "a scale for a vector", "extra_tensor", packs.tensors | {f"{vector}:scale": torch.ones(1)}
    )
    for what, verdict, changed in (
        ("values in fp32", "wrong_dtype", {name: packs.wide[name]}),
        ("values in uint8", "wrong_dtype", {name: value.view(torch.uint8)}),
        ("a vector in int8", "wrong_dtype", {vector: packs.wide[vector].to(torch.int8)}),
        ("a scale in fp16", "wrong_dtype", {f"{name}:scale": scale.half()}),
        ("values flattened", "wrong_shape", {name: value.flatten()}),
        ("a scale for each number", "wrong_shape", {f"{name}:scale": torch.ones(value.shape)}),
        ("one scale for all", "wrong_shape", {f"{name}:scale": scale[:1].clone()}),
        ("a scale that is no number", "not_finite", {f"{name}:scale": scale * torch.nan}),
        ("an infinite scale", "not_finite", {f"{name}:scale": scale / 0}),
        ("-128", "accepted", {name: torch.full_like(value, -128)}),
        ("a negative scale", "accepted", {f"{name}:scale": -scale}),
    ):
        yield packs.read(what, verdict, packs.tensors | changed)
    overflowing = packs.tensors | {f"{name}:scale": torch.full_like(scale, 3e38)}
    yield packs.swapped("a scale that overflows", "self_test_failed", packs.exact, overflowing)


class _Packs:
    """Packs for one bundle: `wide` are weights as the cloud generates them, `tensors` the same as they travel."""

    def __init__(self, bundle: Bundle, model: nn.Module) -> None:
        self._bundle = bundle
        self.wide = random_weights(bundle, seed=5)
        self.tensors = narrowed(self.wide, bundle.manifest.pack_dtypes)
        self.exact = bundle.probe(Reference(model).outputs(self.wide, bundle.golden.inputs[0]))
        self._probe = PackFactory(bundle, model).probe(self.wide)

    def good(self) -> Iterator[Vector]:
        """What the cloud sends."""
        yield self.read("good", "accepted", self.tensors)
        yield self.swapped("good", "accepted", self._probe)

    def read(self, name: str, verdict: str, tensors: dict[str, Tensor]) -> Vector:
        """A pack that is read."""
        return self._vector("pack", name, verdict, pack=base64_text(self._pack(tensors, [0.5] * LENGTH)))

    def swapped(
        self, name: str, verdict: str, probe: list[float], tensors: dict[str, Tensor] | None = None
    ) -> Vector:
        """A pack that is swapped in."""
        pack = self._pack(self.tensors if tensors is None else tensors, probe)
        return self._vector("swap", name, verdict, packs=[base64_text(pack)])

    def _pack(self, tensors: dict[str, Tensor], probe: list[float]) -> bytes:
        return write_pack(tensors, bundle_id=self._bundle.id, version=1, generator="g", probe=probe)

    def _vector(self, kind: str, name: str, verdict: str, **fields: Any) -> Vector:
        where = self._bundle.path.name
        return {
            "name": f"{kind} for {where}: {name}",
            "kind": kind,
            "bundle": where,
            **fields,
            "verdict": verdict,
        }
