"""The batches that a task makes of a data set, for each part of its split."""

from typing import Protocol, TypeVar

from torch.utils.data import DataLoader

Loaded = TypeVar("Loaded", covariant=True)


class Splits(Protocol[Loaded]):
    """Loaders of batches; a batch holds M packs, each of which serves some samples."""

    def training(self, batch_size: int, seed: int) -> DataLoader[Loaded]: ...

    def validation(self, batch_size: int) -> DataLoader[Loaded]: ...

    def test(self, batch_size: int) -> DataLoader[Loaded]: ...
