"""Learning curves of a run: one table, one picture, redrawn while the run trains."""

import time
from io import StringIO
from pathlib import Path
from typing import Any

import lightning
import pandas as pd
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from mnet.export.bench.pictures import colours, name_ends, picture

REDRAW_S = 20.0


class LiveCurves(Callback):
    """Redraws the curves of the run folder after an epoch, if they are older than `REDRAW_S`."""

    def __init__(self, run: Path, metric: str) -> None:
        self._run = run
        self._metric = metric
        self._drawn = time.monotonic()

    def on_train_epoch_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        # At the start of the next epoch: at the end of one, the loggers have not written it yet.
        if time.monotonic() - self._drawn > REDRAW_S:
            write_curves(self._run, self._metric)
            self._drawn = time.monotonic()


@rank_zero_only
def write_curves(run: Path, metric: str) -> None:
    """Gather what each fit logged into `curves.csv`; draw its loss and its validation `metric` as `curves.png`."""
    fits = sorted((run / "fits").iterdir(), key=lambda folder: folder.stat().st_mtime)
    curves = [
        read_curve(folder).assign(fit=folder.name)
        for folder in fits
        if (folder / "curves").is_dir()  # not where a checkpoint was taken as it is
    ]
    curves = [curve for curve in curves if metric in curve and len(curve)]
    if not curves:
        return
    table = pd.concat(curves)
    table.to_csv(run / "curves.csv", index=False)
    fits_by_name = {str(name): curve for name, curve in table.groupby("fit", sort=False)}
    shades = colours(fits_by_name)
    with picture(run / "curves.png", 2, size=(11, 3.6)) as panels:
        for panel, column in zip(panels[0], ("loss", metric), strict=True):
            for name, curve in fits_by_name.items():
                panel.plot(curve["epoch"] + 1, curve[column], color=shades[name], linewidth=2)
            panel.set(xlabel="epoch", ylabel="training loss" if column == "loss" else f"{metric}, validation")
            ends = [(name, float(curve[column].iloc[-1])) for name, curve in fits_by_name.items()]
            name_ends(panel, ends, shades)


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
