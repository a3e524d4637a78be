"""What the command line says of a module of the user's own, checked before PyTorch is imported."""

from pathlib import Path
from typing import Annotated

import typer

from mnet.toolchain.cli._early import check_path
from mnet.toolchain.errors import UserError

Weights = Annotated[
    Path | None,
    typer.Option(help="The module's weights: safetensors, or a checkpoint of its state dict."),
]
Generated = Annotated[
    list[str] | None,
    typer.Option(help="Parameters of the module that packs replace, e.g. `head.*`; repeatable."),
]
Lora = Annotated[
    Path | None,
    typer.Option(help="A folder of PEFT: its LoRA adapter is put in, and packs replace its factors."),
]
Example = Annotated[
    str | None,
    typer.Option(help="The module's inputs: `package.module:function`, or a safetensors file."),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        help="Without --example: `NAME:float32[1,3,224,224]` or `NAME:int64[1,16]<30522`; repeatable.",
    ),
]
Dynamic = Annotated[
    list[str] | None,
    typer.Option(help="Bounds of an input's size that varies, e.g. `history=1..200`; repeatable."),
]

OWN_ONLY = (
    "--weights, --generated, --lora, --example and --input are for a module of your own, package.module:build; "
    "{other} has its own"
)


def check_own(
    weights: Path | None,
    generated: list[str] | None,
    lora: Path | None,
    example: str | None,
    inputs: list[str] | None,
) -> None:
    """Raises UserError for what is missing, or cannot be read."""
    from mnet.toolchain.own_module import input_shape, is_reference

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
