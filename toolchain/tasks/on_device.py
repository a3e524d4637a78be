"""What a device can do by itself, as tasks offer it to training."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from mnet.toolchain.tasks.splits import Splits

Settings = Mapping[str, Any]


class OnDevice(Protocol):
    """Something that a device can do with its context by itself, without labels and gradients, to predict better.

    It consists of `steps`, each with settings of its own, which are chosen on validation; see
    `mnet.toolchain.tasks.label_free`.
    """

    steps: tuple[str, ...]

    @property
    def by_cloud(self) -> bool:
        """Whether it takes a cloud after all, which looks at the context through a model of its own."""

    @property
    def start(self) -> Settings:
        """The settings to start from."""

    def around(self, step: str, settings: Settings) -> list[Settings]:
        """Everything that is tried for one step, with the others as in `settings`."""

    def source(self, model: nn.Module, splits: Splits[Any], cloud: nn.Module | None = None) -> Any:
        """What the device is shipped of the training data, and what the `cloud` has to look at its context through."""

    def outputs(
        self, model: nn.Module, source: Any, batch: Any, trials: Sequence[Settings]
    ) -> Iterator[Tensor]:
        """As `Task.outputs`, once for each of the settings `trials`."""
