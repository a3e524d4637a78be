"""One fit: AdamW on a scorer's loss, a one-cycle schedule, averaged weights, the best epoch by validation."""

import logging
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import torch
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    EMAWeightAveraging,
    ModelCheckpoint,
    RichProgressBar,
)
from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from mnet.toolchain.tasks.splits import Splits
from mnet.toolchain.training.config import FitConfig
from mnet.toolchain.training.fit_progress import fit_progress
from mnet.toolchain.training.hardware import DEFAULT_HARDWARE, Hardware
from mnet.toolchain.training.scorers import Scorer

EVALUATION_BATCH = 256

# Lightning tells at length what it found and did; what matters of it is in the progress bar and the curves.
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode at the start of training")
warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated", category=FutureWarning)


class ScorerFit(lightning.LightningModule):
    """Trains `scorer` on the training batches of `splits`, and validates it on theirs."""

    def __init__(self, scorer: Scorer, splits: Splits[Any], config: FitConfig, seed: int) -> None:
        super().__init__()
        self.scorer = scorer
        self.splits = splits
        self.config = config
        self.seed = seed
        # Their statistics belong to the weights that are frozen.
        self._frozen_norms = [
            layer
            for layer in scorer.modules()
            if isinstance(layer, nn.modules.batchnorm._BatchNorm)
            and [*layer.parameters()]
            and not any(parameter.requires_grad for parameter in layer.parameters())
        ]

    @property
    def epoch_seed(self) -> int:
        """What is random in an epoch follows from seed and epoch: a resumed fit repeats an unbroken one."""
        return self.seed * 100_003 + self.current_epoch

    def train_dataloader(self) -> Iterable[Any]:
        # Lightning deals the batches out to its processes; together they make one of the config's size.
        batch_size = max(1, self.config.batch_size // self.trainer.world_size)
        return self.splits.training(batch_size, self.epoch_seed)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        # Not in on_train_epoch_start: the first epoch after a resume goes by without it.
        for norm in self._frozen_norms:  # train mode comes back after each validation
            norm.eval()
        if batch_idx == 0:
            torch.manual_seed(self.epoch_seed + 1_000_003 * self.global_rank)

    def val_dataloader(self) -> Iterable[Any]:
        return self.splits.validation(EVALUATION_BATCH)

    def training_step(self, batch: Any) -> Tensor:
        loss = self.scorer.loss(batch)
        self.log("loss", loss.task, on_step=False, on_epoch=True, prog_bar=True, batch_size=1, sync_dist=True)
        return loss.total

    def validation_step(self, batch: Any) -> None:
        values = self.scorer.task.scores(self.scorer(batch), batch)
        count = len(next(iter(values.values())))
        means = {name: value.mean() for name, value in values.items()}
        self.log_dict(means, prog_bar=True, batch_size=count, sync_dist=True)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        config = self.config
        # Lightning clips no gradients of a fused optimizer in mixed precision.
        optimizer = adamw(self.scorer, config, fused=self.trainer.precision == "32-true")
        # Epochs differ by a batch or two, as each tiles the users another way; the schedule must not run out.
        steps = int(1.1 * self.trainer.estimated_stepping_batches) + 10
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, steps, pct_start=0.1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def adamw(scorer: Scorer, config: FitConfig, fused: bool = True) -> torch.optim.AdamW:
    """The optimizer of a fit; fused it takes a fifth of the time on a CPU."""
    return torch.optim.AdamW(
        scorer.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=fused
    )


class Fitted(NamedTuple):
    """The validation value of the task's first metric in the `best` epoch, counted from 1, of at `most` so many."""

    value: float
    best: int
    most: int


def fit(
    scorer: Scorer,
    splits: Splits[Any],
    config: FitConfig,
    seed: int,
    folder: Path,
    hardware: Hardware = DEFAULT_HARDWARE,
    loggers: Sequence[Logger] = (),
    watchers: Sequence[Callback] = (),
) -> Fitted:
    """Train `scorer` in place to its best epoch.

    `folder` keeps checkpoints and curves; a fit that was killed resumes from the last epoch in it. `loggers` are given
    the curves too, and `watchers` are called by Lightning as the fit proceeds.
    """
    metric, mode = scorer.task.metrics[0], "max" if scorer.task.higher_is_better else "min"
    best = ModelCheckpoint(
        folder,
        "best",
        monitor=metric,
        mode=mode,
        save_last=True,
        enable_version_counter=False,
    )
    epochs, every = config.epochs_of(len(splits.training(config.batch_size, seed)))
    progress = fit_progress(folder.name, scorer.task.metrics[0])
    callbacks: list[Any] = [best, progress, *watchers]
    if config.averaging:
        callbacks.append(EMAWeightAveraging(decay=config.averaging))
    if config.patience:
        callbacks.append(EarlyStopping(metric, mode=mode, patience=config.patience))
    trainer = hardware.trainer(
        max_epochs=epochs,
        check_val_every_n_epoch=every,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        gradient_clip_val=5.0,
        logger=[CSVLogger(folder, name="curves"), *loggers],
        callbacks=callbacks,
        enable_progress_bar=isinstance(progress, RichProgressBar),
        enable_model_summary=False,
        log_every_n_steps=1,
    )
    last = folder / "last.ckpt"
    module = ScorerFit(scorer, splits, config, seed)
    frozen = {name: each.clone() for name, each in scorer.named_parameters() if not each.requires_grad}
    trainer.fit(module, ckpt_path=last if last.is_file() else None, weights_only=True)
    checkpoint = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
    module.load_state_dict(checkpoint["state_dict"])
    scorer.load_state_dict(frozen, strict=False)  # an average of equal values is off by its rounding
    assert best.best_model_score is not None
    return Fitted(float(best.best_model_score), checkpoint["epoch"] + 1, epochs)
