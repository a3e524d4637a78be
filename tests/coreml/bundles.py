"""Bundles for the Swift package's tests on a Mac or a phone, each next to its golden pack and the packs of a bench.

    python -m tests.coreml.bundles FOLDER [BUNDLE ...]

Without a bundle it exports the ranker of the tests, with its weights as an input and as a state.
"""

import shutil
import sys
from pathlib import Path

from mnet.export.exporter import export_bundle
from mnet.export.format.bundle import Bundle
from mnet.toolchain.attached.app_bench import write_packs
from tests.export.ranker import Ranker, ranker_spec


def main(folder: Path, given: list[Path]) -> None:
    """Fill the folder."""
    folder.mkdir(parents=True)
    for path in given:
        shutil.copytree(path, folder / path.name)
        _beside(Bundle.load(folder / path.name))
    for binding in () if given else ("input", "state"):
        _beside(export_bundle(ranker_spec(Ranker(), binding=binding), "ios", folder / binding))


def _beside(bundle: Bundle) -> None:
    (bundle.path.with_name(f"{bundle.path.name}.pack.safetensors")).write_bytes(bundle.golden_pack())
    write_packs(bundle, bundle.path.with_name(f"{bundle.path.name}.packs"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(path) for path in sys.argv[2:]])
