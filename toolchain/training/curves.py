"""Learning curves of a run: one table, one picture."""

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
    fits = [
        folder for folder in fits if (folder / "curves").is_dir()
    ]  # not where a checkpoint was taken as it is
    if not fits:
        return
    table = pd.concat([read_curve(folder).assign(fit=folder.name) for folder in fits])
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

    A resumed fit has logged in several files, and what it did again counts.
    """
    logs = sorted(
        folder.glob("curves/version_*/metrics.csv"), key=lambda log: int(log.parent.name.split("_")[1])
    )
    rows = pd.concat([pd.read_csv(log) for log in logs])
    return rows.drop(columns="step").groupby("epoch", as_index=False).last().dropna()
