"""`mnet evaluate`: every method of a run side by side."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnet.toolchain.cli._early import check_bundles, check_runs
from mnet.toolchain.console import Printer

PANEL = "Train"

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = 6  # of further metrics, as many as a terminal shows


def command(
    runs: Annotated[list[Path], typer.Argument(help="One run, or several that differ in the seed alone.")],
    methods: Annotated[
        str,
        typer.Option(
            help="`all`, or names with commas between; the static and the equal-cost one are always there."
        ),
    ] = "all",
    bundle: Annotated[
        Path | None,
        typer.Option(
            "--bundle",
            "-b",
            help="A bundle of the run: test the MetaNetwork on this artifact and in eager PyTorch.",
        ),
    ] = None,
    packs: Annotated[
        int, typer.Option(min=0, help="With --bundle: how many weight packs to swap in; 0 for all.")
    ] = 1000,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Test finished runs: the metrics of every method, and its gain over the equal-cost and the static model.

    The equal-cost model is the strongest one without generation that costs a device no more bytes and time; the config
    names it as `equal_cost`.

    Examples: `mnet evaluate runs/movielens-100k-sasrec-0 --bundle bundles/tflite` and
    `mnet evaluate runs/movielens-100k-sasrec-0 runs/movielens-100k-sasrec-1 --methods metanetwork,cloud`
    """
    check_runs(*runs)
    check_bundles(*([bundle] if bundle else []))

    import json as json_format

    from rich.table import Table

    from mnet.toolchain.training.evaluate import evaluate, rows_of, seeds_text

    if bundle is not None:
        _on_bundle(runs, bundle, packs, json)
        return
    report = evaluate(runs, Printer(stderr=True), methods)
    if json:
        print(json_format.dumps(report))
        return
    console = Printer()
    first, *others = report["metrics"]["static"]
    console.print(_gains_table(report, first))
    console.print(
        f"{report['queries']} queries; {seeds_text(report)}; p: of no gain over {report['equal_cost']}"
    )
    if report["packs"]:
        console.print(_packs_table(report, first))
    for start in range(0, len(others), COLUMNS):
        shown = others[start : start + COLUMNS]
        means = Table("mean", *shown)
        for method in rows_of(report):
            values = report["metrics"][method]
            means.add_row(method, *(f"{values[metric]['mean']:.4f}" for metric in shown))
        console.print(means)


def _gains_table(report: Mapping[str, Any], metric: str) -> "Table":
    """A row a method: its value, its gain over the equal-cost method, and over the static one where that is another."""
    from rich.table import Table

    from mnet.toolchain.training.bootstrap import gain_heading, gain_text
    from mnet.toolchain.training.evaluate import figure_text, rows_of

    sections = {report["equal_cost"]: "gain", "static": "gain_over_static"}
    title = f"{report['dataset']}/{report['model']}"
    headings = [
        gain_heading((of[metric] for method, of in report[section].items() if method != name), name)
        for name, section in sections.items()
    ]
    table = Table("method", metric, *headings, "p", title=title)
    for method in rows_of(report):
        values = report["metrics"][method]
        gains = [
            "" if method == name else gain_text(report[section][method][metric])
            for name, section in sections.items()
        ]
        over = report["gain"][method][metric] if method != report["equal_cost"] else None
        table.add_row(method, figure_text(values[metric]), *gains, f"{over['p']:.4f}" if over else "")
    return table


def _packs_table(report: Mapping[str, Any], metric: str) -> "Table":
    """One row for each kind of pack: its recipients, whether a device uploads, its size and its gain."""
    from rich.table import Table

    from mnet.toolchain.training.bootstrap import gain_text
    from mnet.toolchain.training.evaluate import figure_text

    equal_cost = report["equal_cost"]
    table = Table("pack", "one for", "upload", "changes, fp32", metric, f"over {equal_cost}", title="packs")
    for method, kind in report["packs"].items():
        table.add_row(
            method,
            kind["made_for"],
            "a context" if kind["upload"] else "none",
            f"{kind['bytes']:,} bytes",
            figure_text(report["metrics"][method][metric]),
            gain_text(report["gain"][method][metric]),
        )
    return table


def _on_bundle(runs: list[Path], path: Path, packs: int, as_json: bool) -> None:
    import json

    from rich.table import Table

    from mnet.export.format.bundle import Bundle
    from mnet.toolchain.errors import UserError
    from mnet.toolchain.training.bootstrap import gain_text
    from mnet.toolchain.training.evaluate_bundle import evaluate_bundle

    if len(runs) != 1:
        raise UserError("a bundle belongs to one run: name that one alone")
    report = evaluate_bundle(runs[0], Bundle.load(path), packs, Printer(stderr=True))
    if as_json:
        print(json.dumps(report))
        return
    kinds = f"base {report['base_dtype']}, packs {' and '.join(report['pack_dtypes'])}"
    title = f"{report['dataset']}/{report['model']}: {kinds}, {report['push_bytes']:,} bytes a push"
    table = Table("metric", "eager, fp32", f"on {report['target']}", "change", title=title)
    for metric, change in report["change"].items():
        eager, artifact = (report["metrics"][method][metric] for method in ("eager", "artifact"))
        table.add_row(metric, f"{eager:.4f}", f"{artifact:.4f}", gain_text(change))
    console = Printer()
    console.print(table)
    console.print(
        f"{report['queries']} queries under {report['packs']} weight packs, each swapped in with its self-test, "
        f"{report['refused']} refused; changes with their 95 % interval over users, paired"
    )
