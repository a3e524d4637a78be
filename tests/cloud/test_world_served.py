"""World packs through a real server to real phones: for everyone, and under a device's own weights."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from mnet.export.format.bundle import Bundle
from mnet.export.format.packs import read_pack
from mnet.toolchain.cloud.operator_client import Operator
from mnet.toolchain.cloud.signing_keys import read_key
from mnet.toolchain.cloud.world_packs import make_world_pack
from mnet.toolchain.fleet.processes import PhoneProcess, ServerProcess
from mnet.toolchain.training.run import Run, load_run

CONTEXT = [5, 6, 7, 8]
WAIT_S = 300.0  # of a machine that does much else

Outputs = Callable[[Mapping[str, Tensor]], Tensor]


@pytest.fixture(scope="module")
def run(world_run: Path) -> Run:
    return load_run(world_run)


@pytest.fixture(scope="module")
def bundle(world_bundle: Path) -> Bundle:
    return Bundle.load(world_bundle)


@pytest.fixture(scope="module")
def eager(run: Run, bundle: Bundle) -> Outputs:
    """What phones infer, in eager PyTorch."""

    @torch.inference_mode()
    def output(parameters: Mapping[str, Tensor]) -> Tensor:
        return functional_call(run.device_model, dict(parameters), bundle.golden.inputs[0]).flatten()

    return output


@pytest.fixture
def server(world_run: Path, world_bundle: Path, tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(world_run, world_bundle, tmp_path / "server") as process:
        yield process


def a_day_of(item: int, run: Run, bundle: Bundle, folder: Path) -> bytes:
    """The world pack of a day on which everybody takes this item."""
    rows = [f"u{n},{item},{10**9 + 60 * n}" for n in range(300)]
    (folder / "recent.csv").write_text("\n".join(["user,item,time", *rows]))
    return make_world_pack(run, bundle, folder / "recent.csv", 1).pack


def swapped(phone: PhoneProcess, at_least: int) -> int:
    """Wait until a phone serves this version or a later one; which one."""
    while (version := int(phone.next_event("swapped", WAIT_S)["version"])) < at_least:
        pass
    return version


def outputs(phone: PhoneProcess) -> dict[int, Tensor]:
    """What a phone inferred under each version, once it has stopped."""
    phone.stop()
    inferred = [event for event in phone.events if event["event"] == "inferred"]
    return {event["version"]: torch.tensor(event["output"]) for event in inferred}


def test_everyone_gets_the_world_and_a_device_that_uploads_its_own_weights_under_it(
    server: ServerProcess, run: Run, bundle: Bundle, world_bundle: Path, eager: Outputs, tmp_path: Path
) -> None:
    scored = bundle.golden.inputs[0][1][0, :2].tolist()
    packs = [a_day_of(item, run, bundle, tmp_path) for item in scored]
    everyone = [dict(read_pack(pack, bundle.manifest).parameters) for pack in packs]
    with torch.inference_mode():
        context = run.task.context(CONTEXT)
        own = {name: values[0] for name, values in run.metanetwork.generate(context).items()}
    expected = {"everyone": [eager(of) for of in everyone], "own": [eager(of | own) for of in everyone]}
    assert (expected["own"][0] - expected["everyone"][0]).abs().max() > 1e-3
    assert (expected["everyone"][1] - expected["everyone"][0]).abs().max() > 1e-3

    with (
        Operator(server.url, read_key(server.operator_key)) as operator,
        PhoneProcess(server, world_bundle, tmp_path / "quiet") as quiet,
    ):
        quiet.next_event("enrolled", WAIT_S)
        operator.push(pack=packs[0])
        first = swapped(quiet, 1)  # without any upload

        samples = ",".join(map(str, CONTEXT))
        with PhoneProcess(server, world_bundle, tmp_path / "uploading", samples=samples) as uploading:
            asked = uploading.next_event("uploaded", WAIT_S)["version"]
            # A later one where the running roll-out has reached it meanwhile.
            own_first = swapped(uploading, asked)
            rollout = operator.push(pack=packs[1]).rollout
            second = swapped(uploading, own_first + 1)
            inferred = outputs(uploading)
        close(inferred[own_first], expected["own"][0])
        close(inferred[second], expected["own"][1])

        third = swapped(quiet, first + 1)
        assert operator.roll_back(rollout)
        back = swapped(quiet, third + 1)
        inferred = outputs(quiet)
        close(inferred[first], expected["everyone"][0])
        close(inferred[third], expected["everyone"][1])
        close(inferred[back], expected["everyone"][0])


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
