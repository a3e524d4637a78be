"""A server without a run: an operator's pack for a cohort of light phones, stored once, and a bad one that stops."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import torch
from torch import nn

from mnet.export.format.bundle import Bundle
from mnet.export.format.packs import pack_digest
from mnet.export.modules import export_module, make_pack
from mnet.toolchain.cloud.operator_client import Operator, Reach
from mnet.toolchain.cloud.scope import place
from mnet.toolchain.cloud.signing_keys import read_key
from mnet.toolchain.errors import UserError
from mnet.toolchain.fleet.light_phones import LightFleet, Trouble, room_for
from mnet.toolchain.fleet.processes import ServerProcess
from mnet.toolchain.phone.client import CloudClient
from mnet.toolchain.phone.phone import Phone
from mnet.toolchain.phone.updater import Updater
from tests.cloud.callers import eventually
from tests.mnet_command import Mnet


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Of a module of somebody's own."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    out = tmp_path_factory.mktemp("own") / "bundle"
    return export_module(module, generated=["2.*"], example=[torch.randn(1, 4)], target="onnx", out=out)


@pytest.fixture(scope="module")
def served(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(None, bundle.path, tmp_path_factory.mktemp("server") / "state") as process:
        yield process


@pytest.fixture
def operator(served: ServerProcess) -> Iterator[Operator]:
    with Operator(served.url, read_key(served.operator_key)) as opened:
        yield opened


@pytest.fixture(scope="module")
def pack(bundle: Bundle) -> bytes:
    torch.manual_seed(0)
    weights = {name: value + 0.1 * torch.randn_like(value) for name, value in bundle.default_weights.items()}
    return make_pack(bundle, weights, version=1)


@pytest.fixture(scope="module")
def bad(bundle: Bundle) -> bytes:
    """Of the right form; the probe is another one."""
    return bundle.pack(bundle.golden.weights, 1, "bad", [1.0] * 16)


@asynccontextmanager
async def fleet(
    served: ServerProcess, bundle: Bundle, count: int, cohort: str | None
) -> AsyncIterator[LightFleet]:
    """Light phones that poll."""
    async with LightFleet(served.url, bundle.id, [1, 2, 3], seed=0) as phones:
        await phones.enrol(count, Path(served.enrolment_key).read_text().strip(), cohort)
        polls = [asyncio.create_task(phones.follow(phone)) for phone in phones.phones]
        yield phones
        for poll in polls:
            poll.cancel()
        await asyncio.gather(*polls, return_exceptions=True)


def stored(served: ServerProcess) -> list[Path]:
    return sorted((Path(served.operator_key).parent.parent / "packs").glob("*.safetensors"))


def test_a_cohort_of_phones_fetches_one_stored_pack_and_a_real_phone_runs_it(
    served: ServerProcess,
    bundle: Bundle,
    pack: bytes,
    operator: Operator,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    count = request.config.getoption("--phones")
    room_for(count)

    async def follow() -> None:
        async with fleet(served, bundle, count, "de") as phones, asyncio.timeout(300):
            with pytest.raises(Trouble, match="409"):
                await phones.upload(phones.phones[0])
            start = time.perf_counter()
            assert operator.reach_of(cohort="de", bundle=bundle.id) == Reach(count, {bundle.id: count})
            rollout = (await asyncio.to_thread(operator.push, cohort="de", pack=pack)).rollout
            await asyncio.gather(*(phone.reached(1) for phone in phones.phones))
            print(f"{count} phones: all fetched {time.perf_counter() - start:.1f} s after the push")
            assert not phones.errors
            done = eventually(lambda: operator.status(rollout), lambda found: found["state"] == "done")
            assert (done["reached"], done["waiting"], done["released"]) == (count, 0, count)

    asyncio.run(follow())
    assert [path.name for path in stored(served)] == [f"shared-{pack_digest(pack)}.safetensors"]
    assert operator.cohorts() == {"de": count}
    phone = Phone(bundle, tmp_path / "phone", lambda *_, **__: None)
    key = read_key(served.enrolment_key)
    updater = Updater(phone, served.url, lambda *_, **__: None, enrolment_key=key, cohort="de", once=True)
    updater.run(threading.Event())
    assert phone.version == 1
    assert len(stored(served)) == 1, "who enrols later gets the same bytes"


def test_a_bad_pack_stops_by_itself(
    served: ServerProcess, bundle: Bundle, bad: bytes, operator: Operator, request: pytest.FixtureRequest
) -> None:
    count = request.config.getoption("--phones")

    async def follow() -> None:
        async with fleet(served, bundle, count, "fr") as phones, asyncio.timeout(300):
            rollout = (await asyncio.to_thread(operator.push, cohort="fr", percent=20, pack=bad)).rollout
            reached = [phone for phone in phones.phones if place(rollout, phone.device) < 20]
            done = await asyncio.to_thread(
                eventually, lambda: operator.status(rollout), lambda found: found["state"] == "done"
            )
            assert done["released"] == len(reached)
            version = operator.releases(reached[0].device)[0]["version"]
            assert 3 <= len(reached) < count / 2
            await asyncio.gather(*(phone.reached(version) for phone in reached))
            await phones.report_all(version, "self_test_failed")
            status = await asyncio.to_thread(operator.status, rollout)
            assert (status["state"], status["outcomes"]) == ("stopped", {"self_test_failed": len(reached)})
            with pytest.raises(UserError, match="stopped"):
                await asyncio.to_thread(operator.extend, rollout, 100)
            assert sum(bool(phone.fetched) for phone in phones.phones) == len(reached)

    asyncio.run(follow())


def test_the_command_tests_a_pack_before_it_pushes_it(
    mnet: Mnet,
    served: ServerProcess,
    bundle: Bundle,
    pack: bytes,
    bad: bytes,
    tmp_path: Path,
) -> None:
    (tmp_path / "good.pack").write_bytes(pack)
    (tmp_path / "bad.pack").write_bytes(bad)
    server = ["--server", served.url, "--operator-key", served.operator_key]
    code, _, stderr = mnet("push", "--pack", tmp_path / "bad.pack", "--bundle", bundle.path, *server)
    assert (code, "self_test_failed" in stderr) == (2, True)
    with CloudClient(served.url) as client:
        device = client.enrol(read_key(served.enrolment_key), bundle.id).device
    ids = tmp_path / "ids.txt"
    ids.write_text(f"{device}\n")
    given = ["--pack", tmp_path / "good.pack", "--bundle", bundle.path, "--devices", ids]
    code, _, stderr = mnet("push", *given, *server)
    assert (code, "1 phones, 1 bundles." in stderr, "give --yes" in stderr) == (2, True, True), (
        "nobody to ask"
    )
    code, stdout, _ = mnet("push", *given, *server, "--dry-run", "--percent", 5)
    assert (code, stdout) == (0, "5 % of 1 phones, 1 bundles.\n")
    code, stdout, _ = mnet("push", *given, *server, "--dry-run", "--json")
    assert (code, json.loads(stdout)) == (0, {"reaches": "1 phones, 1 bundles."})
    with Operator(served.url, read_key(served.operator_key)) as operator:
        assert operator.releases(device) == []
    code, stdout, _ = mnet("push", *given, *server, "--json", "--yes")
    assert (code, list(json.loads(stdout)), device in stdout) == (0, ["rollout", "awaits_approval"], False)
    code, stdout, _ = mnet("cohort", "it", "--devices", ids, *server, "--json")
    assert (code, '"it": 1' in stdout) == (0, True)
    for arguments, said in (
        (["--pack", tmp_path / "good.pack"], "--pack and --bundle belong together"),
        (["--rollout", "1", "--cohort", "de"], "leave out"),
        (["--devices", tmp_path / "none"], "no such file"),
    ):
        code, _, stderr = mnet("push", *arguments, *server)
        assert (code, said in stderr) == (2, True), stderr
