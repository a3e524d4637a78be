"""The swaps that a bundle brings with it: packs whose probes eager PyTorch has computed at the export."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import BundleError
from mnet.export.format.golden import swap_weights


@dataclass(frozen=True)
class StoredSwaps:
    """What `mnet.export.format.golden` describes: weights, and the probe that the model must give under each.

    `probes[n]` belongs to `weights[n]`, `golden` to the golden weights, and `alone[s]` to the golden weights with slot
    number s at its default.
    """

    bundle: Bundle
    weights: Sequence[dict[str, Tensor]]
    probes: Sequence[list[float]]
    golden: list[float]
    alone: Sequence[list[float]]

    @classmethod
    def of(cls, bundle: Bundle) -> "StoredSwaps":
        """Read them. Raises BundleError where a tensor is missing."""
        name = bundle.manifest.bench.swaps
        stored = bundle.tensors(name)
        try:
            weights = swap_weights(bundle.default_weights, bundle.golden.weights, stored["scale"])
            probes, golden, alone = (stored[each].tolist() for each in ("probe", "golden", "alone"))
        except KeyError as error:
            raise BundleError(f"{bundle.path / name} has no tensor {error}") from None
        return cls(bundle, list(weights), probes, golden, alone)

    def pack(self, swap: int, version: int) -> bytes:
        """The pack of swap number `swap`; after the last stored one the first follows again."""
        k = swap % len(self.weights)
        return self.bundle.pack(self.weights[k], version, "bench", self.probes[k])

    def probe(self, swap: int) -> list[float]:
        """The probe that the model must give after it."""
        return self.probes[swap % len(self.probes)]

    def packs_of_one(self, version: int) -> Iterator[tuple[str, list[float], bytes]]:
        """For each slot: its parameter, and the probe and the pack of the golden weights without that parameter's.

        Versions rise from `version` on.
        """
        default, golden = self.bundle.default_weights, self.bundle.golden.weights
        for offset, (name, probe) in enumerate(zip(default, self.alone, strict=True)):
            weights = golden | {name: default[name]}
            yield name, probe, self.bundle.pack(weights, version + offset, "golden", probe)
