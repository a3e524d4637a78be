"""How far a fit is: on a terminal a bar with one headline metric, in a log one line an epoch."""

import sys
import time
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback, RichProgressBar
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from mnet.toolchain.console import Printer


def fit_progress(name: str, metric: str) -> Callback:
    """What reports on the fit `name`, which is selected by `metric`."""
    return Bar(metric) if sys.stderr.isatty() else Lines(name, metric)


class Bar(RichProgressBar):
    """Lightning's bar with the loss and one metric, which fit on a line of 80 columns."""

    def __init__(self, metric: str) -> None:
        super().__init__(console_kwargs={"stderr": True})
        self._shown = ("loss", metric)

    def get_metrics(self, *args: Any) -> dict[str, Any]:
        return {name: value for name, value in super().get_metrics(*args).items() if name in self._shown}


class Lines(Callback):
    """A line after each epoch: which it was, loss, metric and seconds."""

    def __init__(self, name: str, metric: str) -> None:
        self._name = name
        self._metric = metric
        self._console = Printer(stderr=True)
        self._started = time.perf_counter()

    def on_train_epoch_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        self._started = time.perf_counter()

    @rank_zero_only
    def on_train_epoch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        values = trainer.callback_metrics
        found = [f"{name} {float(values[name]):.4f}" for name in ("loss", self._metric) if name in values]
        seconds = f"{time.perf_counter() - self._started:.1f} s"
        epoch = f"{self._name}: epoch {trainer.current_epoch + 1} of {trainer.max_epochs}"
        self._console.print(", ".join([epoch, *found, seconds]))
