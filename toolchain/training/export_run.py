"""What of a run goes into a bundle."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from mnet.export.exporter import export_bundle
from mnet.export.format.bundle import Bundle
from mnet.export.format.pack_dtypes import find_pack_dtype
from mnet.export.lowering.quantization import find_base_dtype
from mnet.export.lowering.spec import ExportSpec
from mnet.export.targets import load_target
from mnet.toolchain.training.run import Run, load_run, read_policy

GOLDEN_SAMPLES = 8


def export_run(
    run: str | Path,
    target: str,
    out: str | Path,
    stage: Callable[[str], None] = lambda _: None,
    *,
    binding: str | None = None,
    pack_dtype: str = "fp32",
    quantize: str | None = None,
    dynamic: Mapping[str, tuple[int, int]] | None = None,
) -> Bundle:
    """Export the device model of a run folder for one target, and verify it on the target's runtime.

    Args:
        run: the run folder.
        target: name of a target, e.g. `android`; `mnet targets` lists them.
        out: folder for the bundle; created, or replaced if it holds a bundle.
        stage: called with one line before each step.
        binding: how new weights reach the program, where the target leaves a choice; None lets a rule choose.
        pack_dtype: what the weights travel in: `fp32`, `fp16` or `int8`.
        quantize: `int8` to quantize the layers that are not generated, on targets that can; None to leave them.
        dynamic: sizes of inputs that vary, with their bounds, as in `{"history": (1, 50)}`, on targets that can.

    Returns:
        The bundle.

    Raises:
        UserError: without a finished run at `run`.
        BundleError: for an unknown dtype or target, one that is not installed, or a model that cannot be exported for
            it.
    """
    run, out = Path(run), Path(out)
    load_target(target)  # an unknown one is refused before anything slow
    dtype = find_pack_dtype(pack_dtype)
    base_dtype = find_base_dtype(quantize)
    stage("loading the run")
    spec = dataclasses.replace(
        export_spec(load_run(run)),
        binding=binding,
        pack_dtype=dtype,
        base_dtype=base_dtype,
        dynamic=dict(dynamic or {}),
    )
    return export_bundle(spec, target, out, stage)


def export_spec(run: Run) -> ExportSpec:
    """The device model with the run's shared weights; `generator` ties the bundle to its checkpoint."""
    generator = torch.Generator().manual_seed(0)
    return ExportSpec(
        name=run.name,
        model=run.device_model,
        generated=run.generated,
        inputs=tuple(run.task.example_inputs(generator) for _ in range(GOLDEN_SAMPLES)),
        input_names=run.task.input_names,
        output_names=run.task.output_names,
        metadata={"generator": run.fingerprint},
        policy=read_policy(run.path),
    )
