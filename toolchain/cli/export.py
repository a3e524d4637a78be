"""`mnet export`: a run, or a module of one's own, becomes a bundle for one target."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mnet.toolchain.cli._early import check_path, check_runs, check_targets
from mnet.toolchain.console import Printer, Stages
from mnet.toolchain.errors import UserError

PANEL = "Export"


def command(
    what: Annotated[
        str,
        typer.Argument(
            metavar="RUN|MODULE",
            help="Run folder that `mnet train` wrote, or `package.module:build`, a function, class or module.",
        ),
    ],
    target: Annotated[
        str, typer.Option(help="What to export for, e.g. `android`; `mnet targets` lists them.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the bundle.")],
    weights: Annotated[
        Path | None,
        typer.Option(help="The module's weights: safetensors, or a checkpoint of its state dict."),
    ] = None,
    generated: Annotated[
        list[str] | None,
        typer.Option(help="Parameters of the module that packs replace, e.g. `head.*`; repeatable."),
    ] = None,
    lora: Annotated[
        Path | None,
        typer.Option(help="A folder of PEFT: its LoRA adapter is put in, and packs replace its factors."),
    ] = None,
    example: Annotated[
        str | None,
        typer.Option(help="The module's inputs: `package.module:function`, or a safetensors file."),
    ] = None,
    input_: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            help="Without --example: `NAME:float32[1,3,224,224]` or `NAME:int64[1,16]<30522`; repeatable.",
        ),
    ] = None,
    binding: Annotated[
        str | None,
        typer.Option(
            help="How weights reach the program: for `ios`, `input` (the default) or `state` (iOS 18)."
        ),
    ] = None,
    pack_dtype: Annotated[
        str, typer.Option(help="Data type of pushed weights: `fp32`, `fp16` or `int8`.")
    ] = "fp32",
    quantize: Annotated[
        str | None,
        typer.Option(help="`int8`: quantize the layers that are not generated, on targets that can."),
    ] = None,
    dynamic: Annotated[
        list[str] | None,
        typer.Option(help="Bounds of an input's size that varies, e.g. `history=1..200`; repeatable."),
    ] = None,
    reserve: Annotated[
        list[str] | None,
        typer.Option(help="Further rows of a table of the module, e.g. `item_embedding=500`; repeatable."),
    ] = None,
    into: Annotated[
        Path | None, typer.Option(help="The Android demo's folder; the app then carries this bundle.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Export a run or a module of your own with swappable weights, and verify it on its runtime.

    Examples: `mnet export runs/ml --target android --out bundles/ml`

    `mnet export nets:build --weights best.safetensors --generated 'head.*' --example nets:example --target onnx -o b`
    """
    own = _check(what, weights, generated, lora, example, input_, reserve, into)
    check_targets(target)

    import json

    from mnet.export.exporter import refuse_dynamic
    from mnet.export.lowering.dynamic import parse_bounds
    from mnet.export.lowering.tables import parse_reserve

    with Stages(Printer(stderr=True)) as stages:
        options: dict[str, Any] = {"binding": binding, "pack_dtype": pack_dtype, "quantize": quantize}
        options["dynamic"] = parse_bounds(dynamic or [])
        refuse_dynamic(options["dynamic"], target)
        if own:
            options["reserve"] = parse_reserve(reserve or [])
            from mnet.toolchain.own_module import export_own

            bundle = export_own(
                what,
                weights,
                generated or [],
                example,
                input_ or [],
                target,
                out,
                stages.stage,
                lora=lora,
                **options,
            )
        else:
            from mnet.toolchain.attached.android_app import put_into_app
            from mnet.toolchain.cloud.generation import verify_served
            from mnet.toolchain.training.export_run import export_run
            from mnet.toolchain.training.run import load_run, read_config

            bundle = export_run(what, target, out, stages.stage, **options)
            stages.stage("making two packs as the server does, and swapping them in")
            verify_served(load_run(what), bundle)
            if into is not None:
                stages.stage(f"putting it into {into}")
                put_into_app(bundle, read_config(Path(what)).data, into)
        stages.finish()
    manifest = bundle.manifest
    facts = {
        "bundle": str(out),
        "id": bundle.id,
        "target": manifest.target,
        "slots": len(manifest.slots),
        "generated_bytes": manifest.generated_bytes,
        "program": manifest.model.program,
        "program_bytes": manifest.bytes_of(manifest.model.program),
        "push_bytes": len(bundle.default_pack()),
    }
    if as_json:
        print(json.dumps(facts))
        return
    Printer().print(
        f"bundle {out}: {facts['generated_bytes']:,} generated bytes in {facts['slots']} slots, "
        f"{facts['program_bytes']:,} bytes of {facts['program']}, {facts['push_bytes']:,} a push, id {bundle.id}"
    )


def _check(
    what: str,
    weights: Path | None,
    generated: list[str] | None,
    lora: Path | None,
    example: str | None,
    inputs: list[str] | None,
    reserve: list[str] | None,
    into: Path | None,
) -> bool:
    """Whether it is a module of the user's own; what can be wrong is found before PyTorch is imported."""
    from mnet.toolchain.own_module import input_shape, is_reference

    if Path(what).exists() or not is_reference(what):
        if weights or generated or lora or example or inputs:
            raise UserError(
                "--weights, --generated, --lora, --example and --input are for a module of your own, "
                "package.module:build; a run has its own"
            )
        if reserve:
            raise UserError(
                "--reserve is for a module of your own: the server's packs of a run carry what its MetaNetwork "
                "generates, and no rows that were reserved"
            )
        check_runs(Path(what))
        return False
    if into is not None:
        raise UserError("--into is for a run, whose data the Android demo shows")
    if not (generated or lora):
        raise UserError(
            "give --generated, the parameters that packs replace, e.g. --generated 'head.*', or --lora and an adapter"
        )
    if (example is None) == (not inputs):
        raise UserError("give --example, a function or a safetensors file, or each --input by its shape")
    for text in inputs or []:
        input_shape(text)
    check_path(weights)
    check_path(lora)
    if example is not None and not is_reference(example):
        check_path(Path(example))
    return True
