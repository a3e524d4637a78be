"""A run's MetaNetwork tested as its users meet it: every pack swapped into an exported artifact, which then answers."""

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from mnet.export.format.bundle import Bundle
from mnet.export.format.errors import Refused
from mnet.export.format.golden import flattened
from mnet.export.format.pack_dtypes import rounded
from mnet.export.lowering.quantization import with_base
from mnet.export.session import open_session
from mnet.toolchain.console import track
from mnet.toolchain.errors import UserError
from mnet.toolchain.metanetwork import call_alike
from mnet.toolchain.training.bootstrap import FloatArray, bootstrap_gain
from mnet.toolchain.training.build import load_data
from mnet.toolchain.training.run import Run, load_run
from mnet.toolchain.training.scorers import GeneratedScorer

BATCH = 64


@torch.no_grad()
def evaluate_bundle(path: Path, bundle: Bundle, packs: int, console: Console) -> dict[str, Any]:
    """Test a run in eager PyTorch and on `bundle`, on `packs` weight packs from all over its test; on all with 0.

    Eager is the run as trained, in fp32. On the bundle's own runtime each pack is written in the bundle's pack
    dtype and swapped in with its self-test, as on a phone; where that refuses, the default weights serve.
    Returns `packs, refused, queries`, `metrics` {eager, artifact: {metric: mean}}, `change` {metric: relative one
    from eager to artifact, with its interval over users | null}, and what the bundle is. Raises UserError.
    """
    run = load_run(path)
    manifest = bundle.manifest
    if manifest.model.metadata.get("generator") != run.fingerprint:
        raise UserError(
            f"{bundle.path} comes from another checkpoint than that of {path}: export the run again"
        )
    scorer, served = GeneratedScorer(run.task, run.metanetwork), _Served(run, bundle)
    splits = run.task.splits(load_data(run.config), *run.modules.values())
    owners, eager, artifact = [], [], []
    for batch in track(_spread(splits.test(BATCH), packs), "swapping packs in", console=console):
        generated = scorer.packs(batch)
        eager.append(run.task.scores(scorer.logits(generated, batch), batch))
        artifact.append(run.task.scores(served.logits(generated, batch), batch))
        owners.append(run.task.owners(batch))
    users, values = torch.cat(owners).numpy(), {"eager": _joined(eager), "artifact": _joined(artifact)}
    return {
        "dataset": run.config.data.name,
        "model": run.config.model.name,
        "target": manifest.target,
        "base_dtype": manifest.model.base_dtype,
        "pack_dtypes": sorted(set(manifest.pack_dtypes.values())),
        "push_bytes": len(bundle.default_pack()),
        "packs": served.packs,
        "refused": served.refused,
        "queries": len(users),
        "metrics": {
            method: {metric: float(value.mean()) for metric, value in of_method.items()}
            for method, of_method in values.items()
        },
        "change": {
            metric: bootstrap_gain(users, value, values["artifact"][metric])
            for metric, value in values["eager"].items()
        },
    }


def _spread(loader: DataLoader[Any], packs: int) -> DataLoader[Any]:
    """Every n-th pack of a test, so that about `packs` are left; all with 0."""
    rows: Any = loader.dataset
    step = max(1, -(-len(rows) // packs)) if packs else 1
    chosen = Subset(rows, range(0, len(rows), step))
    return DataLoader(chosen, loader.batch_size, collate_fn=loader.collate_fn)


def _joined(batches: list[dict[str, Tensor]]) -> dict[str, FloatArray]:
    return {
        metric: torch.cat([values[metric] for values in batches]).double().numpy() for metric in batches[0]
    }


class _Served:
    """The artifact on its runtime, under one pack after the other."""

    def __init__(self, run: Run, bundle: Bundle) -> None:
        network = run.metanetwork
        # The world's parameters, where the bundle has slots for them, stay as the MetaNetwork was trained over them.
        self._shared = {
            name: network.device_model.get_parameter(name).detach()
            for name in set(run.generated) - set(network.generated)
        }
        self._task = run.task
        self._bundle = bundle
        self._session = open_session(bundle)
        self._reference = with_base(network.device_model, run.generated, bundle.manifest.model.base_dtype)
        self._versions = count(1)
        self.packs = self.refused = 0

    def logits(self, generated: dict[str, Tensor], batch: Any) -> Tensor:
        """fp32 [N, classes], as of `Task.outputs`, under `generated` fp32 [M, *shape]."""
        packs = len(next(iter(generated.values())))
        dtypes = self._bundle.manifest.pack_dtypes
        rows = [
            rounded(self._shared | {name: values[m] for name, values in generated.items()}, dtypes)
            for m in range(packs)
        ]
        stacked = {name: torch.stack([row[name] for row in rows]) for name in dtypes}
        outputs = flattened(call_alike(self._reference, stacked, *self._bundle.golden.inputs[0]))
        self.packs += packs
        live = -1

        def answer(pack: int, inputs: Sequence[Tensor]) -> Sequence[Tensor]:
            nonlocal live
            if pack != live:
                self._swap(rows[pack], [output[pack] for output in outputs])
                live = pack
            return self._session.run(inputs)

        return self._task.device_outputs(answer, batch)

    def _swap(self, parameters: dict[str, Tensor], outputs: Sequence[Tensor]) -> None:
        probe = self._bundle.probe(outputs)
        try:
            self._session.swap(self._bundle.pack(parameters, next(self._versions), "evaluation", probe))
        except Refused:
            self.refused += 1
            default, probe = self._bundle.default_weights, self._bundle.probe(self._bundle.golden.default[0])
            self._session.swap(self._bundle.pack(default, next(self._versions), "default", probe))
