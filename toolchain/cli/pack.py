"""`mnet pack`: a weight pack of anybody's weights."""

from pathlib import Path
from typing import Annotated

import typer

from mnet.toolchain.cli._early import check_bundles, check_path
from mnet.toolchain.console import Printer
from mnet.toolchain.errors import UserError

PANEL = "Export"


def command(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder that the pack is for.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File of the pack, or folder with --unpack.")],
    weights: Annotated[
        Path | None,
        typer.Option(help="A safetensors file, a checkpoint, or a folder of PEFT with a LoRA adapter."),
    ] = None,
    zero: Annotated[
        bool, typer.Option("--zero", help="Pack the default weights, as a way back to them.")
    ] = False,
    unpack: Annotated[
        Path | None, typer.Option(help="Write the adapter that this pack carries as a folder of PEFT.")
    ] = None,
    version: Annotated[
        int, typer.Option(min=1, help="Version of the pack; a device takes higher ones only.")
    ] = 1,
    module: Annotated[
        str | None,
        typer.Option(
            help="What was exported, `package.module:build`; its answers in eager PyTorch are the probe."
        ),
    ] = None,
    base: Annotated[Path | None, typer.Option(help="The module's weights, as at the export.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Pack weights for a bundle, with the probe by which devices test themselves.

    Without --module, the probe is what the bundle's own runtime answers here, after it gave the stored golden outputs.

    Example: `mnet pack bundles/mine --weights tuned.safetensors --out v2.pack`
    """
    if (weights is not None) + zero + (unpack is not None) != 1:
        raise UserError("give --weights, a file or a folder of PEFT, or --zero, or --unpack and a pack")
    if base is not None and module is None:
        raise UserError("--base is the weights of --module; give both")
    check_bundles(bundle)
    for path in (weights, unpack, base):
        check_path(path)

    import json

    from mnet.export.adapters import unpack_adapter
    from mnet.export.format.bundle import Bundle
    from mnet.export.format.errors import Refused
    from mnet.export.format.packs import pack_digest
    from mnet.toolchain.own_pack import own_pack

    loaded = Bundle.load(bundle)
    if unpack is not None:
        try:
            unpack_adapter(loaded, unpack.read_bytes()).save(out)
        except Refused as error:
            raise UserError(f"{unpack}: {error}") from None
        Printer(stderr=True).print(f"adapter {out}")
        return
    pack = own_pack(loaded, weights, version, module=module, base=base)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(pack)
    program = loaded.manifest.bytes_of(loaded.manifest.model.program)
    facts = {
        "pack": str(out),
        "sha256": pack_digest(pack),
        "version": version,
        "bytes": len(pack),
        "share_of_program": round(len(pack) / program, 6),
    }
    if as_json:
        print(json.dumps(facts))
    else:
        Printer().print(
            f"pack {out}: version {version} for bundle {loaded.id[:12]}, {len(pack):,} bytes, "
            f"{len(pack) / program:.2%} of the program, SHA-256 {facts['sha256']}"
        )
