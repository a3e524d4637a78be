"""Batches of what devices write: each pack is made from the bytes before it, and serves the windows after it."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from mnet.toolchain.data.texts import Texts
from mnet.toolchain.errors import UserError

# Which devices are tested belongs to the data: every run sees the same ones.
SEED = 0


class TextBatch(NamedTuple):
    """M packs, each made from the n bytes that a device wrote before, to serve k windows of the W bytes after them.

    Attributes:
        context: int64 [M, n], left-padded with 0.
        prompt: int64 [M, k, P], the bytes before each window, left-padded with 0; P is 0 in training.
        text: int64 [M, k, W + 1]: W bytes to read, each with the next one to be told.
        device: int64 [M].
    """

    context: Tensor
    prompt: Tensor
    text: Tensor
    device: Tensor


def as_bytes(texts: tuple[str, ...] | list[str]) -> NDArray[np.uint8]:
    """What a device wrote, UTF-8: each text, and a line feed after it."""
    return np.frombuffer("".join(f"{text}\n" for text in texts).encode(), dtype=np.uint8)


class TextSplits:
    """Cuts `TextBatch` from texts. Other devices are trained, validated and tested on.

    In training a context may be short, or empty, and windows are short or as long as a prompt and a window together, so
    that one model serves both. Raises UserError where no device of a part has enough text.
    """

    def __init__(
        self,
        data: Texts,
        context: int,
        window: int,
        windows: int,
        prompt: int,
        held_back: tuple[float, float],
    ) -> None:
        self.context, self.window, self.windows, self.prompt = context, window, windows, prompt
        self.span = windows * window
        streams = [as_bytes(list(own)) for own in data.texts]
        self.before = max(context, prompt)
        least = self.before + self.span + 1
        enough = [device for device, own in enumerate(streams) if len(own) >= least]
        devices = np.random.default_rng(SEED).permutation(enough)
        validation, test = (max(1, round(share * len(devices))) for share in held_back)
        if len(devices) <= validation + test:
            raise UserError(
                f"{len(devices)} devices wrote the {least} bytes that one pack takes (task.context, and task.serves "
                f"windows of task.window); at least {validation + test + 1} are needed, to train, validate and test on"
            )
        self.tested, self.validated = np.sort(devices[:test]), np.sort(devices[test : test + validation])
        held = {*self.tested.tolist(), *self.validated.tolist()}
        self.trained = [
            device for device, own in enumerate(streams) if device not in held and len(own) > self.span
        ]
        # One long row of all streams, before each as many zeros as a context or a prompt may reach back.
        nothing = np.zeros(self.before, dtype=np.uint8)
        self.stream = torch.from_numpy(np.concatenate([part for own in streams for part in (nothing, own)]))
        sizes = np.array([len(own) for own in streams])
        self.ends = np.cumsum(sizes + self.before)
        self.starts = self.ends - sizes

    def training(self, batch_size: int, seed: int) -> DataLoader[TextBatch]:
        """One epoch: everything that the training devices wrote, cut from a random phase on, in random order."""
        rng = np.random.default_rng(seed)
        places = [
            np.arange(self.starts[device] + rng.integers(self.span), self.ends[device] - self.span, self.span)
            for device in self.trained
        ]
        return self._loader(rng.permutation(np.concatenate(places)), batch_size, training=True)

    def validation(self, batch_size: int) -> DataLoader[TextBatch]:
        return self._loader(self._whole(self.validated), batch_size)

    def test(self, batch_size: int) -> DataLoader[TextBatch]:
        return self._loader(self._whole(self.tested), batch_size)

    def _whole(self, devices: NDArray[np.int64]) -> NDArray[np.int64]:
        """The places of packs with a whole context, device by device, in the order of time."""
        return np.concatenate(
            [
                np.arange(self.starts[device] + self.before, self.ends[device] - self.span, self.span)
                for device in devices
            ]
        )

    def _loader(
        self, places: NDArray[np.int64], batch_size: int, training: bool = False
    ) -> DataLoader[TextBatch]:
        longest = self.window + self.prompt

        def collate(batch: list[Tensor]) -> TextBatch:
            place = torch.stack(batch)[:, None]
            # By the place, so that an epoch that is drawn again is the same.
            long = training and longest <= self.span and int(place.sum()) % 2 == 0
            window, prompt = (longest, 0) if long else (self.window, 0 if training else self.prompt)
            starts = place[..., None] + torch.arange(self.span // window)[:, None] * window
            return TextBatch(
                self.stream[place + torch.arange(-self.context, 0)].long(),
                self.stream[starts + torch.arange(-prompt, 0)].long(),
                self.stream[starts + torch.arange(window + 1)].long(),
                torch.from_numpy(np.searchsorted(self.ends, place[:, 0].numpy(), side="right")),
            )

        return DataLoader(torch.from_numpy(places), batch_size, collate_fn=collate)  # type: ignore[arg-type]
