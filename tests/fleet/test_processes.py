"""Phones and servers as processes: killed, restarted, cut off and fed with live swaps.

The soak tests have a size. For the full figures, which they print:

    pytest tests/fleet/test_processes.py -k soak -s --swaps 1000 --kills 100 --timeout 3600
"""

import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from mnet.export.format.bundle import Bundle
from mnet.export.format.packs import read_pack
from mnet.toolchain.cloud.operator_client import Operator
from mnet.toolchain.cloud.signing_keys import read_key
from mnet.toolchain.fleet.processes import Event, PhoneProcess, ServerProcess
from mnet.toolchain.training.run import load_run

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    return Bundle.load(tiny_bundle)


@pytest.fixture(scope="module")
def eager(tiny_run: Path, bundle: Bundle) -> Callable[[dict[str, Tensor]], Tensor]:
    """Eager PyTorch's first output for the sample that phones infer on, under any generated parameters."""
    model = load_run(tiny_run).metanetwork.device_model

    @torch.inference_mode()
    def output(parameters: dict[str, Tensor]) -> Tensor:
        return functional_call(model, parameters, bundle.golden.inputs[0]).flatten()

    return output


def random_contexts(count: int, seed: int) -> list[list[int]]:
    draw = random.Random(seed)
    return [[draw.randint(1, 300) for _ in range(20)] for _ in range(count)]


def write_contexts(path: Path, contexts: list[list[int]]) -> str:
    path.write_text("\n".join(",".join(map(str, context)) for context in contexts))
    return str(path)


def percentiles(values: list[float]) -> str:
    ordered = sorted(values)
    return f"p50 {statistics.median(ordered):.1f}, p99 {ordered[int(0.99 * (len(ordered) - 1))]:.1f}"


def run_verb(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mnet.toolchain.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_soak_every_output_belongs_to_one_version(
    server: ServerProcess,
    tiny_run: Path,
    tiny_bundle: Path,
    eager: Callable[[dict[str, Tensor]], Tensor],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """Each inference during a stream of swaps gives what eager PyTorch gives under exactly one version."""
    swaps = request.config.getoption("--swaps")
    contexts = random_contexts(swaps, seed=1)
    samples = write_contexts(tmp_path / "contexts", contexts)
    with PhoneProcess(
        server, tiny_bundle, tmp_path / "phone", samples=samples, once=True, period_s=0
    ) as phone:
        phone.next_event("stopped", silence_s=60 + swaps)
    swapped = [event for event in phone.events if event["event"] == "swapped"]
    inferred = [event for event in phone.events if event["event"] == "inferred"]
    assert [event["version"] for event in swapped] == list(range(1, swaps + 1))
    assert {event["version"] for event in inferred} >= {0, swaps}

    run = load_run(tiny_run)
    expected = {0: eager(run.metanetwork.static())}
    for version, context in enumerate(contexts, start=1):
        with torch.inference_mode():
            generated = run.metanetwork.generate(run.task.context(context))
        expected[version] = eager({name: values[0] for name, values in generated.items()})
    versions, outputs = list(expected), torch.stack(list(expected.values()))
    belonging_to_none, worst = 0, 0.0
    for event in inferred:
        distances = (outputs - torch.tensor(event["output"])).abs().amax(dim=1)
        matches = [versions[n] for n in torch.nonzero(distances <= TOLERANCE).flatten().tolist()]
        belonging_to_none += event["count"] * (matches != [event["version"]])
        worst = max(worst, distances.min().item())
    print(
        f"\n{swaps} swaps, {sum(event['count'] for event in inferred)} inferences, "
        f"{belonging_to_none} outputs of no version, largest error {worst:.1e}\n"
        f"swap us: {percentiles([event['swap_us'] for event in swapped])}; "
        f"upload to swapped ms: {percentiles([event['upload_to_swap_ms'] for event in swapped])}; "
        f"{swapped[0]['bytes']} bytes"
    )
    assert belonging_to_none == 0


def test_soak_every_restart_after_a_kill_is_on_a_verified_version(
    server: ServerProcess,
    tiny_bundle: Path,
    bundle: Bundle,
    eager: Callable[[dict[str, Tensor]], Tensor],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """A phone is killed by SIGKILL at random moments of a stream of swaps, and at some of its start."""
    kills = request.config.getoption("--kills")
    draw = random.Random(2)
    samples = write_contexts(tmp_path / "contexts", random_contexts(1000, seed=3))
    state = tmp_path / "phone"
    released: dict[int, tuple[str, bytes]] = {}  # of each version, for the server keeps the newest two only
    device, newest, restarts, swapped = "", 0, 0, 0
    for kill in range(kills + 1):
        with PhoneProcess(server, tiny_bundle, state, samples=samples, period_s=0) as phone:
            if kill and kill % 5 == 0 and kill < kills:
                time.sleep(draw.uniform(0.0, 3.0))  # a moment of the start
                phone.kill()
                released |= _releases(server, device)
                continue
            started = phone.next_event("started")
            if kill:
                restarts += 1
                # Never before the last version that it said it had kept, and that one whole.
                assert started["version"] >= newest
                _assert_is_release(released, bundle, eager, started, phone.next_event("inferred"))
            else:
                device = phone.next_event("enrolled")["device"]
            phone.next_event("uploaded")
            time.sleep(draw.uniform(0.0, 0.5))
            phone.kill()
            released |= _releases(server, device)
            versions = [event["version"] for event in phone.events if event["event"] == "swapped"]
            assert not [event for event in phone.events if event["event"] == "refused"]
            newest, swapped = max([newest, started["version"], *versions]), swapped + len(versions)
    print(f"\n{kills} kills, {restarts} restarts looked at, all on a verified version; {swapped} swaps")


def _releases(server: ServerProcess, device: str) -> dict[int, tuple[str, bytes]]:
    """Digest and pack of each version of a device that the server keeps."""
    state = server.enrolment_key.parent.parent
    query = "SELECT version, sha256 FROM releases WHERE device = ? AND jws IS NOT NULL"
    with sqlite3.connect(state / "mnet.db") as database:
        rows = database.execute(query, (device,)).fetchall()
    return {
        version: (sha256, path.read_bytes())
        for version, sha256 in rows
        if (
            path := state / "packs" / f"{device}-{sha256}.safetensors"
        ).is_file()  # a newer release may just have come
    }


def _assert_is_release(
    released: dict[int, tuple[str, bytes]],
    bundle: Bundle,
    eager: Callable[[dict[str, Tensor]], Tensor],
    started: Event,
    inferred: Event,
) -> None:
    """The phone started on a version that the server released to it, and answers as that version does."""
    if started["version"] == 0:
        expected = bundle.golden.default[0][0].flatten()
    else:
        sha256, data = released[started["version"]]
        assert started["sha256"] == sha256
        expected = eager(read_pack(data, bundle.manifest).parameters)
    assert inferred["version"] == started["version"]
    torch.testing.assert_close(torch.tensor(inferred["output"]), expected, rtol=0, atol=TOLERANCE)


def test_a_phone_outlives_its_server_and_finds_it_again(
    tiny_run: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    state = tmp_path / "server"
    with ServerProcess(tiny_run, tiny_bundle, state) as server:
        port = int(server.url.rpartition(":")[2])
        with PhoneProcess(server, tiny_bundle, tmp_path / "phone", samples="5,6,7", period_s=0.01) as phone:
            device = phone.next_event("enrolled")["device"]
            assert phone.next_event("swapped")["version"] == 1
            server.kill()
            phone.next_event("offline")
            with (
                ServerProcess(tiny_run, tiny_bundle, state, port=port) as restarted,
                Operator(restarted.url, read_key(restarted.operator_key)) as operator,
            ):
                operator.push([device])
                assert phone.next_event("swapped")["version"] == 2
                assert phone.stop() == 0
    stopped = phone.events[-1]
    assert (stopped["event"], stopped["version"]) == ("stopped", 2)
    served = [event for event in phone.events if event["event"] == "inferred"]
    assert sum(event["count"] for event in served) == stopped["inferences"]
    assert {event["version"] for event in served} >= {0, 1}  # it may be stopped before it infers under 2


def test_a_phone_starts_without_any_server(server: ServerProcess, tiny_bundle: Path, tmp_path: Path) -> None:
    """It serves the default weights and keeps trying."""
    arguments = ["--bundle", str(tiny_bundle), "--state", str(tmp_path), "--json"]
    arguments += ["--enrolment-key", str(server.enrolment_key), "--server", "http://127.0.0.1:1"]
    command = [sys.executable, "-m", "mnet.toolchain.cli", "device", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        seen = [process.stdout.readline() for _ in range(3)]
        process.terminate()
        seen += list(process.stdout)
    assert process.returncode == 0
    assert '"event": "started", "version": 0' in seen[0]
    assert any('"event": "offline"' in line for line in seen)
    assert '"event": "stopped", "version": 0' in seen[-1]


def test_a_bundle_with_a_changed_byte_is_not_started(
    server: ServerProcess, tiny_bundle: Path, tmp_path: Path
) -> None:
    damaged = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, damaged)
    program = bytearray((damaged / "model.pte").read_bytes())
    program[len(program) // 2] ^= 1
    (damaged / "model.pte").write_bytes(program)
    result = run_verb(
        "device", "--server", server.url, "--bundle", str(damaged), "--state", str(tmp_path / "p")
    )
    assert result.returncode == 2
    assert "model.pte" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("samples", "message"), [("1,999999", "unknown item id"), ("nowhere", "neither item ids nor a file")]
)
def test_samples_that_are_none_are_the_users_mistake(
    server: ServerProcess, tiny_bundle: Path, tmp_path: Path, samples: str, message: str
) -> None:
    arguments = ["--server", server.url, "--bundle", str(tiny_bundle), "--state", str(tmp_path)]
    # Without --once a phone reports what the server denies, and keeps inferring.
    arguments += ["--enrolment-key", str(server.enrolment_key), "--once", "--samples", samples]
    result = run_verb("device", *arguments)
    assert result.returncode == 2
    assert message in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.stderr


def test_a_port_in_use_is_the_users_mistake(
    server: ServerProcess, tiny_run: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    arguments = [str(tiny_run), "--bundle", str(tiny_bundle), "--state", str(tmp_path / "new")]
    result = run_verb("serve", *arguments, "--port", server.url.rpartition(":")[2])
    assert result.returncode == 2
    assert "choose another --port" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_push_from_the_command_line(server: ServerProcess, tiny_bundle: Path, tmp_path: Path) -> None:
    with PhoneProcess(server, tiny_bundle, tmp_path / "phone", samples="8,9,10") as phone:
        device = phone.next_event("enrolled")["device"]
        phone.next_event("swapped")
        arguments = ["--server", server.url, "--operator-key", str(server.operator_key)]
        pushed = run_verb("push", *arguments, "--device", device, "--yes").stdout
        assert "1 phones, 1 bundles" in pushed.replace("\n", " ")
        assert phone.next_event("swapped")["version"] == 2
    refused = run_verb("push", *arguments, "--device", "nobody")
    assert refused.returncode == 2
    assert "no context was ever uploaded by nobody" in refused.stderr.replace("\n", " ")
