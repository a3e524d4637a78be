"""The sections of a config that say how one module is fitted."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from mnet.toolchain.settings import Strict

# How long a fit is that does not say, and how often one that is given in steps is validated.
STEPS, VALIDATIONS = 3000, 40


class FitConfig(Strict):
    """One fit; its best epoch by the validation metric is kept."""

    steps: int | None = Field(
        None,
        gt=0,
        description="Most optimizer steps, rounded up to whole epochs; 3000 where `epochs` is not given.",
    )
    epochs: int | None = Field(None, gt=0, description="Most epochs, in place of `steps`.")
    patience: int | None = Field(
        None, gt=0, description="Validations without a better one after which the fit stops; null: never."
    )
    learning_rate: float = Field(1e-3, gt=0, description="Peak of the one-cycle schedule.")
    weight_decay: float = Field(0.01, ge=0, description="Of AdamW.")
    batch_size: int = Field(32, gt=0, description="Packs in a batch, over all accelerators.")
    averaging: float = Field(
        0.99, ge=0, lt=1, description="Decay of the average of weights over steps; 0: none."
    )

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.steps and self.epochs:
            raise ValueError("steps and epochs both say how long the fit is; leave one out")
        return self

    def epochs_of(self, batches: int) -> tuple[int, int]:
        """Epochs of `batches` each, and after how many of them to validate: not more often than some 40 times."""
        epochs = self.epochs or -(-(self.steps or STEPS) // max(1, batches))
        every = max(1, epochs // VALIDATIONS) if self.epochs is None else 1
        return -(-epochs // every) * every, every


class StaticConfig(FitConfig):
    """A model alone, of the device or of the cloud: its fit, or the weights that it has already."""

    checkpoint: Path | None = Field(
        None,
        description="Trained weights of the model, safetensors or a state dict: without `steps` and `epochs` it "
        "is taken as it is, with them the fit starts from it.",
    )

    @property
    def is_finished(self) -> bool:
        """Whether there is nothing to fit."""
        return self.checkpoint is not None and not (self.steps or self.epochs)
