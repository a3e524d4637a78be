"""Devices made from a data set of images: each has its own subjects, its own camera, and may have its own sensor.

What a device sees follows its own class prior, drawn from a symmetric Dirichlet distribution, the usual model of label
shift in federated learning (Hsu et al. 2019, arXiv:1909.06335); all of it is seen through one camera.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mnet.toolchain.errors import UserError


@dataclass(frozen=True)
class Cameras:
    """D cameras. Each blurs, then sets white balance, saturation, contrast and brightness.

    Attributes:
        blur: fp32 [D] from 0 (sharp) to 1 (a Gaussian of about one pixel).
        balance: fp32 [D, 3], factor of red, green and blue.
        saturation, contrast: fp32 [D], factors around the grey of a pixel, and around mid-grey.
        brightness: fp32 [D], added; 1 takes black to white.
        sensors: what reads the picture; None for sensors that are all alike.
    """

    blur: Tensor
    balance: Tensor
    saturation: Tensor
    contrast: Tensor
    brightness: Tensor
    sensors: "Sensors | None" = None

    @classmethod
    def draw(
        cls, count: int, spread: float, generator: torch.Generator, any_sensor: bool = False
    ) -> "Cameras":
        """`spread` 0 makes all of them perfect, 1 as different as cheap phones in odd light.

        With `any_sensor` each has a sensor of its own, see `Sensors`.
        """

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator).clamp(-2, 2) * spread

        return cls(
            blur=torch.rand(count, generator=generator) * spread,
            balance=torch.exp(0.15 * normal(count, 3)),
            saturation=torch.exp(0.3 * normal(count)),
            contrast=torch.exp(0.3 * normal(count)),
            brightness=0.1 * normal(count),
            sensors=Sensors.draw(count, generator) if any_sensor else None,
        )

    def take(self, device: Tensor, images: Tensor) -> Tensor:
        """Photos by the cameras `device` int64 [M] of `images` uint8 [M, n, 3, H, W], as the same."""
        blur, balance, saturation, contrast, brightness = (
            values[device].view(len(device), 1, -1, 1, 1)
            for values in (self.blur, self.balance, self.saturation, self.contrast, self.brightness)
        )
        x = images.float() / 255
        x = torch.lerp(x, _blurred(x), blur) * balance
        x = torch.lerp(x.mean(dim=2, keepdim=True), x, saturation)
        x = (x - 0.5) * contrast + (0.5 + brightness)
        if self.sensors:
            x = self.sensors.read(device, x)
        return (x.clamp(0, 1) * 255).round_().byte()


@dataclass(frozen=True)
class Sensors:
    """D sensors, each of which sees bands of its own and is mounted in one of eight ways.

    Attributes:
        bands: fp32 [D, 3, 3], what each channel takes of red, green and blue, around mid-grey: an orthogonal mixture,
            with a gain for each channel.
        mounting: int64 [D] from 0 to 7: quarter turns, and from 4 on mirrored.
    """

    bands: Tensor
    mounting: Tensor

    @classmethod
    def draw(cls, count: int, generator: torch.Generator) -> "Sensors":
        """Each mixture as likely as any other, and each mounting."""
        mixture = torch.linalg.qr(torch.randn(count, 3, 3, generator=generator)).Q
        gain = torch.exp(0.3 * torch.randn(count, 3, generator=generator).clamp(-2, 2))
        return cls(mixture * gain[..., None], torch.randint(8, (count,), generator=generator))

    def read(self, device: Tensor, x: Tensor) -> Tensor:
        """What the sensors `device` int64 [M] make of pictures fp32 [M, n, 3, H, W] from 0 to 1; H equals W."""
        x = torch.einsum("mij,mnjhw->mnihw", self.bands[device], x - 0.5) + 0.5
        return torch.stack(
            [_mounted(int(way), own) for way, own in zip(self.mounting[device], x, strict=True)]
        )


def _mounted(way: int, x: Tensor) -> Tensor:
    return torch.rot90(x.flip(-1) if way >= 4 else x, way % 4, (-2, -1))


def _blurred(x: Tensor) -> Tensor:
    """fp32 [..., H, W]: the binomial 1 4 6 4 1 down and across, the border repeated."""
    taps = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    planes = functional.pad(x.flatten(0, -3)[:, None], (2, 2, 2, 2), mode="replicate")
    down = sum(tap * planes[:, :, shift : shift + x.shape[-2]] for shift, tap in enumerate(taps))
    across = sum(tap * down[..., shift : shift + x.shape[-1]] for shift, tap in enumerate(taps))
    return across.view(x.shape)


@dataclass(frozen=True)
class Devices:
    """D devices with n images each.

    Attributes:
        prior: fp32 [D, C], how likely each class is in front of this device.
        rows: int64 [D, n], its images, in random order, as rows of the data set; no image twice in a device.
        cameras: one each.
    """

    prior: Tensor
    rows: Tensor
    cameras: Cameras

    def __len__(self) -> int:
        return len(self.rows)


def draw_devices(
    labels: Tensor,
    rows: Tensor,
    count: int,
    images: int,
    concentration: float,
    camera: float,
    seed: int,
    any_sensor: bool = False,
) -> Devices:
    """`count` devices with `images` images each, from the rows `rows` int64 of a data set with `labels` int64 [N].

    `concentration` of the Dirichlet distribution: at 0.1 a device sees one or two classes, at 10 nearly all alike;
    `camera` is the spread of the cameras, whose sensors are alike or, with `any_sensor`, of any kind. Raises UserError
    where a class has too few images for a device that sees nothing else.
    """
    generator = np.random.default_rng(seed)
    of_class = [rows[labels[rows] == label].numpy() for label in range(int(labels.max()) + 1)]
    if (fewest := min(map(len, of_class))) < images:
        raise UserError(
            f"a device may need {images} images of one class, and one class has only {fewest} in this part of the data"
        )
    prior = generator.dirichlet(np.full(len(of_class), concentration), size=count)
    seen = np.stack(
        [
            generator.permutation(
                np.concatenate(
                    [
                        generator.choice(pool, n, replace=False)
                        for pool, n in zip(of_class, numbers, strict=True)
                    ]
                )
            )
            for numbers in generator.multinomial(images, prior)
        ]
    )
    cameras = Cameras.draw(count, camera, torch.Generator().manual_seed(seed), any_sensor)
    return Devices(torch.from_numpy(prior).float(), torch.from_numpy(seen), cameras)
