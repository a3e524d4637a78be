"""Image classification on devices that differ: a sample is an image, a context a handful of them without labels."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mnet.toolchain import builtin
from mnet.toolchain.data import load_data_set
from mnet.toolchain.data.images import LabelledImages
from mnet.toolchain.errors import UserError
from mnet.toolchain.metanetwork import MetaNetwork
from mnet.toolchain.metanetwork.context_images import ImageReader
from mnet.toolchain.settings import Part, Strict, find_part
from mnet.toolchain.tasks.answers import Own, Seen
from mnet.toolchain.tasks.label_free import LabelFree
from mnet.toolchain.tasks.photos import DeviceSplits, Photos
from mnet.toolchain.tasks.splits import Splits
from mnet.toolchain.tasks.task import Task

TASKS = {"classification": "Classification"}


class ClassificationSettings(Strict):
    """The `task` section."""

    context: int = Field(32, gt=0, description="Images that a device uploads.")
    serves: int = Field(32, gt=0, description="Images that it then classifies with the pack that it gets.")
    upload: Literal["embedding", "image"] = Field(
        "embedding",
        description="What it sends of an image: the `embedding` (features and soft predictions) or the `image` itself.",
    )
    training_devices: int = Field(1000, gt=0, description="Devices to train on.")
    validation_devices: int = Field(150, gt=0, description="Devices to validate on.")
    test_devices: int = Field(300, gt=0, description="Devices to test on.")
    concentration: float = Field(
        0.3,
        gt=0,
        description="Of the Dirichlet distribution of classes: at 0.1 a device sees one or two, at 10 all alike.",
    )
    camera: float = Field(1.0, ge=0, description="Spread of the devices' cameras; 0 makes them all alike.")
    any_sensor: bool = Field(
        False, description="Cameras have sensors of any kind, and are mounted any way round."
    )
    pixels: int | None = Field(
        None,
        gt=0,
        description="Height and width that images are averaged down to; null leaves them as they are.",
    )


@dataclass(frozen=True)
class Classification(Task[Photos]):
    """Image classification.

    A device model of it has `encode(image) -> fp32 [B, P, e]`, e features at each of P places that no generated
    parameter has touched, and `head(hidden) -> logits`; see `mnet.device_models.cnn.CNN`. Where the cloud reads the
    images themselves, by `images` or `class-prior`, any module from images to logits will do.

    Attributes:
        classes: their names.
        image_size: height and width.
        features: e, or 0 where the cloud reads the images themselves.
    """

    classes: tuple[str, ...]
    image_size: tuple[int, int]
    features: int
    settings: ClassificationSettings = field(default_factory=ClassificationSettings)

    input_names: ClassVar[tuple[str, ...]] = ("image",)
    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    Settings: ClassVar[type[Strict]] = ClassificationSettings
    models: ClassVar[Mapping[str, str]] = builtin.models("classification")
    encoders: ClassVar[Mapping[str, str]] = {
        "set": "mnet.toolchain.metanetwork.context_sets:SetContext",
        "images": "mnet.toolchain.metanetwork.context_images:ImageContext",
        "class-prior": "mnet.toolchain.metanetwork.context_class_prior:ClassPriorContext",
    }

    @classmethod
    def create(
        cls, settings: ClassificationSettings, facts: Mapping[str, Any], model: Part, context: Part | None
    ) -> Self:
        classes, (height, width) = tuple(facts["classes"]), facts["image_size"]
        if settings.pixels:
            height = width = settings.pixels
        task = cls(classes, (height, width), 0, settings)
        if settings.any_sensor and height != width:
            raise UserError(f"task.any_sensor: images of {width}x{height} cannot be turned; set task.pixels")
        encoder = context and find_part(context.name, cls.encoders, "context encoder")
        by_cloud = isinstance(encoder, type) and issubclass(encoder, ImageReader)
        if context and by_cloud and settings.upload != "image":
            raise UserError(f"the context encoder {context.name} reads images: set task.upload=image")
        if by_cloud or (settings.upload == "image" and not context):
            return task
        built = task.device_model(model).eval()
        for name in ("encode", "head"):
            if not callable(getattr(built, name, None)):
                raise UserError(
                    f"model {model.name} has no method {name}; CONTRIBUTING.md says what a device model offers"
                )
        hidden = built.encode(torch.zeros(1, 3, height, width))  # type: ignore[operator]
        return replace(task, features=hidden.shape[2])

    @property
    def sizes(self) -> dict[str, Any]:
        return {"n_classes": len(self.classes)}

    @property
    def encoder_sizes(self) -> dict[str, Any]:
        if not self.features:
            return {"classes": len(self.classes)}
        return {"features": self.features + len(self.classes), "classes": len(self.classes)}

    def example_inputs(self, generator: torch.Generator) -> tuple[Tensor, ...]:
        """A random image fp32 [1, 3, H, W]."""
        return (as_input(torch.randint(0, 256, (1, 3, *self.image_size), generator=generator)),)

    def device_inputs(self, pixels: Sequence[int]) -> tuple[Tensor, ...]:
        """An image of 3 * H * W bytes, red, then green, then blue -> fp32 [1, 3, H, W]. Raises ValueError."""
        return (as_input(self._images([pixels])),)

    def context(self, samples: Sequence[Sequence[float]]) -> Tensor:
        """What a device uploaded -> fp32 [1, n, e + C] or uint8 [1, n, 3, H, W], the most recent, left-padded with 0.

        Raises ValueError on samples of another form than `upload` says.
        """
        recent = samples[-self.settings.context :]
        uploaded = self._images(recent) if self.settings.upload == "image" else self._embeddings(recent)
        padded = torch.zeros(1, self.settings.context, *uploaded.shape[1:], dtype=uploaded.dtype)
        padded[0, self.settings.context - len(uploaded) :] = uploaded
        return padded

    def upload(self, model: nn.Module, images: Tensor) -> list[list[float]]:
        """What a device sends of images uint8 [n, 3, H, W]; `model` is its device model under the default pack."""
        if self.settings.upload == "image":
            return images.flatten(1).tolist()
        with torch.no_grad():
            return describe(model, images).tolist()

    def prepared(self, network: MetaNetwork, context: Tensor) -> Tensor:
        """What the context encoder reads, fp32 [M, n, e + C]: uploaded images are described here, in the cloud.

        An encoder that reads images gets these, uint8 [M, n, 3, H, W].
        """
        if context.dtype != torch.uint8 or not self.features:
            return context
        # What was uploaded are numbers: no gradient goes back from here to the features.
        with torch.no_grad():
            described = describe(network.device_model, context.flatten(0, 1)).unflatten(0, context.shape[:2])
        return described * (context != 0).any(dim=(2, 3, 4))[..., None]

    def _images(self, samples: Sequence[Sequence[float]]) -> Tensor:
        size = 3 * self.image_size[0] * self.image_size[1]
        if not all(
            _is_list(sample, size) and all(value in range(256) for value in sample) for sample in samples
        ):
            raise ValueError(
                f"an image is {size} numbers from 0 to 255: red, then green, then blue, row by row"
            )
        return torch.tensor(samples, dtype=torch.uint8).view(-1, 3, *self.image_size)

    def _embeddings(self, samples: Sequence[Sequence[float]]) -> Tensor:
        size = self.features + len(self.classes)
        if all(_is_list(sample, size) for sample in samples):
            values = torch.tensor(samples, dtype=torch.float32).view(-1, size)
            if values.isfinite().all():
                return values
        raise ValueError(
            f"a sample is {size} finite numbers: {self.features} features, then soft predictions"
        )

    def seen(self, network: MetaNetwork, batch: Photos) -> Seen | None:
        """What is uploaded of the images; a device that uploads them whole knows it as well.

        None where only the cloud looks at them.
        """
        if not self.features:
            return None
        return Seen(self.prepared(network, batch.context))

    @classmethod
    def load(cls, name: str, path: Path | None, **settings: Any) -> LabelledImages:
        data = load_data_set(name, path, **settings)
        if not isinstance(data, LabelledImages):
            raise UserError(f"{name} is no set of images")
        return data

    @classmethod
    def facts(cls, data: LabelledImages) -> dict[str, Any]:
        return {"classes": list(data.classes), "image_size": list(data.image_size)}

    def splits(self, data: LabelledImages, *models: nn.Module) -> DeviceSplits:
        settings = self.settings
        return DeviceSplits(
            data.smaller(settings.pixels) if settings.pixels else data,
            devices=(settings.training_devices, settings.validation_devices, settings.test_devices),
            context=settings.context,
            serves=settings.serves,
            concentration=settings.concentration,
            camera=settings.camera,
            any_sensor=settings.any_sensor,
        )

    def histories(
        self, splits: Splits[Photos], part: Literal["validation", "test"], batch_size: int
    ) -> DataLoader[Photos]:
        """Phones that are carried from one device's place to another's, see `DeviceSplits.carried`."""
        assert isinstance(splits, DeviceSplits)
        return splits.carried(part, batch_size)

    def own(self, splits: Splits[Photos], device: int, samples: int, judged: int) -> Own:
        assert isinstance(splits, DeviceSplits)
        return splits.own(device, samples, judged)

    def on_device(self, steps: Sequence[str]) -> LabelFree:
        try:
            method = LabelFree(steps, as_input)
        except ValueError as error:
            raise UserError(f"on_device: {error}") from None
        if method.by_cloud and self.settings.upload != "image":
            raise UserError(f"on_device: {'+'.join(steps)}: a cloud looks at images; set task.upload=image")
        return method

    def outputs(self, model: nn.Module, batch: Photos) -> Tensor:
        logits: Tensor = model(as_input(batch.image.flatten(0, 1)))
        return logits

    def device_outputs(
        self, run: Callable[[int, Sequence[Tensor]], Sequence[Tensor]], batch: Photos
    ) -> Tensor:
        return torch.cat(
            [
                run(pack, (as_input(image[None]).contiguous(),))[0]
                for pack, images in enumerate(batch.image)
                for image in images
            ]
        )

    def targets(self, batch: Photos) -> Tensor:
        return batch.label.flatten()

    def context_loss(self, network: MetaNetwork, vectors: Tensor, batch: Photos) -> Tensor:
        """How badly the vector by itself predicts which classes the device sees."""
        own = network.context_encoder.scores(vectors)
        return self.loss(own.repeat_interleave(batch.label.shape[1], dim=0), batch)

    def own_loss(self, model: nn.Module, batch: Photos) -> Tensor:
        """Entropy of the predictions on the context, as TENT lowers it (Wang et al. 2021, arXiv:2006.10726)."""
        logits = model(as_input(batch.context.flatten(0, 1)))
        entropy = -(logits.softmax(dim=1) * logits.log_softmax(dim=1)).sum(dim=1)
        return entropy.unflatten(0, batch.context.shape[:2]).mean(dim=1)

    def scores(self, logits: Tensor, batch: Photos) -> dict[str, Tensor]:
        return {"accuracy": (logits.argmax(dim=1) == self.targets(batch)).float()}


def _is_list(sample: Any, length: int) -> bool:
    return isinstance(sample, list | tuple) and len(sample) == length


def describe(model: Any, images: Tensor) -> Tensor:
    """What the MetaNetwork reads of images uint8 [N, 3, H, W]: features and soft predictions, fp32 [N, e + C]."""
    hidden = model.encode(as_input(images))
    return torch.cat([hidden.mean(dim=1), model.head(hidden).softmax(dim=1)], dim=1)


def as_input(images: Tensor) -> Tensor:
    """uint8 [N, 3, H, W] -> fp32 from 0 to 1. Convolutions on a CPU are quicker with the channels last in memory."""
    return (images.float() / 255).contiguous(memory_format=torch.channels_last)
