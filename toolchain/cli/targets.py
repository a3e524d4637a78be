"""`mnet targets`: what this machine can export for, run, and only check."""

from typing import Annotated

import typer

from mnet.toolchain.console import Printer

PANEL = "Export"


def command(
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """List the export targets: which are installed, which run here, and which can only be checked.

    Example: `mnet targets`
    """
    import json

    from rich.table import Table

    from mnet.export.targets import known_targets

    rows = [
        {
            "target": name,
            "export": target.installed,
            "here": "no" if not target.installed else "runs" if target.runs_here else "checks",
            "runtime": target.runtime,
            "tolerance": target.tolerance,
            "bindings": list(target.bindings),
            "base": ["fp32", "int8"] if target.quantizes else ["fp32"],
            "install": target.install,
        }
        for name, target in known_targets().items()
    ]
    if as_json:
        print(json.dumps(rows))
        return
    table = Table("target", "exports", "on this machine", "runtime", "installed by")
    for row in rows:
        exports = "yes" if row["export"] else "no"
        table.add_row(str(row["target"]), exports, str(row["here"]), str(row["runtime"]), str(row["install"]))
    Printer().print(table)
