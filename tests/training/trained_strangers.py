"""Models that the project was not made for, with tasks of their own; each is trained once for all tests."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from mnet.export.format.bundle import Bundle
from mnet.toolchain.tasks import Samples, SupervisedTask
from mnet.toolchain.tasks.supervised import SampleBatch
from tests.once import made_once
from tests.training.sensors import NextReading


class TwoReadings(NextReading):
    """The next reading, and how far off it will be."""

    output_names: ClassVar[tuple[str, ...]] = ("reading", "error")

    def loss(self, outputs: Mapping[str, Tensor], batch: SampleBatch) -> Tensor:
        off = (outputs["reading"] - self.targets(batch)).square()
        return off.mean() + (outputs["error"] - off.detach()).square().mean()

    def scores(self, outputs: Mapping[str, Tensor], batch: SampleBatch) -> dict[str, Tensor]:
        return super().scores(outputs["reading"], batch)


class TwoHeads(nn.Module):
    """A generated layer before an LSTM; a dict of two tensors comes out, one of them written in place."""

    generated: ClassVar[tuple[str, ...]] = ("lift.weight", "lift.bias", "reading.weight")

    def __init__(self) -> None:
        super().__init__()
        self.lift = nn.Linear(1, 8)
        self.memory = nn.LSTM(8, 8, batch_first=True)
        self.reading, self.error = nn.Linear(8, 1), nn.Linear(8, 1)

    def forward(self, series: Tensor) -> dict[str, Tensor]:
        last = self.memory(torch.tanh(self.lift(series[..., None])))[0][:, -1]
        error = self.error(last)
        error += self.reading(last)
        return {"reading": self.reading(last)[:, 0], "error": error[:, 0]}


class Tints(SupervisedTask):
    """Images [3, 16, 16] of one bright colour, which each device calls by a number of its own."""

    input_names: ClassVar[tuple[str, ...]] = ("image",)
    output_names: ClassVar[tuple[str, ...]] = ("scores",)
    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)

    @classmethod
    def load(cls, name: str, path: Path | None) -> Samples:
        generator = torch.Generator().manual_seed(0)
        device = torch.arange(30).repeat_interleave(20)
        colour = torch.randint(3, (len(device),), generator=generator)
        images = 0.3 * torch.randn(len(device), 3, 16, 16, generator=generator)
        images[torch.arange(len(device)), colour] += 1.0
        return Samples((images,), (colour + device % 2) % 4, device)

    def scores(self, outputs: Tensor, batch: SampleBatch) -> dict[str, Tensor]:
        return {"accuracy": (outputs.argmax(1) == self.targets(batch)).float()}


class Words(Tints):
    """Sentences of up to 8 words, with their mask; what the first word means is the device's."""

    input_names: ClassVar[tuple[str, ...]] = ("ids", "mask")

    @classmethod
    def load(cls, name: str, path: Path | None) -> Samples:
        generator = torch.Generator().manual_seed(0)
        device = torch.arange(30).repeat_interleave(20)
        ids = torch.randint(1, 50, (len(device), 8), generator=generator)
        length = torch.randint(3, 9, (len(device), 1), generator=generator)
        mask = (torch.arange(8) < length).long()
        return Samples((ids * mask, mask), (ids[:, 0] % 3 + device) % 3, device)


class Stranger(NamedTuple):
    """A task, a model, and the target that it is served on in every run of the tests."""

    task: str
    model: str
    target: str


STRANGERS = {
    "MobileNet": Stranger(f"{__name__}:Tints", "tests.export.strangers:MobileNet", "tflite"),
    "Encoder": Stranger(f"{__name__}:Words", "tests.export.strangers:Encoder", "android"),
    "TCN": Stranger("tests.training.sensors:NextReading", "tests.training.strangers:TCN", "executorch"),
    "LanguageModel": Stranger(
        "tests.training.strangers:NextToken", "tests.training.strangers:LanguageModel", "onnx"
    ),
    "TwoHeads": Stranger(f"{__name__}:TwoReadings", f"{__name__}:TwoHeads", "onnx"),
}


def trained(name: str, factory: pytest.TempPathFactory) -> Path:
    """The run folder of a stranger, trained for two epochs."""
    from mnet.toolchain.training.config import parse_config
    from mnet.toolchain.training.recipe import train

    if name == "Encoder":
        pytest.importorskip("transformers", reason="the encoder is one of transformers")

    def make(folder: Path) -> None:
        fit = {"epochs": 2, "learning_rate": 0.01, "batch_size": 64}
        config = {
            "task": {"name": STRANGERS[name].task, "context": 8, "serves": 4},
            "data": {"name": "made-up"},
            "model": STRANGERS[name].model,
            "static": fit,
            "metanetwork": {"context": {"name": "samples", "width": 8}, "fit": fit},
        }
        train(parse_config(config, "this test"), folder / "run", Console(quiet=True))

    return made_once(factory, f"stranger-{name}", make) / "run"


def exported(name: str, target: str, factory: pytest.TempPathFactory) -> Bundle:
    """The bundle of a trained stranger for a target."""
    from mnet.toolchain.training.export_run import export_run

    run = trained(name, factory)

    def make(folder: Path) -> None:
        export_run(run, target, folder / "bundle")

    return Bundle.load(made_once(factory, f"stranger-{name}-{target}", make) / "bundle")
