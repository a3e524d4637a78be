"""A run's MetaNetwork tested as its users meet it: every pack swapped into an exported artifact, which then answers."""

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from export.bundle import Bundle
from export.errors import Refused
from export.pack_dtypes import rounded
from export.quantization import with_base
from export.session import open_session
from toolchain.errors import UserError
from toolchain.metanetwork import call
from toolchain.training.build import load_data
from toolchain.training.gains import bootstrap_gain
from toolchain.training.run import Run, load_run
from toolchain.training.scorers import GeneratedScorer

BATCH = 64


@torch.no_grad()
def evaluate_bundle(path: Path, bundle: Bundle, packs: int, console: Console) -> dict[str, Any]:
    """Test the first `packs` weight packs of a run's test, or all where that is 0, in eager PyTorch and on `bundle`.

    Eager is the run as trained, in fp32. On the bundle's own runtime each pack is written in the bundle's pack dtype and
    swapped in with its self-test, as on a phone; where that refuses, the default weights serve.
    Returns `packs, refused, queries`, `metrics` {eager, artifact: {metric: mean}}, `loss` {metric: relative change from
    eager to artifact, with its interval over users | null}, and what the bundle is. Raises UserError.
    """
    run = load_run(path)
    if bundle.manifest.model.metadata.get("generator") != run.fingerprint:
        raise UserError(
            f"{bundle.path} was exported from another checkpoint than that of {path}: export the run again"
        )
    scorer, served = GeneratedScorer(run.task, run.metanetwork), _Served(run, bundle)
    splits = run.task.splits(load_data(run.config), *run.modules.values())
    owners, values = [], []
    done = 0
    with Progress(console=console) as progress:
        task = progress.add_task("swapping packs in", total=packs or None)
        for batch in splits.test(min(BATCH, packs or BATCH)):
            generated = scorer.packs(batch)
            eager = run.task.scores(scorer.logits(generated, batch), batch)
            values.append(
                {"eager": eager, "artifact": run.task.scores(served.logits(generated, batch), batch)}
            )
            owners.append(run.task.owners(batch))
            done += len(run.task.devices(batch))
            progress.update(task, completed=done)
            if packs and done >= packs:
                break
    means = {
        method: {
            metric: torch.cat([of_batch[method][metric] for of_batch in values]).double().numpy()
            for metric in values[0][method]
        }
        for method in ("eager", "artifact")
    }
    users = torch.cat(owners).numpy()
    return {
        "dataset": run.config.data.name,
        "model": run.config.model.name,
        "target": bundle.manifest.target,
        "base_dtype": bundle.manifest.model.base_dtype,
        "pack_dtypes": sorted(set(bundle.manifest.pack_dtypes.values())),
        "push_bytes": len(bundle.default_pack()),
        "packs": done,
        "refused": served.refused,
        "queries": len(users),
        "metrics": {
            method: {metric: float(np.mean(value)) for metric, value in of_method.items()}
            for method, of_method in means.items()
        },
        "loss": {
            metric: bootstrap_gain(users, means["eager"][metric], means["artifact"][metric])
            for metric in means["eager"]
        },
    }


class _Served:
    """The artifact on its runtime, under one pack after the other."""

    def __init__(self, run: Run, bundle: Bundle) -> None:
        network = run.metanetwork
        self._task = run.task
        self._bundle = bundle
        self._session = open_session(bundle)
        self._reference = with_base(network.device_model, network.generated, bundle.manifest.model.base_dtype)
        self._versions = count(1)
        self.refused = 0

    def logits(self, generated: dict[str, Tensor], batch: Any) -> Tensor:
        """fp32 [N, classes], as of `Task.logits`, under `generated` fp32 [M, *shape]."""
        packs = len(next(iter(generated.values())))
        dtypes = self._bundle.manifest.pack_dtypes
        rows = [
            rounded({name: values[m] for name, values in generated.items()}, dtypes) for m in range(packs)
        ]
        stacked = {name: torch.stack([row[name] for row in rows]) for name in dtypes}
        golden = (tensor.expand(packs, *tensor.shape) for tensor in self._bundle.golden.inputs[0])
        probes = call(self._reference, stacked, *golden)
        live = -1

        def answer(pack: int, inputs: Sequence[Tensor]) -> Tensor:
            nonlocal live
            if pack != live:
                self._swap(rows[pack], probes[pack])
                live = pack
            return self._session.run(inputs)[0]

        return self._task.device_logits(answer, batch)

    def _swap(self, parameters: dict[str, Tensor], probe: Tensor) -> None:
        try:
            self._session.swap(self._bundle.pack(parameters, next(self._versions), "evaluation", probe))
        except Refused:
            self.refused += 1
            default, output = self._bundle.default_weights, self._bundle.golden.default[0][0]
            self._session.swap(self._bundle.pack(default, next(self._versions), "default", output))
