"""A weight pack of anybody's weights: a file, an adapter of PEFT, or a bundle's own default weights."""

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn

from mnet.export.adapters import Adapter, config_of, inject, plain_name
from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import Reason, Refused
from mnet.export.modules import answers, make_pack
from mnet.toolchain.errors import UserError
from mnet.toolchain.own_module import fitted, load_module, read_state


def own_pack(
    bundle: Bundle,
    weights: Path | None,
    version: int = 1,
    *,
    module: str | None = None,
    base: Path | None = None,
) -> bytes:
    """Make a pack for a bundle of the weights in a file or folder.

    Args:
        bundle: what devices run.
        weights: a safetensors file or checkpoint, of the generated parameters or, with `module`, of the whole module;
            or a folder of PEFT with an adapter; None for the bundle's default weights.
        version: of the pack.
        module: the module that the bundle was exported from, `package.module:build`: the probe is what it answers in
            eager PyTorch. Without it, the probe is what the bundle's own runtime answers on this machine, after that
            has given the golden outputs which the export stored of eager PyTorch.
        base: the module's weights, as at the export.

    Returns:
        The bytes of the pack.

    Raises:
        UserError: for weights that do not fit the bundle, each by its name, or that are not finite.
        BundleError: for an adapter that does not fit, or that has no effect.
    """
    loaded = None if module is None else _as_exported(bundle, load_module(module, base))
    digest = "default"
    if weights is None:
        given = dict(bundle.default_weights)
    elif weights.is_dir():
        adapter = Adapter.read(weights)
        given = adapter.weights(bundle)
        _refuse_silence(bundle, given, loaded, weights)
        digest = adapter.digest
    else:
        known = [slot.parameter for slot in bundle.manifest.slots] if loaded is None else loaded.state_dict()
        state = fitted(known, read_state(weights))
        given = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    try:
        return make_pack(bundle, given, version, module=loaded, generator=digest)
    except Refused as error:
        more = ""
        if error.reason == Reason.EXTRA_TENSOR and loaded is None:
            more = "; with --module, a whole state dict is taken, and what no pack carries is compared"
        raise UserError(f"{weights} does not fit the bundle: {error.detail}{more}") from None
    except ValueError as error:
        raise UserError(f"{weights}: {error}") from None


def _as_exported(bundle: Bundle, module: nn.Module) -> nn.Module:
    """The module with the adapter's layers that the bundle's export put into it."""
    config = config_of(bundle)
    if config is not None and not hasattr(module, "peft_config"):
        inject(module, config, {plain_name(name): value for name, value in bundle.default_weights.items()})
    return module


def _refuse_silence(bundle: Bundle, given: dict[str, Tensor], module: nn.Module | None, folder: Path) -> None:
    """UserError for an adapter under which nothing changes: trained by mistake on nothing, or never trained.

    With all B zero, or with outputs that are to the last bit those of the default weights for every golden sample.
    """
    silent = not any(
        value.any() for name, value in given.items() if "lora_B" in name or "embedding_B" in name
    )
    if not silent and any(not torch.equal(given[name], was) for name, was in bundle.default_weights.items()):
        outputs = answers(bundle, module)
        silent = all(
            torch.equal(new, was)
            for inputs in bundle.golden.inputs
            for new, was in zip(
                outputs(given, inputs), list(outputs(bundle.default_weights, inputs)), strict=True
            )
        )
    if silent:
        raise UserError(
            f"the adapter in {folder} has no effect: under it every golden sample gives the outputs that it gives "
            "without; it was never trained, or saved before it was (--zero packs the default weights)"
        )
