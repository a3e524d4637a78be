"""Devices: priors, rows that belong to them, cameras one by one."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from mnet.toolchain.data.devices import Cameras, Sensors, draw_devices
from mnet.toolchain.data.images import LabelledImages
from mnet.toolchain.errors import UserError

LABELS = torch.arange(4000) % 4
IDEAL = Cameras(torch.zeros(2), torch.ones(2, 3), torch.ones(2), torch.ones(2), torch.zeros(2))


def photos(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(60, 180, (2, 3, 3, 8, 8), generator=generator).byte()


def test_a_device_has_images_of_its_part_by_its_own_prior() -> None:
    rows = torch.arange(2000, 4000)
    devices = draw_devices(LABELS, rows, 50, 100, concentration=0.3, camera=1.0, seed=0)
    assert len(devices) == 50
    assert devices.rows.shape == (50, 100)
    assert bool((devices.rows >= 2000).all())
    assert all(len(set(own)) == 100 for own in devices.rows.tolist())
    share = torch.nn.functional.one_hot(LABELS[devices.rows], 4).float().mean(dim=1)
    assert (share - devices.prior).abs().mean() < 0.05
    # The order of its images tells nothing: the first half has the prior of the second.
    first = torch.nn.functional.one_hot(LABELS[devices.rows[:, :50]], 4).float().mean(dim=1)
    assert (first - devices.prior).abs().mean() < 0.07


@pytest.mark.parametrize(("concentration", "least", "most"), [(0.05, 0.85, 1.0), (100.0, 0.25, 0.4)])
def test_concentration_says_how_alike_devices_are(concentration: float, least: float, most: float) -> None:
    devices = draw_devices(LABELS, torch.arange(4000), 50, 10, concentration, camera=0.0, seed=0)
    assert least < float(devices.prior.max(dim=1).values.mean()) < most


def test_the_same_seed_draws_the_same_devices() -> None:
    one, same, other = (draw_devices(LABELS, torch.arange(4000), 5, 10, 0.3, 1.0, seed) for seed in (0, 0, 1))
    assert torch.equal(one.rows, same.rows)
    assert torch.equal(one.cameras.balance, same.cameras.balance)
    assert not torch.equal(one.rows, other.rows)


def test_images_are_averaged_down() -> None:
    images = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    images[0, 0, :2, :2] = torch.tensor([[10, 20], [30, 40]])
    data = LabelledImages("one", images, torch.zeros(1).long(), ("a",), torch.ones(1).bool())
    assert data.smaller(2).images[0, 0].tolist() == [[25, 0], [0, 0]]
    assert data.smaller(2).image_size == (2, 2)


def test_too_few_images_of_a_class_are_told() -> None:
    with pytest.raises(UserError, match="may need 300 images of one class, and one class has only 250"):
        draw_devices(LABELS, torch.arange(1000), 5, 300, 0.3, 1.0, seed=0)


def test_sensors_mix_colours_without_losing_any() -> None:
    bands = Sensors.draw(20, torch.Generator().manual_seed(0)).bands
    gain = bands.norm(dim=2)
    assert 0.5 < float(gain.min()) < 0.8 < 1.2 < float(gain.max()) < 2.0
    mixture = bands / gain[..., None]
    torch.testing.assert_close(
        mixture @ mixture.transpose(1, 2), torch.eye(3).expand(20, 3, 3), atol=1e-5, rtol=0
    )


def test_a_sensor_reads_its_bands_and_is_mounted_its_way() -> None:
    negative_red = torch.diag(torch.tensor([-1.0, 1.0, 1.0]))
    sensors = Sensors(torch.stack([torch.eye(3), negative_red]), torch.tensor([1, 4]))
    x = torch.rand(2, 3, 3, 8, 8)
    turned, mirrored = sensors.read(torch.tensor([0, 1]), x)
    torch.testing.assert_close(turned, torch.rot90(x[0], 1, (-2, -1)))
    torch.testing.assert_close(mirrored[:, 0], 1 - x[1, :, 0].flip(-1))
    torch.testing.assert_close(mirrored[:, 1:], x[1, :, 1:].flip(-1))


def test_sensors_of_any_kind_leave_everything_else_of_the_devices_as_it_was() -> None:
    alike, apart = (
        draw_devices(LABELS, torch.arange(4000), 9, 10, 0.3, 1.0, 0, any_sensor=any_sensor)
        for any_sensor in (False, True)
    )
    assert torch.equal(alike.rows, apart.rows)
    assert torch.equal(alike.cameras.blur, apart.cameras.blur)
    assert torch.equal(alike.cameras.brightness, apart.cameras.brightness)
    assert alike.cameras.sensors is None
    assert len(set(apart.cameras.sensors.mounting.tolist())) > 3


def test_cameras_without_spread_change_nothing() -> None:
    cameras = Cameras.draw(2, 0.0, torch.Generator().manual_seed(0))
    assert torch.equal(cameras.take(torch.arange(2), photos()), photos())


def test_each_setting_of_a_camera_does_what_it_says() -> None:
    images, both = photos(), torch.arange(2)

    def mean(cameras: Cameras) -> Tensor:
        return cameras.take(both, images).float().mean(dim=(1, 3, 4))

    was = images.float().mean(dim=(1, 3, 4))
    brighter = mean(replace(IDEAL, brightness=torch.tensor([0.1, 0.0])))
    torch.testing.assert_close(brighter - was, torch.tensor([[25.5] * 3, [0.0] * 3]), atol=0.6, rtol=0)
    redder = mean(replace(IDEAL, balance=torch.tensor([[1.3, 1, 1], [1, 1, 1]])))
    torch.testing.assert_close(redder / was, torch.tensor([[1.3, 1, 1], [1, 1, 1]]), atol=0.01, rtol=0)
    grey = replace(IDEAL, saturation=torch.zeros(2)).take(both, images)
    assert bool((grey == grey[:, :, :1]).all())
    flat = replace(IDEAL, contrast=torch.full((2,), 0.5)).take(both, images)
    torch.testing.assert_close(flat.float() - 127.5, (images.float() - 127.5) / 2, atol=0.6, rtol=0)


def test_blur_spreads_a_point_and_keeps_its_light() -> None:
    point = torch.zeros(1, 1, 3, 9, 9, dtype=torch.uint8)
    point[..., 4, 4] = 255
    blurred = replace(IDEAL, blur=torch.ones(2)).take(torch.tensor([1]), point)[0, 0, 0].float()
    taps = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    torch.testing.assert_close(blurred[2:7, 2:7], 255 * taps[:, None] * taps, atol=0.6, rtol=0)
    assert torch.equal(blurred, blurred.T)


def test_a_contact_sheet_has_a_row_for_each_device(tmp_path: Path) -> None:
    labels = torch.arange(400) % 2
    images = torch.where(labels[:, None, None, None] == 0, 40, 200).expand(-1, 3, 8, 8).byte()
    data = LabelledImages("two-greys", images, labels, ("dark", "light"), torch.arange(400) >= 300)
    data.contact_sheet(tmp_path / "sheet.png", devices=3, photos=5)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (5 * 8, 3 * 8)
        assert len(set(sheet.convert("L").getdata())) > 2
    assert data.summary() == {
        "images": 400,
        "of these for test": 100,
        "size": "8x8",
        "classes": "dark, light",
    }
