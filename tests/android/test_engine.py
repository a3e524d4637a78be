"""The app's engine and core on ExecuTorch's desktop runtime: the same Java API as on a phone."""

import json
import random
import shutil
import subprocess
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey

from android_demo.hosttest.kotlin import run_tests, stdlib
from android_demo.hosttest.tools import java_home
from mnet.export.bench.latency_tables import bench_rows
from mnet.export.format.bundle import Bundle
from mnet.export.format.packs import pack_digest
from mnet.export.format.stored_swaps import StoredSwaps
from mnet.toolchain.attached.app_bench import app_report, write_packs
from mnet.toolchain.contract.keys import public_keys
from mnet.toolchain.contract.release import Release, sign_release
from mnet.toolchain.phone.client import Identity
from tests.android.conftest import REPOSITORY, HostTests

DEVICE = "0123456789abcdef"


def test_outputs_are_those_of_eager_pytorch(host_tests: HostTests, properties: dict[str, Any]) -> None:
    assert run_tests(*host_tests, properties, only="mnet.hosttest.EngineTest") >= 16


def test_the_phone_leads_every_conversation(host_tests: HostTests, properties: dict[str, Any]) -> None:
    conversations = json.loads((REPOSITORY / "tests/vectors/conversations.json").read_text())["vectors"]
    passed = run_tests(*host_tests, properties, only="mnet.hosttest.ConversationTest")
    assert passed == len(conversations) >= 50


def test_a_hostile_server_and_a_second_poll_mislead_no_phone(
    host_tests: HostTests, properties: dict[str, Any], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    report = tmp_path / "report.json"
    more = {"mnet.conversations": request.config.getoption("--conversations"), "mnet.report": report}
    assert run_tests(*host_tests, properties | more, only="mnet.hosttest.HostileTest") == 3
    figures = json.loads(report.read_text())
    print(f"\nJVM: {figures}")
    assert min(figures["outcomes"][name] for name in ("taken", "offline", "denied", "refused")) > 0


def test_the_phone_follows_the_real_service(host_tests: HostTests, properties: dict[str, Any]) -> None:
    assert run_tests(*host_tests, properties, only="mnet.hosttest.CloudTest") == 10


def test_the_app_does_what_its_user_does(host_tests: HostTests, properties: dict[str, Any]) -> None:
    assert run_tests(*host_tests, properties, only="mnet.hosttest.RecommenderTest") == 3


@pytest.mark.parametrize("kind", ["inputs", "bytes"])
def test_soak_pushes_against_a_reading_thread(
    kind: str,
    host_tests: HostTests,
    properties: dict[str, Any],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    count = request.config.getoption("--swaps")
    bundle = Bundle.load(properties[f"mnet.{kind}"])
    swaps = StoredSwaps.of(bundle)
    expected = [bundle.probe(bundle.golden.default[0]), *swaps.probes]
    (tmp_path / "expected.json").write_text(json.dumps([list(probe) for probe in expected]))
    for version in range(1, count + 1):
        (tmp_path / f"{version}.safetensors").write_bytes(swaps.pack(version - 1, version))
    report = tmp_path / "report.json"
    more = {"mnet.bundle": bundle.path, "mnet.packs": tmp_path, "mnet.pushes": count, "mnet.report": report}
    assert run_tests(*host_tests, properties | more, only="mnet.hosttest.PushesTest") == 1
    figures = json.loads(report.read_text())
    ratio = figures["swappable_p50_ns"] / figures["baked_p50_ns"]
    print(f"\nJVM engine, weights by {kind}: {figures}, ratio to baked {ratio:.3f}")
    assert figures["pushes"] == count
    assert figures["inferences"] >= count


@pytest.mark.parametrize("kind", ["inputs", "bytes"])
def test_the_bench_of_the_app_gives_the_figures_of_every_bench(
    kind: str, host_tests: HostTests, properties: dict[str, Any], tmp_path: Path
) -> None:
    bundle, report = Bundle.load(properties[f"mnet.{kind}"]), tmp_path / "report.json"
    write_packs(bundle, tmp_path / "packs")
    more = {"mnet.bundle": bundle.path, "mnet.packs": tmp_path / "packs", "mnet.report": report}
    assert run_tests(*host_tests, properties | more, only="mnet.hosttest.BenchmarkTest") == 1
    figures = app_report(bundle, json.loads(report.read_text()))
    rows = dict(bench_rows(figures))
    assert figures["max_error"] <= bundle.manifest.golden.tolerance < figures["output_change"]
    assert "swap, 5 times: p50 | p90 | p99" in rows
    print(
        f"\nJVM, weights by {kind}: ratio {rows['ratio of the p50']}, "
        f"control {figures['inference']['control_ratio_p50']:.3f}"
    )


def test_soak_switches_between_resident_packs_against_a_reading_thread(
    host_tests: HostTests, library: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    properties: dict[str, Any] = {
        "mnet.jni": library,
        "mnet.switches": request.config.getoption("--swaps"),
    }
    for kind, exported in {"inputs": "ranker", "bytes": "convnet"}.items():
        bundle = Bundle.load(REPOSITORY / "tests/vectors/exported" / exported)
        swaps, packs = StoredSwaps.of(bundle), tmp_path / kind
        packs.mkdir()
        properties |= {f"mnet.{kind}": bundle.path, f"mnet.{kind}.packs": packs}
        for version in (1, 2, 3):
            pack = swaps.pack(version - 1, version)
            (packs / f"{version}.safetensors").write_bytes(pack)
    assert run_tests(*host_tests, properties, only="mnet.hosttest.SwitchesTest") == 2


INSTALLS = 300


@pytest.fixture(scope="module")
def installs(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Signed releases 1, 2, … with their packs, and the identity of the phone that they are for."""
    folder = tmp_path_factory.mktemp("installs")
    key = ECKey.generate_key("P-256", {"kid": "key"}, auto_kid=False)
    swaps = StoredSwaps.of(bundle)
    for version in range(1, INSTALLS + 1):
        pack = swaps.pack(version - 1, version)
        (folder / f"{version}.safetensors").write_bytes(pack)
        release = Release(DEVICE, bundle.id, version, pack_digest(pack), len(pack), 0, 2**40)
        (folder / f"{version}.jws").write_text(sign_release(key, release))
    identity = Identity(DEVICE, bundle.id, f"{DEVICE}.none", public_keys(key))
    (folder / "identity.json").write_text(json.dumps(asdict(identity)))  # as the host phone keeps it
    return folder


def test_soak_kill_at_a_random_moment_of_an_install(
    host_tests: HostTests,
    properties: dict[str, Any],
    installs: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    kills, state, kept, restarts = request.config.getoption("--kills"), tmp_path / "state", 0, 0
    chance = random.Random(0)
    classpath = ":".join(map(str, [host_tests[0], *host_tests[1], stdlib()]))
    command = [java_home() / "bin/java", f"-Dmnet.jni={properties['mnet.jni']}", "-cp", classpath]
    command += ["mnet.hosttest.InstallsKt", properties["mnet.bundle"], state, installs]
    for _ in range(kills):
        if kept == INSTALLS or not state.exists():
            shutil.rmtree(state, ignore_errors=True)
            state.mkdir()
            shutil.copy(installs / "identity.json", state)
            kept = 0
        started, kept = _install_and_kill(command, kept, chance.randint(1, 4), chance.uniform(0.0, 0.03))
        restarts += started > 0
    print(f"\n{kills} kills -9, {restarts} restarts on a version that had been pushed")
    # Each life starts on what the one before kept; only the first, and each after the last install, has nothing.
    assert restarts >= kills / 2


def _install_and_kill(command: list[object], kept: int, installs: int, after_s: float) -> tuple[int, int]:
    """One life of a phone, which ends so long after so many installs: the version that it started on, and the last one
    that it said was kept."""
    with subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            first = process.stdout.readline().split()
            lines = [process.stdout.readline().rstrip("\n") for _ in range(installs)]
            time.sleep(after_s)
        finally:
            process.kill()
        lines += process.stdout.read().split("\n")[:-1]  # the last one may be cut short
    assert first[:1] == ["started"], first
    # What was being kept at the moment of the kill may be there or not; what was kept before must be.
    assert int(first[1]) in (kept, kept + 1)
    assert not [line for line in lines if line.startswith("refused")]
    versions = [int(line.removeprefix("kept ")) for line in lines if line.startswith("kept ")]
    return int(first[1]), max([int(first[1]), *versions])
