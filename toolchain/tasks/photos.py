"""How images become packs: devices to train, to validate and to test on, that share neither cameras nor images."""

from collections.abc import Iterator
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from mnet.toolchain.data.devices import draw_devices
from mnet.toolchain.data.images import LabelledImages
from mnet.toolchain.errors import UserError
from mnet.toolchain.tasks.answers import Own

# Which devices there are belongs to the data, as a published split does: every run sees the same ones.
SEED = 1000
VALIDATION = 0.1
# A pack holds many images; more packs than this at a time make an evaluation slower, not faster.
EVALUATED_PACKS = 16
# Of an oracle that trains on a device's own labelled images.
OWN_BATCH = 64
# Phones that are carried about: how many, how often each takes a context, and how likely it has moved since.
PHONES, TIMES, MOVES = 60, 16, 0.15


class Photos(NamedTuple):
    """M packs, one a device.

    Attributes:
        context: uint8 [M, n, 3, H, W], the images that the device has uploaded.
        image: uint8 [M, k, 3, H, W], those that it classifies with the pack.
        label: int64 [M, k], the classes of `image`.
        device: int64 [M].
    """

    context: Tensor
    image: Tensor
    label: Tensor
    device: Tensor


class DeviceSplits:
    """Cuts `Photos` from a data set.

    A device has `context` + `serves` images. A training device's are shuffled in each epoch, so that each of them is
    now in the context, now to be classified; half of them are mirrored.

    Raises UserError where the data set is too small for such devices.
    """

    def __init__(
        self,
        data: LabelledImages,
        *,
        devices: tuple[int, int, int],
        context: int,
        serves: int,
        concentration: float,
        camera: float,
        any_sensor: bool = False,
    ) -> None:
        self.data = data
        self.n_context = context
        known, test = (~data.held_out).nonzero()[:, 0], data.held_out.nonzero()[:, 0]
        known = known[torch.randperm(len(known), generator=torch.Generator().manual_seed(SEED))]
        validation = int(VALIDATION * len(known))
        self.rows = rows = (known[validation:], known[:validation], test)
        _check_enough(data, rows, context, serves)
        self.devices = [
            draw_devices(
                data.labels, own, count, context + serves, concentration, camera, SEED + part, any_sensor
            )
            for part, (own, count) in enumerate(zip(rows, devices, strict=True))
        ]
        self._taken = cache(self._take)

    def training(self, batch_size: int, seed: int) -> DataLoader[Photos]:
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(self.devices[0]), generator=generator)
        return self._loader(0, order, batch_size, generator)

    def validation(self, batch_size: int) -> DataLoader[Photos]:
        return self._loader(1, torch.arange(len(self.devices[1])), min(batch_size, EVALUATED_PACKS))

    def test(self, batch_size: int) -> DataLoader[Photos]:
        return self._loader(2, torch.arange(len(self.devices[2])), min(batch_size, EVALUATED_PACKS))

    def carried(self, part: Literal["validation", "test"], batch_size: int) -> DataLoader[Photos]:
        """Phones that live with one device's subjects and camera for a while, then with another's, drawn by chance.

        Each pack is one time: a new shuffle of the images there into context and images to be classified. Phone by
        phone, in the order of time; `device` is the phone.
        """
        index = 1 if part == "validation" else 2
        generator = np.random.default_rng((SEED, index))
        moves = (generator.random((PHONES, TIMES)) < MOVES).cumsum(axis=1)
        places = generator.integers(len(self.devices[index]), size=(PHONES, TIMES + 1))
        place = torch.from_numpy(np.take_along_axis(places, moves, axis=1).ravel())
        rows, n = self.devices[index].rows, self.n_context
        shuffled = torch.from_numpy(
            generator.permuted(np.tile(np.arange(rows.shape[1]), (len(place), 1)), axis=1)
        )

        def collate(times: list[int]) -> Photos:
            order = shuffled[times]
            here = place[times][:, None]
            image, label = self._taken(index)[here, order], self.data.labels[rows[here, order]]
            return Photos(image[:, :n], image[:, n:], label[:, n:], torch.tensor(times) // TIMES)

        return DataLoader(range(len(place)), min(batch_size, EVALUATED_PACKS), collate_fn=collate)  # type: ignore[arg-type]

    def own(self, device: int, images: int, judged: int) -> Own:
        """Labelled images as test device `device` would see them, drawn by its own prior; see `Own`.

        Raises UserError where its favourite class has not that many.
        """
        devices, chance = self.devices[2], np.random.default_rng((SEED, device))
        prior = devices.prior[device].double().numpy()
        taken = []
        for part, count in ((0, images), (2, judged)):
            rows = self.rows[part]
            numbers = chance.multinomial(count, prior / prior.sum())
            of_class = [rows[self.data.labels[rows] == label].numpy() for label in range(len(prior))]
            if any(n > len(pool) for n, pool in zip(numbers, of_class, strict=True)):
                raise UserError(
                    f"device {device} would need {max(numbers)} images of one class; ask for fewer"
                )
            chosen = [
                chance.choice(pool, n, replace=False) for pool, n in zip(of_class, numbers, strict=True)
            ]
            own = torch.from_numpy(np.concatenate(chosen))
            image = devices.cameras.take(torch.tensor([device]), self.data.images[own][None])
            taken.append(Photos(image[:, :0], image, self.data.labels[own][None], torch.tensor([device])))

        def training(seed: int) -> Iterator[Photos]:
            order = torch.randperm(images, generator=torch.Generator().manual_seed(seed))
            for some in order.split(OWN_BATCH):
                yield taken[0]._replace(image=taken[0].image[:, some], label=taken[0].label[:, some])

        return Own(training, taken[1], devices.prior[device].clamp(min=1e-4).log())

    def _loader(
        self, part: int, order: Tensor, batch_size: int, shuffled: torch.Generator | None = None
    ) -> DataLoader[Photos]:
        rows, taken, n = self.devices[part].rows, self._taken(part), self.n_context

        def collate(batch: list[Tensor]) -> Photos:
            device = torch.stack(batch)
            image, label = taken[device], self.data.labels[rows[device]]
            if shuffled:
                new = torch.rand(label.shape, generator=shuffled).argsort(dim=1)
                image, label = image[torch.arange(len(new))[:, None], new], label.gather(1, new)
                mirrored = torch.rand(label.shape, generator=shuffled) < 0.5
                image[mirrored] = image[mirrored].flip(-1)
            return Photos(image[:, :n], image[:, n:], label[:, n:], device)

        return DataLoader(order, batch_size, collate_fn=collate)  # type: ignore[arg-type]

    def _take(self, part: int) -> Tensor:
        """The photos uint8 [D, n + k, 3, H, W] of a part: taken once, as cameras cost a good part of a forward pass."""
        devices = self.devices[part]
        return torch.cat(
            [
                devices.cameras.take(some, self.data.images[devices.rows[some]])
                for some in torch.arange(len(devices)).split(EVALUATED_PACKS)
            ]
        )


def _check_enough(
    data: LabelledImages, rows: tuple[Tensor, Tensor, Tensor], context: int, serves: int
) -> None:
    """Raise UserError, with the least that is needed, where a device that sees one class alone would lack images."""
    needed = context + serves
    counts = torch.stack([data.labels[own].bincount(minlength=len(data.classes)) for own in rows])
    fewest = int(counts.min())
    if fewest >= needed:
        return
    part, label = divmod(int(counts.argmin()), len(data.classes))
    raise UserError(
        f"{data.name}: a device needs task.context + task.serves = {needed} images of one class in each part, and "
        f"class {data.classes[label]} has {fewest} to {('train', 'validate', 'test')[part]} on. That takes about "
        f"{round(needed / VALIDATION)} images of each class to train and validate on (a tenth of them validates) and "
        f"{needed} held out; with these images the two settings may be {fewest} together"
    )
