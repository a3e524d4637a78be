"""`mnet simulate`: users of the run's data set as a fleet of phones."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnet.toolchain.cli._early import check_bundles, check_runs
from mnet.toolchain.console import Bars, Printer, text_table

if TYPE_CHECKING:
    from mnet.toolchain.tasks.timeline import Timeline
    from mnet.toolchain.training.run import Run

PANEL = "Measure"

USERS = 24


def command(
    run: Annotated[Path, typer.Argument(help="Run folder that `mnet train` wrote.")],
    bundle: Annotated[Path, typer.Option("--bundle", "-b", help="The bundle that the phones run.")],
    server: Annotated[str | None, typer.Option(help="URL of a running server. Default: start one.")] = None,
    enrolment_key: Annotated[
        Path | None, typer.Option(help="The enrolment key file of the server at --server.")
    ] = None,
    users: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"Users to replay, each on its own phone. Default: {USERS}, or as many as there are.",
        ),
    ] = None,
    skip: Annotated[int, typer.Option(min=0, help="How many users to skip; for several processes.")] = 0,
    light: Annotated[
        int,
        typer.Option(min=0, help="Phones without a session that poll, upload and fetch, to load the server."),
    ] = 0,
    policy: Annotated[
        list[str],
        typer.Option(
            help="When phones ask: `never`, `always`, `every:N` or `shift`; repeat it to compare them."
        ),
    ] = ["always"],  # noqa: B006
    drift: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Switch each phone to another user after N predictions; users with fewer are skipped.",
        ),
    ] = None,
    faults: Annotated[
        list[str], typer.Option(help="A fault of `mnet faults` to inject, or `all`; repeatable.")
    ] = [],  # noqa: B006
    seed: Annotated[
        int | None,
        typer.Option(help="Seed of users, pairing, faults and light phones. Default: the seed of the run."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for simulation.json and simulation.png.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per event.")] = False,
) -> None:
    """Replay test users as a fleet of phones on the real runtime, with uploads, swaps and faults.

    It starts its own server, which `--light` and `--faults` need, unless `--server` names one. The exit code is 1 if an
    upload was lost or a wrong version of the weights answered. `mnet policies` measures quality for all test users at
    once, without a server.

    Example: `mnet simulate runs/ml -b bundles/ml --policy always --policy shift --drift 30 --faults all -o out`
    """
    check_runs(run)
    check_bundles(bundle)

    import json
    import sys

    import torch

    from mnet.export.format.bundle import Bundle
    from mnet.toolchain.fleet import simulation_report as tables
    from mnet.toolchain.fleet.faulty_server import chosen_faults
    from mnet.toolchain.fleet.simulation import Plan, simulate
    from mnet.toolchain.fleet.simulation_plot import plot_simulation
    from mnet.toolchain.training.report_file import write_report
    from mnet.toolchain.training.run import load_run

    place = _place(server, enrolment_key, {"--light": light, "--faults": faults})
    chosen = chosen_faults(faults)
    torch.set_num_threads(1)
    loaded = load_run(run)
    seed = loaded.config.seed if seed is None else seed
    timelines = _timelines(loaded, seed, drift, skip, users)
    plan = Plan(timelines, list(dict.fromkeys(policy)), seed, chosen, light)
    if out:
        out.mkdir(parents=True, exist_ok=True)

    def report(event: dict[str, Any]) -> None:
        if as_json:
            sys.stdout.write(json.dumps(event) + "\n")
            sys.stdout.flush()

    with Bars(Printer(stderr=True)) as bar:
        task = bar.add_task("rounds")
        outcome = simulate(
            loaded,
            Bundle.load(bundle),
            plan,
            report,
            lambda done, total: bar.update(task, completed=done, total=total),
            place,
        )
        bar.update(task, completed=bar.tasks[0].total)
    found = tables.simulation_report(loaded, plan, drift, outcome)
    report({"event": "simulated", **found})
    if out:
        write_report(out / "simulation.json", found)
        plot_simulation(found, outcome, out / "simulation.png")
    if not as_json:
        console = Printer()
        title = f"{len(timelines)} phones a policy, on {outcome.stands_on}"
        console.print(text_table(tables.policy_header(found), tables.policy_rows(found), title))
        console.print(text_table(tables.SWAP_HEADER, tables.swap_rows(found)))
        if outcome.disturbances:
            console.print(text_table(tables.FAULT_HEADER, tables.fault_rows(outcome.disturbances)))
        if outcome.light:
            console.print(text_table(("light phones", ""), tables.light_rows(outcome.light)))
    if not outcome.harmless:
        raise typer.Exit(1)


def _place(server: str | None, enrolment_key: Path | None, own: dict[str, object]) -> tuple[str, Path] | None:
    """The server that was named, with its key; None for one of its own, which the options `own` need."""
    from mnet.toolchain.errors import UserError

    if server is None and enrolment_key is None:
        return None
    if server is None or enrolment_key is None:
        raise UserError("--server and --enrolment-key go together: give both, or neither")
    for option, value in own.items():
        if value:
            raise UserError(f"{option} needs its own server: leave out --server")
    return server, enrolment_key


def _timelines(run: "Run", seed: int, drift: int | None, skip: int, users: int | None) -> list["Timeline"]:
    """The users to replay. Raises UserError where there are not so many."""
    from mnet.toolchain.errors import UserError
    from mnet.toolchain.fleet.timelines import change_hands, draw_timelines

    everyone = draw_timelines(run, seed)
    if drift is not None:
        everyone = change_hands(everyone, drift, seed)
    chosen = everyone[skip : skip + (users or USERS)]
    if len(chosen) < (users or 1):
        raise UserError(f"{run.path}: only {len(chosen)} test users are left after --skip {skip}")
    return chosen
