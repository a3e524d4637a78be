"""One fit: AdamW on a scorer's next-item loss, averaged weights, the best epoch by validation."""

from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader

from toolchain.tasks.protocols import Packs, Windows
from toolchain.tasks.ranking import METRICS, metric_values, ranks
from toolchain.tasks.recommendation import next_item_loss
from toolchain.training.config import FitConfig

EVALUATION_BATCH = 256


class ScorerFit(lightning.LightningModule):
    """Trains `scorer`, a module from `Packs` to `Scores`."""

    def __init__(self, scorer: nn.Module, windows: Windows, config: FitConfig, seed: int) -> None:
        super().__init__()
        self.scorer = scorer
        self.windows = windows
        self.config = config
        self.seed = seed

    def train_dataloader(self) -> DataLoader[Packs]:
        # Everything random in an epoch follows from the seed and the epoch, so a resumed fit repeats an unbroken one.
        seed = self.seed * 100_003 + self.current_epoch
        torch.manual_seed(seed)
        return self.windows.training(self.config.batch_size, seed)

    def val_dataloader(self) -> DataLoader[Packs]:
        return self.windows.validation(EVALUATION_BATCH)

    def training_step(self, packs: Packs) -> Tensor:
        loss = next_item_loss(*self.scorer(packs))
        self.log("loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(packs.user))
        return loss

    def validation_step(self, packs: Packs) -> None:
        logits, target = self.scorer(packs)
        wanted = target != 0
        values = metric_values(ranks(logits[wanted], target[wanted]))
        self.log_dict(
            {name: value.mean() for name, value in values.items()},
            prog_bar=True,
            batch_size=int(wanted.sum()),
        )

    def configure_optimizers(self) -> dict[str, Any]:
        weights = [p for p in self.scorer.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(
            weights, lr=self.config.learning_rate, weight_decay=self.config.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.config.learning_rate, int(self.trainer.estimated_stepping_batches), pct_start=0.1
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def fit(scorer: nn.Module, windows: Windows, config: FitConfig, seed: int, folder: Path) -> float:
    """Train `scorer` in place to its best epoch and return its validation NDCG@10.

    `folder` keeps checkpoints and curves; a fit that was killed goes on from the last epoch in it.
    """
    best = ModelCheckpoint(
        folder, "best", monitor=METRICS[0], mode="max", save_last=True, enable_version_counter=False
    )
    trainer = lightning.Trainer(
        accelerator="auto",
        devices=1,
        max_epochs=config.epochs,
        reload_dataloaders_every_n_epochs=1,
        check_val_every_n_epoch=config.validate_every,
        num_sanity_val_steps=0,
        gradient_clip_val=5.0,
        logger=CSVLogger(folder, name="curves"),
        callbacks=[best, EMAWeightAveraging(decay=config.averaging), RichProgressBar()],
        enable_model_summary=False,
        log_every_n_steps=10,
    )
    last = folder / "last.ckpt"
    module = ScorerFit(scorer, windows, config, seed)
    trainer.fit(module, ckpt_path=last if last.is_file() else None, weights_only=True)
    module.load_state_dict(
        torch.load(best.best_model_path, map_location="cpu", weights_only=True)["state_dict"]
    )
    return float(best.best_model_score)
