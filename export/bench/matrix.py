"""One cell of the table model x target: export, verify, bench, and what came of it."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mnet.export.bench.latency import bench_bundle
from mnet.export.exporter import Stage, export_bundle
from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import BundleError
from mnet.export.lowering.spec import ExportSpec
from mnet.export.targets import find_target
from mnet.export.verify import verify_bundle

COLUMNS = {
    "model": "model",
    "target": "target",
    "generated_bytes": "generated",
    "weights": "weights are",
    "export_s": "export",
    "max_error": "largest error",
    "output_change": "least change",
    "ratio_p50": "ratio to baked",
    "swap_p50_us": "swap p50",
    "bind_p50_us": "of it binding",
}


def measure_cell(spec: ExportSpec, target: str, out: Path, swaps: int, stage: Stage) -> dict[str, Any]:
    """Export `spec` for `target` into `out` and measure it; why a cell cannot be measured is under `refused`.

    Errors and changes are relative to the size of the outputs, over the packs of `verify_bundle`. Ratio and swap are
    there only for a target that runs on this machine.
    """
    cell: dict[str, Any] = {"model": spec.name, "target": target}
    start = time.perf_counter()
    try:
        bundle = export_bundle(spec, target, out, stage)
    except BundleError as error:
        return cell | {"refused": str(error)}
    cell |= {
        "generated_bytes": bundle.manifest.generated_bytes,
        "weights": _weights_are(bundle),
        "export_s": round(time.perf_counter() - start, 1),
    }
    stage("verifying")
    found = verify_bundle(bundle)
    cell |= {name: getattr(found, name) for name in ("packs", "max_error", "output_change", "tolerance")}
    if find_target(target).runs_here:
        stage(f"timing {swaps} swaps")
        report = bench_bundle(bundle, swaps).report(bundle)
        swap = report["swap"]
        cell |= {
            "ratio_p50": report["inference"]["ratio_p50"],
            "control_ratio_p50": report["inference"]["control_ratio_p50"],
            "swap_p50_us": swap["p50_us"],
            "bind_p50_us": swap["parts"]["write_p50_us"],
        }
    return cell


def cell_texts(cell: Mapping[str, Any]) -> list[str]:
    """The cell as a row under `COLUMNS`, for people."""
    if "refused" in cell:
        return [cell["model"], cell["target"], f"refused: {cell['refused']}", *[""] * (len(COLUMNS) - 3)]
    return [
        cell["model"],
        cell["target"],
        f"{cell['generated_bytes'] / 1024:.1f} KB",
        cell["weights"],
        f"{cell['export_s']:.0f} s",
        f"{cell['max_error']:.1e}",
        f"{cell['output_change']:.1e}",
        f"{cell['ratio_p50']:.2f}" if "ratio_p50" in cell else "checked only",
        f"{cell['swap_p50_us']:.0f} µs" if "swap_p50_us" in cell else "",
        f"{cell['bind_p50_us']:.0f} µs" if "bind_p50_us" in cell else "",
    ]


def markdown(cells: list[dict[str, Any]]) -> str:
    """The cells as a table for a README."""
    return markdown_table(list(COLUMNS.values()), [cell_texts(cell) for cell in cells])


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Texts as a table in Markdown."""
    return "".join(f"| {' | '.join(row)} |\n" for row in (header, ["---"] * len(header), *rows))


def _weights_are(bundle: Bundle) -> str:
    manifest = bundle.manifest.bound_by(find_target(bundle.manifest.target).slots)
    return ", ".join(dict.fromkeys(str(slot.binding) for slot in manifest.slots))
