"""Images through the whole loop: what a phone sends of them, the weights made from it, the swap on its runtime."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import torch
from rich.console import Console

from mnet.export.format.bundle import Bundle
from mnet.toolchain.cloud.signing_keys import read_key
from mnet.toolchain.fleet.processes import PhoneProcess, ServerProcess
from mnet.toolchain.tasks.classification import Classification
from mnet.toolchain.training.config import parse_config
from mnet.toolchain.training.export_run import export_run
from mnet.toolchain.training.recipe import train
from mnet.toolchain.training.run import Run, load_run
from tests.tasks.images import grey_images

CONFIG = {
    "task": {"name": "classification", "context": 3, "serves": 2}
    | {"training_devices": 20, "validation_devices": 5, "test_devices": 5},
    "data": {"name": "tests.tasks.images:load_greys"},
    "model": {"name": "cnn", "width": 4, "features": 8},
    "static": {"epochs": 1},
    "metanetwork": {"context": {"name": "set", "width": 8}, "start": "static", "fit": {"epochs": 1}},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A CNN and its MetaNetwork, trained for one short epoch."""
    folder = tmp_path_factory.mktemp("images") / "run"
    train(parse_config(CONFIG, "the config of this test"), folder, Console(quiet=True))
    return load_run(folder)


@pytest.fixture(scope="module")
def bundle(run: Run) -> Bundle:
    return export_run(run.path, "executorch", run.path.parent / "bundle")


@pytest.fixture(scope="module")
def image_server(run: Run, bundle: Bundle) -> Iterator[ServerProcess]:
    with ServerProcess(run.path, bundle.path, run.path.parent / "server") as process:
        yield process


def test_a_phone_swaps_in_what_its_photos_give(
    run: Run, bundle: Bundle, image_server: ServerProcess, tmp_path: Path
) -> None:
    assert isinstance(run.task, Classification)
    photos = grey_images().images
    contexts = [
        run.task.upload(run.metanetwork.device_model, photos[start : start + 3]) for start in (0, 0, 500)
    ]
    file = tmp_path / "contexts.jsonl"
    file.write_text("\n".join(json.dumps(context) for context in contexts))
    with PhoneProcess(image_server, bundle.path, tmp_path / "phone", samples=str(file), once=True) as phone:
        phone.next_event("stopped", silence_s=300.0)
    assert [event["event"] for event in phone.events if event["event"] in ("uploaded", "refused")] == [
        "uploaded"
    ] * 3
    swapped = [event["version"] for event in phone.events if event["event"] == "swapped"]
    assert swapped == [1, 2, 3]
    # What the phone answered on its runtime is what eager PyTorch makes of the weights from the same photos.
    answered = {
        event["version"]: torch.tensor(event["output"])
        for event in phone.events
        if event["event"] == "inferred"
    }
    with torch.no_grad():
        made = run.metanetwork.generate(run.task.context(contexts[2]))
        inputs = tuple(each.expand(1, *each.shape) for each in bundle.golden.inputs[0])
        expected = run.metanetwork.call(made, *inputs)[0]
    assert torch.allclose(answered[3], expected.flatten(), atol=1e-4)


def test_a_policy_of_vectors_travels_in_the_bundle(bundle: Bundle, run: Run) -> None:
    assert bundle.policy is not None
    assert bundle.policy.samples == "vectors"
    assert isinstance(run.task, Classification)
    assert len(bundle.policy.projection) == run.task.features + len(run.task.classes)


@pytest.mark.parametrize("samples", [[7, 8], [[0.5, 0.5]], [[1e300] * 20], [[1], 2], [[]], [["a"]]])
def test_other_samples_are_denied(image_server: ServerProcess, bundle: Bundle, samples: list[object]) -> None:
    key = {"Authorization": f"Bearer {read_key(image_server.enrolment_key)}"}
    with httpx.Client(base_url=f"{image_server.url}/v1") as http:
        phone = http.post("/devices", headers=key, json={"bundle": bundle.id}).json()
        token = {"Authorization": f"Bearer {phone['token']}"}
        answer = http.post(f"/devices/{phone['device']}/context", headers=token, json={"samples": samples})
    assert answer.status_code == 422
    assert len(answer.content) < 1000
