"""The steps of the command line that take more than one call, as functions for a notebook or a job."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mnet.export.format.bundle import Bundle
from mnet.toolchain.cloud.generation import PackGenerator
from mnet.toolchain.console import Printer
from mnet.toolchain.training.config import load_config, parse_config
from mnet.toolchain.training.recipe import train as train_config
from mnet.toolchain.training.run import Run, load_run


def train(config: str | Path | Mapping[str, Any], out: str | Path, overrides: Sequence[str] = ()) -> Run:
    """Train a device model and its MetaNetwork, as `mnet train` does. A run that was interrupted is resumed.

    Args:
        config: name of a built-in config, e.g. `movielens-100k/sasrec`, path of a YAML file, or its content.
        out: the run folder; created if it is missing.
        overrides: `section.key=value` over the config, as of `--set`; for a built-in config or a file.

    Returns:
        The finished run.

    Raises:
        UserError: for an unknown config or key, data that cannot be read, or a folder with another run.
    """
    if isinstance(config, Mapping):
        settings = parse_config(config, "the config")
    else:
        settings = load_config(str(config), overrides)
    train_config(settings, Path(out), Printer(stderr=True))
    return load_run(Path(out))


@torch.inference_mode()
def generate(run: Run, context: Sequence[Any]) -> dict[str, Tensor]:
    """Generate the parameters for one device: one forward pass of the MetaNetwork.

    Args:
        run: a finished run that trained a MetaNetwork.
        context: the samples that a device uploads, oldest first: item ids for recommendation, feature vectors for
            classification.

    Returns:
        Each generated parameter by its name in the device model, fp32, in PyTorch's layout and shape.

    Raises:
        UserError: if the run has no MetaNetwork.
        ValueError: if the task cannot read a sample, e.g. an item that it does not know.
    """
    network, task = run.metanetwork, run.task
    batch = network.generate(task.prepared(network, task.context(context)))
    return {name: values[0] for name, values in batch.items()}


def generate_pack(run: Run, bundle: Bundle, context: Sequence[Any], version: int) -> bytes:
    """Generate a weight pack for one device, as the server does: parameters, in the bundle's dtypes, and a probe.

    Args:
        run: the run that the bundle was exported from.
        bundle: what the device runs.
        context: the samples that the device uploads, as for `generate`.
        version: a device takes a pack only if its version is higher than that of the pack in use; the default is 0.

    Returns:
        The bytes of a safetensors file, for `Session.swap` or for a file.

    Raises:
        UserError: if the bundle was exported from another run, or the run has no MetaNetwork.
        ValueError: if the task cannot read a sample, or a generated value is not finite.
    """
    return PackGenerator(run, bundle).packs([context], [version])[0]
