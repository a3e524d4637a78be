"""On macOS: CoreML opens an `ios` bundle, predicts, and agrees with the golden outputs, before and after a swap.

    python -m tests.coreml.predict [BUNDLE ...]

Without a bundle it exports the ranker of the tests. CoreML predicts on macOS only: elsewhere this exports, and says so.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor

from mnet.export.exporter import export_bundle
from mnet.export.format.bundle import Bundle
from mnet.export.format.golden import relative_error
from mnet.export.targets.ios import WEIGHTS, flatten
from tests.export.ranker import Ranker, ranker_spec


def main() -> int:
    """The exit code: 1 where an output is not the golden one."""
    with TemporaryDirectory() as folder:
        given = [Bundle.load(path) for path in sys.argv[1:]]
        bundles = given or [export_bundle(ranker_spec(Ranker()), "ios", Path(folder) / "bundle")]
        if sys.platform != "darwin":
            print(f"exported for ios: {len(bundles)}; CoreML predicts on macOS only, nothing was compared")
            return 0
        return max(compare(bundle) for bundle in bundles)


def compare(bundle: Bundle) -> int:
    """1 where CoreML's outputs are off by more than the tolerance."""
    import coremltools

    manifest, golden = bundle.manifest, bundle.golden
    model = coremltools.models.MLModel(str(bundle.path / manifest.model.program))
    wrong = 0
    for what, weights, expected in (
        ("default", bundle.default_weights, golden.default),
        ("swapped", golden.weights, golden.swapped),
    ):
        for inputs, outputs in zip(golden.inputs, expected, strict=True):
            found = predict(model, bundle, weights, inputs)
            if relative_error(found, outputs, manifest.scales) > manifest.golden.tolerance:
                wrong += 1
                print(f"{bundle.path}: CoreML differs from eager PyTorch under the {what} weights")
    print(f"{bundle.path}: {2 * len(golden.inputs)} predictions, {wrong} wrong")
    return int(wrong > 0)


def predict(model: Any, bundle: Bundle, weights: Mapping[str, Tensor], inputs: list[Tensor]) -> list[Tensor]:
    """The outputs of one prediction under `weights`, in the manifest's order."""
    import torch

    manifest = bundle.manifest
    named = {info.name: tensor.numpy() for info, tensor in zip(manifest.inputs, inputs, strict=True)}
    found = model.predict({**named, WEIGHTS: flatten(weights, manifest.slots).numpy()})
    return [torch.from_numpy(found[info.name]) for info in manifest.outputs]


if __name__ == "__main__":
    sys.exit(main())
