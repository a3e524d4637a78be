"""The `task` section of a recommendation's config."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mnet.toolchain.settings import Strict
from mnet.toolchain.tasks.freshness import Freshness
from mnet.toolchain.tasks.protocols import Protocol
from mnet.toolchain.tasks.windows import Ranking

# A softmax over more items than this costs more than it teaches: so many stand for them.
LARGE, SAMPLED = 10_000, 512


class RollingDates(Strict):
    """Where the dates of the rolling protocol lie, in parts of all interactions by time."""

    train: float = Field(0.7, gt=0, lt=1, description="Part of the interactions to train on.")
    validation: float = Field(0.1, gt=0, lt=1, description="Part to validate on; the rest is for the test.")
    early: float = Field(
        0.8,
        gt=0,
        lt=1,
        description="Part of the training time on which the teacher of a world's generator is trained: the generator "
        "learns from what came after it what the state of the world is good for.",
    )

    @model_validator(mode="after")
    def _leaves_a_test(self) -> Self:
        if self.train + self.validation >= 1:
            raise ValueError("train and validation leave nothing to test on")
        return self

    def moved_back(self) -> "RollingDates":
        """Train on the early part alone, and validate on the rest of the training time."""
        return RollingDates(
            train=self.train * self.early, validation=self.train * (1 - self.early), early=self.early
        )


class RecommendationSettings(Strict):
    """The `task` section."""

    protocol: Protocol = Field(
        "rolling",
        description="How the data are split: at two dates (`rolling`), or before each user's last two interactions "
        "(`leave-one-out`).",
    )
    rolling: RollingDates = Field(RollingDates(), description="The dates of the rolling protocol.")
    ranking: Ranking = Field(
        "unseen",
        description="Rank `all` items, or leave out what the user has taken (`unseen`), as a phone can.",
    )
    refresh: int = Field(5, gt=0, description="Interactions that one pack serves.")
    candidates: int = Field(100, gt=0, description="Items that one inference on the device scores.")
    shared_windows: bool = Field(
        False,
        description="Train the targets of a pack on one window of the history: cheaper where that is long.",
    )
    negatives: Literal["auto"] | Annotated[int, Field(gt=0)] | None = Field(
        "auto",
        description="Items that stand for the catalogue in the softmax of training; null for all of them, `auto` for "
        "512 above 10,000 items.",
    )
    freshness: Freshness = Field(
        "latest",
        description="What the pack that serves an interaction knows: everything (`latest`), what came before the "
        "`session`, or what is older than a number of seconds.",
    )
    pause: int = Field(1800, gt=0, description="Seconds without an interaction that end a session.")

    def negatives_of(self, n_items: int) -> int | None:
        """How many items stand for a catalogue of so many; None for all of them."""
        if self.negatives == "auto":
            return SAMPLED if n_items > LARGE else None
        return self.negatives
