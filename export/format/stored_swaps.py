"""The swaps that a bundle brings with it: packs whose outputs eager PyTorch has computed at the export."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from mnet.export.format.bundle import Bundle
from mnet.export.format.golden import swap_weights


@dataclass(frozen=True)
class StoredSwaps:
    """`expected[k]` is the first output for golden sample 0 under the weights of pack k."""

    bundle: Bundle
    weights: Sequence[dict[str, Tensor]]
    expected: Tensor

    @classmethod
    def of(cls, bundle: Bundle) -> "StoredSwaps":
        """Read what `mnet.export.format.golden` describes."""
        stored = bundle.tensors(bundle.manifest.bench.swaps)
        weights = swap_weights(bundle.default_weights, bundle.golden.weights, stored["scale"])
        return cls(bundle, list(weights), stored["output"])

    def pack(self, swap: int, version: int) -> bytes:
        """The pack of swap number `swap`; the weights come round again after as many as are stored."""
        k = swap % len(self.weights)
        return self.bundle.pack(self.weights[k], version, "bench", self.expected[k])

    def output(self, swap: int) -> Tensor:
        """What the model must answer after it."""
        return self.expected[swap % len(self.weights)]
