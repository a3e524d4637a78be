"""The table of docs/kinds.md: what becomes of each kind of generated parameter in training and on each target.

`python -m tests.export.kinds_table` measures all of it, half an hour on one core; `... ios onnx` these columns only.
"""

import re
import sys
import tempfile
import warnings
from pathlib import Path

import torch
from torch import Tensor
from torch.func import functional_call

from mnet.export.exporter import export_bundle
from mnet.export.format.errors import BundleError
from mnet.toolchain.metanetwork import call
from tests.export.kinds import KINDS, Kind

PAGE = Path(__file__).parents[2] / "docs" / "kinds.md"
COLUMNS = ("training", "android", "executorch", "tflite", "onnx", "ios")
RIGHT, REFUSED, UNKNOWN = "right", "refused", "?"

HEAD = """# Kinds of generated parameters

What becomes of each kind of generated parameter in training and on each target; `python -m tests.export.kinds_table`
writes this page. *right* on a target: exported and verified on its runtime (`ios`: in the checker), outputs as of eager
PyTorch under new weights, each parameter moved alone. *right* in training: two packs computed at once give the values
and gradients that each gives by itself. *refused*: for the reason below. *?*: not measured since the last change.

"""


def trained(kind: Kind) -> str:
    """Whether packs at once compute what they compute one by one, values and gradients; "right", or what happens."""
    spec = kind.spec()
    torch.manual_seed(1)
    inputs = torch.stack([sample[0] for sample in spec.inputs])
    weights = {
        name: torch.stack(
            [spec.model.get_parameter(name).detach() + 0.3 * torch.randn(2, *shape)[pack] for pack in (0, 1)]
        )
        for name in spec.generated
        for shape in [spec.model.get_parameter(name).shape]
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        together, of_all = _gradients(weights, lambda given: call(spec.model, given, inputs))
    alone, of_each = _gradients(
        weights,
        lambda given: torch.stack(
            [
                functional_call(
                    spec.model, {name: each[pack] for name, each in given.items()}, (inputs[pack],)
                )
                for pack in (0, 1)
            ]
        ),
    )
    close = [
        torch.allclose(ours, theirs, atol=1e-4, rtol=1e-4)
        for ours, theirs in zip(of_all, of_each, strict=True)
    ]
    return RIGHT if torch.allclose(together, alone, atol=1e-4) and all(close) else "refused: computed wrongly"


def _gradients(weights: dict[str, Tensor], compute) -> tuple[Tensor, list[Tensor]]:  # type: ignore[no-untyped-def]
    given = {name: each.clone().requires_grad_() for name, each in weights.items()}
    outputs = compute(given)
    outputs.square().sum().backward()
    return outputs.detach(), [each.grad for each in given.values() if each.grad is not None]


def exported(kind: Kind, target: str) -> str:
    """ "right" where the bundle verifies, else "refused: reason". Any other error is a defect, and raised."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            export_bundle(kind.spec(), target, Path(folder) / "bundle")
        except BundleError as error:
            return f"{REFUSED}: {error}"
    return RIGHT


def read(page: str) -> dict[tuple[str, str], str]:
    """The cells of a page, by kind and column."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in page.splitlines()
        if line.startswith("| ")
    ]
    cells = {
        (row[0], column): cell for row in rows[1:] for column, cell in zip(COLUMNS, row[1:], strict=True)
    }
    reasons = re.findall(r"^- (.+) on `(\w+)`: (.+)$", page, re.MULTILINE)
    return cells | {(kind, column): f"{REFUSED}: {reason}" for kind, column, reason in reasons}


def written(cells: dict[tuple[str, str], str]) -> str:
    """The page of these cells."""
    lines = [f"| kind | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for kind in KINDS:
        row = [cells.get((kind.name, column), UNKNOWN).partition(":")[0] for column in COLUMNS]
        lines.append(f"| {kind.name} | {' | '.join(row)} |")
    reasons = [
        f"- {kind.name} on `{column}`: {cell.partition(': ')[2]}"
        for kind in KINDS
        for column in COLUMNS
        if (cell := cells.get((kind.name, column), "")).startswith(REFUSED)
    ]
    counted = f"\n{len(reasons)} of {len(KINDS) * len(COLUMNS)} cells are refusals.\n"
    return HEAD + "\n".join(lines) + "\n" + counted + ("\n" + "\n".join(reasons) + "\n" if reasons else "")


def main() -> None:
    cells = read(PAGE.read_text()) if PAGE.exists() else {}
    for column in sys.argv[1:] or COLUMNS:
        for kind in KINDS:
            found = trained(kind) if column == "training" else exported(kind, column)
            cells[kind.name, column] = " ".join(found.split())
            PAGE.write_text(written(cells))
            print(f"{column:11} {kind.name:22} {found}", flush=True)


if __name__ == "__main__":
    main()
