"""Packs of photos: nothing is shared between the parts, and labels stay with their images."""

import pytest
import torch
from torch import Tensor

from mnet.toolchain.errors import UserError
from mnet.toolchain.tasks.photos import MOVES, PHONES, TIMES, DeviceSplits, Photos
from tests.tasks.images import grey_images

DATA = grey_images()


def splits(context: int = 3, serves: int = 2, **other: float) -> DeviceSplits:
    settings = {"concentration": 1.0, "camera": 0.0, **other}
    return DeviceSplits(DATA, devices=(12, 5, 7), context=context, serves=serves, **settings)


def rows(images: Tensor) -> Tensor:
    """The row of the data set that each image [..., 3, H, W] is, as its colour tells where cameras are perfect."""
    return images[..., 0, 0, 0].long() * 100 + images[..., 1, 0, 0].long()


def all_rows(batches: list[Photos]) -> set[int]:
    return {
        int(row)
        for batch in batches
        for row in torch.cat([rows(batch.context), rows(batch.image)], 1).flatten()
    }


def test_parts_share_no_image_and_test_images_are_the_held_out_ones() -> None:
    cut = splits()
    training, validation, test = (
        all_rows(list(part)) for part in (cut.training(4, 0), cut.validation(4), cut.test(4))
    )
    assert not training & validation
    assert min(test) >= 700 > max(training | validation)


def test_each_device_is_there_once_with_all_of_its_images() -> None:
    cut = splits()
    for part, batches in enumerate((cut.training(5, 1), cut.validation(5), cut.test(5))):
        seen = []
        for batch in batches:
            assert batch.context.shape[1:] == (3, 3, 8, 8)
            assert torch.equal(batch.label, DATA.labels[rows(batch.image)])
            own = torch.cat([rows(batch.context), rows(batch.image)], dim=1)
            assert torch.equal(own.sort().values, cut.devices[part].rows[batch.device].sort().values)
            seen += batch.device.tolist()
        assert sorted(seen) == list(range(len(cut.devices[part])))


def test_an_epoch_follows_from_its_seed() -> None:
    def epoch(seed: int) -> Tensor:
        return torch.cat([rows(batch.image) for batch in splits().training(4, seed)])

    assert torch.equal(epoch(0), epoch(0))
    assert not torch.equal(epoch(0), epoch(1))


def test_evaluation_is_always_the_same_and_never_mirrored() -> None:
    one, other = (next(iter(splits(camera=1.0).validation(5))) for _ in range(2))
    assert torch.equal(one.image, other.image)
    cut = splits(camera=1.0)
    batch = next(iter(cut.test(5)))
    devices = cut.devices[2]
    photos = devices.cameras.take(batch.device, DATA.images[devices.rows[batch.device]])
    assert torch.equal(torch.cat([batch.context, batch.image], dim=1), photos)


def test_too_small_a_data_set_is_told() -> None:
    needed = (
        r"task\.serves = 50 images of one class .* class \w+ has \d+ to validate on\. .* about 500 images"
    )
    with pytest.raises(UserError, match=needed):
        splits(context=30, serves=20)


def test_a_carried_phone_stays_for_a_while_in_one_place_after_the_other() -> None:
    cut = splits()
    batches = list(cut.carried("test", 10))
    again = torch.cat([rows(batch.image) for batch in cut.carried("test", 7)])
    assert torch.equal(again, torch.cat([rows(batch.image) for batch in batches]))
    device = torch.cat([batch.device for batch in batches])
    assert device.tolist() == sorted(device.tolist())
    assert torch.bincount(device).tolist() == [TIMES] * PHONES
    own = torch.cat([torch.cat([rows(b.context), rows(b.image)], dim=1) for b in batches]).sort().values
    places = [
        next(i for i, row in enumerate(cut.devices[2].rows.sort().values) if torch.equal(row, o)) for o in own
    ]
    moved = [a != b for a, b, same in zip(places, places[1:], device.diff() == 0, strict=False) if same]
    assert 0.5 * MOVES < sum(moved) / len(moved) < 1.5 * MOVES
    for batch in batches:
        assert torch.equal(batch.label, DATA.labels[rows(batch.image)])
