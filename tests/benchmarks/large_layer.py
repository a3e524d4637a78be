"""One generated layer of 1024 x 1024, 4 MB: what each target makes of it, and what the rule for Android chooses.

    python -m tests.benchmarks.large_layer --out large

Every target that is installed, Android with each of its bindings; the table is the one of `mnet matrix`.
"""

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from export.bindings import choose_binding
from export.matrix import markdown, measure_cell
from export.spec import ExportSpec
from export.targets import TARGETS

WIDTH = 1024


class Large(nn.Module):
    """One Linear, fp32 [B, 1024] -> [B, 1024]."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


def large_spec(binding: str | None = None) -> ExportSpec:
    """The layer, all of it generated."""
    generator = torch.Generator().manual_seed(0)
    inputs = tuple((torch.randn(1, WIDTH, generator=generator),) for _ in range(3))
    generated = ("layer.weight", "layer.bias")
    return ExportSpec("1024 x 1024", Large(), generated, inputs, ("x",), ("y",), binding=binding)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the bundles and matrix.md")
    parser.add_argument("--swaps", type=int, default=40)
    options = parser.parse_args()
    cells = []
    for target in (name for name, known in TARGETS.items() if known.installed):
        for binding in TARGETS[target].bindings if target == "android" else (None,):
            title = " ".join(filter(None, (target, binding)))
            print(title, file=sys.stderr)
            folder = options.out / title.replace(" ", "-")
            cells.append(measure_cell(large_spec(binding), target, folder, options.swaps, lambda _: None))
    text = f"{markdown(cells)}\nThe rule for android: {choose_binding(large_spec(), 'android').why}.\n"
    (options.out / "matrix.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
