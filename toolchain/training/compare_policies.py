"""What each request policy keeps of the gain, and what it costs: phones of the test data, all of them at once."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from mnet.export.bench.pictures import GREY, colours, picture
from mnet.export.format.shift import Shift
from mnet.toolchain.console import track
from mnet.toolchain.tasks.splits import Splits
from mnet.toolchain.training.bootstrap import FloatArray, bootstrap_gain, gain_text
from mnet.toolchain.training.build import load_data
from mnet.toolchain.training.report_file import write_report
from mnet.toolchain.training.run import Run, load_run, read_policy, write_policy
from mnet.toolchain.training.scorers import GeneratedScorer
from mnet.toolchain.training.shift import BATCH, Asks, NoShiftError, asks_by_shift, fit_shift, served_by

NEVER, ALWAYS, SHIFT = "never", "always", "shift"


def policies(path: Path, every: Sequence[int], console: Console) -> dict[str, Any]:
    """Test the run under each policy; leave `policies.json` and `policies.png` in its folder.

    Returns `metric`, `weights_bytes` of one answer, `half_life` and `threshold` of `shift`, or `no_shift`, why there is
    none, and `policies`: a list of `policy`, `requests` and `bytes` a device, `share` of the requests of `always`,
    `value` of the metric, `gain` over `never`, and `kept`, the share of the gain of `always`.
    """
    run = load_run(path)
    data = load_data(run.config)
    splits = run.task.splits(data, run.metanetwork)
    shift, missing = _shift(run, splits)
    vectors, statistics, device = _times(run, splits, shift)
    known = (vectors != 0).any(dim=1).numpy()
    tested: dict[str, Asks] = {
        NEVER: lambda now, last: False,
        ALWAYS: lambda now, last: True,
        **{f"every {n}": _every(n) for n in every},
    }
    if shift is not None:
        tested[SHIFT] = asks_by_shift(statistics.numpy(), shift.threshold)
    values, requests = {}, {}
    for name, asks in track(tested.items(), "testing", console=console):
        source = served_by(asks, device, known)
        requests[name] = int((source == np.arange(len(source))).sum())
        owners, values[name] = _score(run, splits, vectors, source)
    size = sum(value.numel() * value.element_size() for value in run.metanetwork.static().values())
    phones = len(np.unique(device))
    report = {
        "metric": run.task.metrics[0],
        "phones": phones,
        "times": len(device),
        "weights_bytes": size,
        **({"half_life": shift.half_life, "threshold": shift.threshold} if shift else {"no_shift": missing}),
        "policies": [
            {
                "policy": name,
                "requests": requests[name] / phones,
                "bytes": size * requests[name] / phones,
                "share": requests[name] / requests[ALWAYS],
                "value": float(value.mean()),
                "gain": bootstrap_gain(owners, values[NEVER], value, lower=not run.task.higher_is_better),
                "kept": _kept(value, values, run.task.higher_is_better),
            }
            for name, value in values.items()
        ],
    }
    write_report(path / "policies.json", report)
    with picture(path / "policies.png", size=(7, 4)) as panels:
        draw_policies(panels[0][0], report)
    return report


def policy_header(report: Mapping[str, Any]) -> list[str]:
    """The header over `policy_rows`."""
    return [
        "policy",
        "requests a phone",
        "kB",
        "of always",
        report["metric"],
        "gain over never, 95 %",
        "kept",
    ]


def policy_rows(report: Mapping[str, Any]) -> list[list[str]]:
    """The table for people: policy, requests, kilobytes, share, value, gain, kept."""
    return [
        [
            "never: default pack" if row["policy"] == NEVER else row["policy"],
            f"{row['requests']:.1f}",
            f"{row['bytes'] / 1000:.0f}",
            f"{row['share']:.0%}",
            f"{row['value']:.4f}",
            gain_text(row["gain"]),
            "" if row["kept"] is None else f"{row['kept']:.0%}",
        ]
        for row in report["policies"]
    ]


def _every(chances: int) -> Asks:
    return lambda now, last: last < 0 or now - last >= chances


def _shift(run: Run, splits: Splits[Any]) -> tuple[Shift | None, str]:
    """The run's policy `shift`, fitted and kept where it has none yet; None, and why, where there can be none."""
    if kept := read_policy(run.path):
        return kept, ""
    try:
        fitted = fit_shift(run.task, run.metanetwork, splits)
    except NoShiftError as error:
        return None, str(error)
    write_policy(run.path, fitted)
    return fitted, ""


@torch.no_grad()
def _times(run: Run, splits: Splits[Any], shift: Shift | None) -> tuple[Tensor, Tensor, NDArray[np.int64]]:
    """Each time that a phone of the test could ask: vector fp32 [N, width], statistic fp64 [N, d], device int64 [N].

    Without `shift` the statistics are empty.
    """
    vectors, statistics, devices = [], [], []
    for batch in run.task.histories(splits, "test", BATCH):
        vectors.append(run.task.vectors(run.metanetwork, batch))
        if shift is not None:
            seen = run.task.seen(run.metanetwork, batch)
            assert seen is not None
            statistics.append(shift.statistic(seen.context))
        devices.append(run.task.devices(batch))
    return torch.cat(vectors), torch.cat(statistics or [torch.empty(0)]), torch.cat(devices).numpy()


@torch.no_grad()
def _score(
    run: Run, splits: Splits[Any], vectors: Tensor, source: NDArray[np.int64]
) -> tuple[NDArray[np.int64], FloatArray]:
    """Owner and metric of every query, where the weights of each time are those made from the vector of `source`."""
    serving = vectors[source]
    serving[source < 0] = 0.0  # a zero vector stands for the default weights
    scorer, task, start = GeneratedScorer(run.task, run.metanetwork), run.task, 0
    owners, values = [], []
    for batch in task.histories(splits, "test", BATCH):
        packs = len(task.devices(batch))
        logits = scorer.logits(scorer.packs_of(serving[start : start + packs]), batch)
        start += packs
        values.append(task.scores(logits, batch)[task.metrics[0]])
        owners.append(task.owners(batch))
    return torch.cat(owners).numpy(), torch.cat(values).double().numpy()


def _kept(value: FloatArray, values: dict[str, FloatArray], higher_is_better: bool) -> float | None:
    gain = values[ALWAYS].mean() - values[NEVER].mean()
    return (
        float((value.mean() - values[NEVER].mean()) / gain)
        if (gain if higher_is_better else -gain) > 0
        else None
    )


def draw_policies(panel: Axes, report: Mapping[str, Any]) -> None:
    """What each policy gains over the default pack, with its interval, against the bytes that it costs."""
    rows = [row for row in report["policies"] if row["gain"] is not None]
    shades = colours(row["policy"] for row in rows)
    scale = 1 if any(row["gain"]["kind"] == "difference" for row in rows) else 100
    for row in rows:
        at, shade, name = row["bytes"] / 1000, shades[row["policy"]], row["policy"]
        value, low, high = (scale * row["gain"][of] for of in ("relative", "low", "high"))
        panel.plot((at, at), (low, high), color=shade, linewidth=3, alpha=0.45)
        panel.plot(at, value, "o", color=shade, markersize=7)
        words = "default pack" if name == NEVER else name
        panel.annotate(words, (at, value), (7, 4), textcoords="offset points", color=shade)
    panel.axhline(0, color=GREY, linestyle="--", linewidth=1)
    panel.margins(x=0.15)
    panel.set_xlabel("kB of weights a phone")
    panel.set_ylabel(f"{report['metric']}, gain{', %' if scale == 100 else ''}")
