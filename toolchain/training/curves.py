"""Learning curves of a run: one table, one picture."""

from io import StringIO
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd
from lightning.pytorch.utilities.rank_zero import rank_zero_only


@rank_zero_only
def write_curves(run: Path, metric: str) -> None:
    """Gather what each fit logged into `curves.csv`; draw its loss and its validation `metric` as `curves.png`."""
    fits = sorted((run / "fits").iterdir(), key=lambda folder: folder.stat().st_mtime)
    curves = [
        read_curve(folder).assign(fit=folder.name)
        for folder in fits
        if (folder / "curves").is_dir()  # not where a checkpoint was taken as it is
    ]
    curves = [curve for curve in curves if len(curve)]
    if not curves:
        return
    table = pd.concat(curves)
    table.to_csv(run / "curves.csv", index=False)
    figure, (losses, metrics) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for name, curve in table.groupby("fit", sort=False):
        losses.plot(curve["epoch"], curve["loss"], label=name)
        metrics.plot(curve["epoch"], curve[metric], label=name)
    losses.set(title="training loss", xlabel="epoch")
    metrics.set(title=f"validation {metric}", xlabel="epoch")
    losses.legend()
    figure.savefig(run / "curves.png", dpi=120)
    plt.close(figure)


def read_curve(folder: Path) -> pd.DataFrame:
    """What the fit in `folder` logged, one row an epoch.

    A resumed fit has logged in several files, and what it did again counts. The logger rewrites its file in place:
    a kill may leave it empty or cut short, and the epochs that it held are then absent.
    """
    logs = sorted(
        folder.glob("curves/version_*/metrics.csv"), key=lambda log: int(log.parent.name.split("_")[1])
    )
    whole = [text[: text.rfind("\n") + 1] for text in (log.read_text(encoding="utf-8") for log in logs)]
    tables = [pd.read_csv(StringIO(text)) for text in whole if text]
    if not tables:
        return pd.DataFrame({"epoch": []})
    return pd.concat(tables).drop(columns="step").groupby("epoch", as_index=False).last().dropna()
