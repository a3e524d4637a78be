"""How much a specialised device model can win at most: measured first, before anything is generated.

An oracle knows a device's true class prior and has labelled images of its own. What it gains over the prior-corrected
static model is the room: no generator can be expected to do better from a few unlabelled images.
"""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import nn

from mnet.toolchain.console import track
from mnet.toolchain.tasks import Task
from mnet.toolchain.tasks.answers import Own
from mnet.toolchain.training.build import generated_names, load_data
from mnet.toolchain.training.report_file import write_report
from mnet.toolchain.training.run import Run, load_run

JUDGED = 400
EPOCHS, RATE = 6, 3e-3
STATIC, PRIOR = "static", "static, true prior"


def room(path: Path, devices: int, samples: int, console: Console) -> dict[str, Any]:
    """Fine-tune a run's static model to its first test devices, with `samples` labelled ones each; leave `room.json`.

    The samples are training data as the device would see them, judged on test data as it would see those. Returns
    `metric`, `devices`, `samples`, `judged`, `values` {static; static, true prior; each tuned part}, means over
    devices, and `gain` {part: {points, error}} in hundredths over the prior-corrected static model, with the standard
    error over devices. Raises UserError for a task that has no such samples.
    """
    run = load_run(path)
    task, metric = run.task, run.task.metrics[0]
    splits, parts = task.splits(load_data(run.config), run.static), _parts(run)
    values: dict[str, list[float]] = {name: [] for name in (STATIC, PRIOR, *parts)}
    for device in track(range(devices), "fine-tuning to devices", console=console):
        own = task.own(splits, device, samples, JUDGED)
        values[STATIC].append(_judged(task, run.static, own._replace(bias=torch.zeros_like(own.bias))))
        values[PRIOR].append(_judged(task, run.static, own))
        for name, tuned in parts.items():
            values[name].append(_judged(task, _tuned(task, run.static, tuned, own), own))
    gains = {name: 100 * (np.array(values[name]) - np.array(values[PRIOR])) for name in parts}
    report = {
        "metric": metric,
        "devices": devices,
        "samples": samples,
        "judged": JUDGED,
        "values": {name: float(np.mean(value)) for name, value in values.items()},
        "gain": {
            name: {"points": float(gain.mean()), "error": float(gain.std(ddof=1) / devices**0.5)}
            for name, gain in gains.items()
        },
    }
    write_report(path / "room.json", report)
    return report


def room_rows(report: Mapping[str, Any]) -> list[list[str]]:
    """The table for people: what was tuned, its value, its gain in points."""
    rows = []
    for name, value in report["values"].items():
        gain = report["gain"].get(name)
        rows.append([name, f"{value:.4f}", f"{gain['points']:+.1f} ± {gain['error']:.1f}" if gain else ""])
    return rows


def _parts(run: Run) -> dict[str, list[str]]:
    """Name of what is tuned -> its parameters."""
    names = [name for name, _ in run.static.named_parameters()]
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    return {
        "last layer": [name for name in names if name.rpartition(".")[0] == layers[-1]],
        "first layer": [name for name in names if name.rpartition(".")[0] == layers[0]],
        "what the run generates": list(generated_names(run.config, run.static)),
        "all": names,
    }


def _tuned(task: Task[Any], static: nn.Module, names: list[str], own: Own) -> nn.Module:
    """A copy of the static model after some epochs of Adam on a device's labelled samples, under its true prior."""
    model = copy.deepcopy(static).eval()
    leaves = [model.get_parameter(name).requires_grad_() for name in names]
    optimizer = torch.optim.AdamW(leaves, RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * sum(1 for _ in own.training(0)))
    for epoch in range(EPOCHS):
        for batch in own.training(epoch):
            optimizer.zero_grad()
            task.loss(task.outputs(model, batch) + own.bias, batch).backward(inputs=leaves)
            optimizer.step()
            schedule.step()
    return model


@torch.no_grad()
def _judged(task: Task[Any], model: nn.Module, own: Own) -> float:
    scores = task.scores(task.outputs(model, own.judged) + own.bias, own.judged)
    return float(scores[task.metrics[0]].mean())
