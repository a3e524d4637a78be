"""Models that the project was not made for: trained, exported, served to a phone process, and swapped there."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch.utils._pytree import tree_leaves

from mnet.export.format.bundle import Bundle
from mnet.export.targets import target_names
from mnet.toolchain.fleet.processes import PhoneProcess, ServerProcess
from mnet.toolchain.training.evaluate import evaluate
from mnet.toolchain.training.run import Run, load_run
from tests.training.trained_strangers import STRANGERS, exported, trained


@pytest.mark.parametrize("name", STRANGERS)
def test_a_stranger_is_served_and_swapped(
    name: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    targets = target_names() if request.config.getoption("--every-target") else [STRANGERS[name].target]
    path = trained(name, tmp_path_factory)
    gains = evaluate([path], Console(quiet=True))["gain"]["metanetwork"]
    assert all(value is not None for value in gains.values())
    run = load_run(path)
    data = type(run.task).load("made-up", None)
    rows = torch.cat([each.flatten(1).float() for each in data.inputs], 1)
    uploads = [rows[start : start + 8].tolist() for start in (0, 200, 400)]
    contexts = tmp_path / "contexts.jsonl"
    contexts.write_text("\n".join(json.dumps(upload) for upload in uploads))
    first, *others = [exported(name, target, tmp_path_factory) for target in targets]
    also = [word for bundle in others for word in ("--bundle", str(bundle.path))]
    with ServerProcess(path, first.path, tmp_path / "server", options=also) as server:
        for bundle in (first, *others):
            state = tmp_path / bundle.manifest.target
            with PhoneProcess(server, bundle.path, state, samples=str(contexts), once=True) as phone:
                phone.next_event("stopped", silence_s=240.0)
            _check_swaps(run, bundle, phone.events, uploads)


def _check_swaps(run: Run, bundle: Bundle, events: list[dict[str, Any]], uploads: list[Any]) -> None:
    """The phone took a pack for each upload, and answers as eager PyTorch does under the last."""
    assert not [event for event in events if event["event"] == "refused"]
    assert [event["version"] for event in events if event["event"] == "swapped"] == [1, 2, 3]
    answered = {event["version"]: event["output"] for event in events if event["event"] == "inferred"}
    with torch.no_grad():
        context = run.task.prepared(run.metanetwork, run.task.context(uploads[2]))
        inputs = tuple(each[None] for each in bundle.golden.inputs[0])
        expected = tree_leaves(run.metanetwork.call(run.metanetwork.generate(context), *inputs))[0].flatten()
    off = (torch.tensor(answered[3]) - expected).abs().max()
    assert off <= bundle.manifest.golden.tolerance * expected.abs().max()
