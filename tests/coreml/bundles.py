"""Bundles for the Swift package on a Mac: `python -m tests.coreml.bundles FOLDER`, each next to its golden pack."""

import sys
from pathlib import Path

from mnet.export.exporter import export_bundle
from tests.export.ranker import Ranker, ranker_spec


def main(folder: Path) -> None:
    """The ranker of the tests, with its weights as an input and as a state."""
    folder.mkdir(parents=True)
    for binding in ("input", "state"):
        bundle = export_bundle(ranker_spec(Ranker(), binding=binding), "ios", folder / binding)
        (folder / f"{binding}.pack.safetensors").write_bytes(bundle.golden_pack())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
