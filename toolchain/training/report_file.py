"""The file of figures that a command leaves for people and for `mnet report`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from mnet.export.bench.pictures import Made
from mnet.toolchain.training.run import write_json


def write_report(file: Path, report: dict[str, Any] | list[dict[str, Any]]) -> None:
    """Write the figures of a command, with what made them under `made`; of a list, in each of its entries."""
    made = {"made": asdict(Made.now())}
    write_json(file, [each | made for each in report] if isinstance(report, list) else report | made)
