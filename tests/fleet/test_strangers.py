"""Models that the project was not made for: trained, exported, served to a phone process, and swapped there."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from mnet.export.verify import verify_bundle
from mnet.toolchain.cloud.generation import verify_served
from mnet.toolchain.fleet.processes import PhoneProcess, ServerProcess
from mnet.toolchain.tasks import Samples, SupervisedTask
from mnet.toolchain.tasks.supervised import SampleBatch
from mnet.toolchain.training.config import parse_config
from mnet.toolchain.training.evaluate import evaluate
from mnet.toolchain.training.export_run import export_run
from mnet.toolchain.training.recipe import train
from mnet.toolchain.training.run import load_run
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


@pytest.mark.parametrize(
    ("task", "model", "target"),
    [
        ("tests.fleet.test_strangers:Tints", "tests.export.strangers:MobileNet", "tflite"),
        ("tests.fleet.test_strangers:Words", "tests.export.strangers:Encoder", "android"),
        ("tests.training.sensors:NextReading", "tests.training.strangers:TCN", "executorch"),
        ("tests.training.strangers:NextToken", "tests.training.strangers:LanguageModel", "onnx"),
        ("tests.fleet.test_strangers:TwoReadings", "tests.fleet.test_strangers:TwoHeads", "onnx"),
    ],
)
def test_a_stranger_is_served_and_swapped(task: str, model: str, target: str, tmp_path: Path) -> None:
    if "Encoder" in model:
        pytest.importorskip("transformers", reason="the encoder is one of transformers")
    fit = {"epochs": 2, "learning_rate": 0.01, "batch_size": 64}
    config = {
        "task": {"name": task, "context": 8, "serves": 4},
        "data": {"name": "made-up"},
        "model": model,
        "static": fit,
        "metanetwork": {"context": {"name": "samples", "width": 8}, "fit": fit},
    }
    path = tmp_path / "run"
    train(parse_config(config, "this test"), path, Console(quiet=True))
    gains = evaluate([path], Console(quiet=True))["gain"]["metanetwork"]
    assert all(value is not None for value in gains.values())
    run, bundle = load_run(path), export_run(path, target, tmp_path / "bundle")
    verify_bundle(bundle)
    verify_served(run, bundle)
    data = type(run.task).load("made-up", None)
    rows = torch.cat([each.flatten(1).float() for each in data.inputs], 1)
    uploads = [rows[start : start + 8].tolist() for start in (0, 200, 400)]
    contexts = tmp_path / "contexts.jsonl"
    contexts.write_text("\n".join(json.dumps(upload) for upload in uploads))
    with (
        ServerProcess(path, bundle.path, tmp_path / "server") as server,
        PhoneProcess(server, bundle.path, tmp_path / "phone", samples=str(contexts), once=True) as phone,
    ):
        phone.next_event("stopped", silence_s=240.0)
        events: list[dict[str, Any]] = list(phone.events)
    assert not [event for event in events if event["event"] == "refused"]
    assert [event["version"] for event in events if event["event"] == "swapped"] == [1, 2, 3]
    answered = {event["version"]: event["output"] for event in events if event["event"] == "inferred"}
    with torch.no_grad():
        context = run.task.prepared(run.metanetwork, run.task.context(uploads[2]))
        inputs = tuple(each[None] for each in bundle.golden.inputs[0])
        expected = tree_leaves(run.metanetwork.call(run.metanetwork.generate(context), *inputs))[0]
    torch.testing.assert_close(torch.tensor(answered[3]), expected.flatten(), atol=1e-4, rtol=1e-3)
