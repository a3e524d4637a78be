"""`mnet push`: new weights for phones, a pack or from the contexts that they last uploaded; or a file over a cable."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from mnet.toolchain.cli._early import check_path, read_ids
from mnet.toolchain.cli._operator import Yes, confirm, connect
from mnet.toolchain.console import Printer

PANEL = "Operate"


def command(
    server: Annotated[str | None, typer.Option(help="URL of the server.", envvar="MNET_SERVER")] = None,
    operator_key: Annotated[
        Path | None, typer.Option(help="The server's operator key file.", envvar="MNET_OPERATOR_KEY")
    ] = None,
    device: Annotated[
        list[str] | None, typer.Option(help="Device id; repeatable. Default: every device.")
    ] = None,
    devices: Annotated[
        Path | None, typer.Option(help="File with a device id in each line, instead of --device.")
    ] = None,
    cohort: Annotated[str | None, typer.Option(help="The devices of this cohort; see `mnet cohort`.")] = None,
    pack: Annotated[
        Path | None,
        typer.Option(help="Push this pack as it is, as of `mnet pack`, to all that run its bundle."),
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", "-b", help="The pack's bundle, on whose runtime it is tested here first."),
    ] = None,
    percent: Annotated[
        float, typer.Option(min=0.01, max=100.0, help="Share of the devices to reach.")
    ] = 100.0,
    rollout: Annotated[int | None, typer.Option(help="Extend this roll-out to a larger --percent.")] = None,
    stop_above: Annotated[
        float,
        typer.Option(min=0.0, max=100.0, help="Stop when more than this percentage of phones refuse it."),
    ] = 1.0,
    hold_out: Annotated[
        float,
        typer.Option(
            min=0.0, max=99.0, help="Hold out this percentage of the phones, to compare with: see `mnet ab`."
        ),
    ] = 0.0,
    held_on: Annotated[
        Literal["previous", "default"],
        typer.Option(help="Which weights the held-out phones run: those they had, or the default ones."),
    ] = "previous",
    stop_below: Annotated[
        str | None,
        typer.Option(
            metavar="METRIC:DIFFERENCE",
            help="Stop when this metric is surely lower by more than that than where it is held out.",
        ),
    ] = None,
    adb: Annotated[
        Path | None,
        typer.Option(
            help="Send this bundle folder or pack to the Android demo on the attached phone instead."
        ),
    ] = None,
    yes: Yes = False,
    dry_run: Annotated[
        bool, typer.Option(help="Say how many phones it would reach, and push nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Release new weights for all phones, some, or a percentage: a pack, or generated ones; or send a file over adb.

    It says how many phones it reaches and asks; the server then brings them there, also after the command has ended.

    Examples: `mnet push --server URL --operator-key server/keys/operator.key --percent 5`

    `mnet push --hold-out 10 --stop-below clicked:-0.02 --server URL --operator-key server/keys/operator.key`

    `mnet push --pack v2.pack --bundle bundles/mine --cohort de --server URL --operator-key server/keys/operator.key`
    """
    check_path(pack)
    check_path(devices)

    import json

    from mnet.toolchain.attached.android_app import push_over_adb
    from mnet.toolchain.errors import UserError

    if adb is not None:
        Printer().print(push_over_adb(adb))
        return
    if server is None or operator_key is None:
        raise UserError("give --server and --operator-key, or --adb")
    if rollout is not None and (device or devices or cohort or pack or hold_out or stop_below):
        raise UserError(
            "a roll-out keeps the pack and the devices that it was started for: leave out --pack, --device, --devices, "
            "--cohort, --hold-out and --stop-below"
        )
    least = None if stop_below is None else _least(stop_below, hold_out)
    if (pack is None) != (bundle is None):
        raise UserError(
            "--pack and --bundle belong together: a pack is tested on its bundle before it is pushed"
        )
    chosen = [*(device or []), *(read_ids(devices) if devices else [])] or None
    content = _tested(pack, bundle) if pack and bundle else None
    with connect(server, operator_key) as operator:
        if rollout is None:
            reach = operator.reach_of(chosen, cohort=cohort, bundle=content and content[1])
            what = f"{reach.devices:,} phones, {len(reach.bundles)} bundles."
            if percent < 100:
                what = f"{percent:g} % of {reach.devices:,} phones, {len(reach.bundles)} bundles."
        else:
            now = operator.status(rollout)
            what = f"{now['reached']:,} phones so far, from {now['percent']:g} % to {percent:g} %."
        if hold_out:
            what += f" {hold_out:g} % of them are held out, on their {held_on} weights."
        if dry_run:
            print(json.dumps({"reaches": what}) if as_json else what)
            return
        confirm(what, yes)
        if rollout is None:
            pack_bytes = content and content[0]
            pushed = operator.push(
                chosen,
                percent,
                stop_above / 100,
                cohort=cohort,
                pack=pack_bytes,
                hold_out=hold_out,
                held_on=held_on,
                stop_below=least,
            )
        else:
            pushed = operator.extend(rollout, percent)
    number = pushed.rollout
    if as_json:
        print(json.dumps({"rollout": number, "awaits_approval": pushed.awaits_approval}))
        return
    follow = f"`mnet history --rollout {number} --watch` says how far it is"
    if pushed.awaits_approval:
        follow = f"It waits for a second operator: `mnet approve {number}` with their key"
    Printer().print(f"roll-out {number}: {what} {follow}")


def _least(stop_below: str, hold_out: float) -> tuple[str, float]:
    """The metric, and the difference below which it stops a roll-out. Raises UserError."""
    from mnet.toolchain.contract.measurement import check_metric
    from mnet.toolchain.errors import UserError

    metric, colon, difference = stop_below.rpartition(":")
    try:
        check_metric(metric)
        least = float(difference)
    except ValueError:
        colon = ""
    if not colon or not least < 0:
        raise UserError(
            f"--stop-below {stop_below}: give a metric and a negative difference, such as clicked:-0.05"
        )
    if not hold_out:
        raise UserError("--stop-below needs --hold-out: without it there is nobody to compare with")
    return metric, least


def _tested(pack: Path, bundle: Path) -> tuple[bytes, str]:
    """The bytes of a pack that the bundle's runtime takes here, and the bundle's id; UserError if it is refused."""
    from mnet.export.format.bundle import Bundle
    from mnet.export.format.errors import Refused
    from mnet.export.session import open_session
    from mnet.toolchain.errors import UserError

    content = pack.read_bytes()
    try:
        loaded = Bundle.load(bundle)
        open_session(loaded).swap(content)
    except Refused as error:
        raise UserError(f"{pack} is refused by its bundle, and is not pushed: {error}") from None
    return content, loaded.id
