"""A whole population at once: every user once, whatever was killed in between, and the same bytes from each engine."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from mnet.export.format.bundle import Bundle
from mnet.export.format.packs import pack_digest, read_pack
from mnet.toolchain.cloud import bulk, bulk_parts
from mnet.toolchain.cloud.bulk import FACTS, Done, Engine
from mnet.toolchain.cloud.bulk_parts import Job
from mnet.toolchain.cloud.generation import PackGenerator
from mnet.toolchain.cloud.signing_keys import create_signing_key, load_signing_key
from mnet.toolchain.contract.keys import load_public_keys, public_keys
from mnet.toolchain.contract.release import verify_release
from mnet.toolchain.errors import UserError
from mnet.toolchain.object_store import ObjectStore
from mnet.toolchain.training.run import load_run

NOW = 1_700_000_000
USERS = {f"{n:04x}": [n % 300 + 1, (7 * n) % 300 + 1, 5] for n in range(50)}


def write_contexts(path: Path, devices: list[str], version: int | None = None) -> None:
    columns = {"device": devices, "samples": [USERS[device] for device in devices]}
    if version is not None:
        columns["version"] = [version] * len(devices)
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=20)


@pytest.fixture
def job(tiny_run: Path, tiny_bundle: Path, tmp_path: Path) -> Job:
    """Fifty users in two files."""
    write_contexts(tmp_path / "contexts" / "a.parquet", list(USERS)[:30])
    write_contexts(tmp_path / "contexts" / "b.parquet", list(USERS)[30:])
    create_signing_key(tmp_path / "signing.pem")
    return Job(
        run=str(tiny_run),
        bundle=str(tiny_bundle),
        contexts=str(tmp_path / "contexts"),
        out=str(tmp_path / "out"),
        signing_key=str(tmp_path / "signing.pem"),
        issued_at=NOW,
        salt="salt",
    )


def generate(job: Job, engine: Engine, advance: Callable[[int], None] = lambda _rows: None) -> Done:
    return bulk.generate(job, bulk.plan(job), engine, advance)


def parts(job: Job) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(job.out).glob("part-*")}


def test_every_user_gets_the_pack_that_the_service_would_give(job: Job) -> None:
    heard: list[int] = []
    assert generate(job, "local", heard.append) == Done(generated=50, before=0)
    assert sum(heard) == 50
    run, bundle = load_run(Path(job.run)), Bundle.load(Path(job.bundle))
    service = PackGenerator(run, bundle)
    keys = load_public_keys(public_keys(load_signing_key(Path(job.signing_key))))
    rows = pa.concat_tables([pq.read_table(path) for path in Path(job.out).glob("part-*")]).to_pylist()
    assert sorted(row["device"] for row in rows) == sorted(USERS)
    salted = set()
    for row in rows:
        release = verify_release(
            row["release"], keys, device=row["device"], bundle=bundle.id, newer_than=0, now=NOW
        )
        assert (release.sha256, release.size) == (pack_digest(row["pack"]), len(row["pack"]))
        pack = read_pack(row["pack"], bundle.manifest)
        assert pack.version == release.version == row["version"] == 1
        # Not to the last bit: a population goes through the model in larger batches.
        (served,) = service.packs([USERS[row["device"]]], [1])
        torch.testing.assert_close(pack.parameters, read_pack(served, bundle.manifest).parameters)
        salted.add(pack.generator)
    assert len(salted) == len(USERS), "equal contexts would give equal hashes"


def test_a_killed_generation_goes_on_with_what_is_missing(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_parts, "ROWS_A_PART", 8)
    real, writes = ObjectStore.write, iter(range(100))

    class Killed(BaseException):
        pass

    def killed(store: ObjectStore, files: dict[str, bytes]) -> None:
        if next(writes) == 4:
            raise Killed
        real(store, files)

    with monkeypatch.context() as patch:
        patch.setattr(ObjectStore, "write", killed)
        with pytest.raises(Killed):
            generate(job, "local")
    left = parts(job)
    assert len(left) == 3
    assert generate(job, "local") == Done(generated=50 - 20, before=20)
    assert parts(job).items() >= left.items()
    whole = parts(job)
    assert generate(job, "local") == Done(generated=0, before=50)
    assert parts(job) == whole
    devices = [
        device
        for path in Path(job.out).glob("part-*")
        for device in pq.read_table(path)["device"].to_pylist()
    ]
    assert sorted(devices) == sorted(USERS)


def test_several_processes_write_the_same_bytes(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate(job, "local")
    monkeypatch.setattr(bulk, "USERS_A_PROCESS", 10)
    there, heard = Job(**{**vars(job), "out": str(tmp_path / "there")}), list[int]()
    assert generate(there, "local", heard.append) == Done(generated=50, before=0)
    assert sorted(heard) == [10, 20, 20]
    assert parts(there) == parts(job)
    lost = Job(**{**vars(job), "out": str(tmp_path / "lost"), "run": str(tmp_path / "nowhere")})
    with pytest.raises(UserError, match="nowhere"):
        generate(lost, "local")


def test_ray_writes_the_same_bytes(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # else they yield to the other tests for minutes
    generate(job, "local")
    there = Job(**{**vars(job), "out": str(tmp_path / "ray")})
    assert generate(there, "ray") == Done(generated=50, before=0)
    assert parts(there) == parts(job)
    assert (Path(there.out) / FACTS).read_bytes() == (Path(job.out) / FACTS).read_bytes()
    import ray

    ray.shutdown()


def test_mistakes_are_told_before_anything_is_made(job: Job, tmp_path: Path) -> None:
    bulk.plan(job)
    with pytest.raises(UserError, match="begun with another issued_at"):
        bulk.plan(Job(**{**vars(job), "issued_at": NOW + 1}))
    write_contexts(tmp_path / "contexts" / "c.parquet", list(USERS)[:1], version=2)
    with pytest.raises(UserError, match="device 0000 stands in the contexts twice"):
        bulk.plan(job)
    pq.write_table(pa.table({"device": ["a"]}), tmp_path / "contexts" / "c.parquet")
    with pytest.raises(UserError, match="no column samples"):
        bulk.plan(job)
    (tmp_path / "contexts" / "c.parquet").write_bytes(b"not parquet")
    for contexts in (job.contexts, str(tmp_path / "nowhere"), str(tmp_path / "out")):
        with pytest.raises(UserError):
            bulk.plan(Job(**{**vars(job), "contexts": contexts}))


def test_a_user_whose_samples_cannot_be_read_costs_nobody_else_anything(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(USERS, "0007", [999_999])
    write_contexts(Path(job.contexts) / "a.parquet", list(USERS)[:30])
    assert generate(job, "local") == Done(generated=49, before=0, refused=1)
    (left_out,) = Path(job.out).glob("refused-*.json")
    (refused,) = json.loads(left_out.read_text())
    assert refused["device"] == "0007"
    assert "999999" in refused["reason"]
    rows = pa.concat_tables([pq.read_table(path) for path in Path(job.out).glob("part-*")])
    assert sorted(rows["device"].to_pylist()) == sorted(set(USERS) - {"0007"})
    assert generate(job, "local") == Done(generated=0, before=49, refused=1)


@pytest.mark.parametrize("samples", [[], None])
def test_a_user_without_samples_gets_no_release(
    job: Job, monkeypatch: pytest.MonkeyPatch, samples: list[int] | None
) -> None:
    monkeypatch.setitem(USERS, "0007", samples)
    write_contexts(Path(job.contexts) / "a.parquet", list(USERS)[:30])
    assert generate(job, "local").refused == 1
    (left_out,) = Path(job.out).glob("refused-*.json")
    reason = "there are no samples to generate weights from"
    assert json.loads(left_out.read_text()) == [{"device": "0007", "reason": reason}]


@pytest.mark.parametrize("device", ["../evil", "a/b", "", None, "a" * 65])
def test_a_device_that_no_server_admits_is_told_before_anything_is_made(job: Job, device: str | None) -> None:
    path = Path(job.contexts) / "c.parquet"
    pq.write_table(pa.table({"device": [device], "samples": [[1]]}), path)
    with pytest.raises(UserError, match=r"c\.parquet: .* is no device id"):
        bulk.plan(job)


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        (
            pa.array(["x", "0000"]).dictionary_encode(),
            r"c\.parquet: device 0000 stands in the contexts twice",
        ),
        (pa.array([7, 8]), r"c\.parquet: column device, of type int64, is no device id"),
    ],
)
def test_devices_are_text_also_of_a_dictionary(job: Job, devices: pa.Array, message: str) -> None:
    pq.write_table(pa.table({"device": devices, "samples": [[1], [1]]}), Path(job.contexts) / "c.parquet")
    with pytest.raises(UserError, match=message):
        bulk.plan(job)


def test_a_row_group_of_many_parts_is_read_a_part_at_a_time(
    job: Job, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bulk_parts, "ROWS_A_PART", 7)
    path = tmp_path / "one.parquet"
    pq.write_table(pa.table({"device": list(USERS), "samples": list(USERS.values())}), path)
    one = Job(**{**vars(job), "contexts": str(path)})
    assert generate(one, "local") == Done(generated=50, before=0)
    tables = [pq.read_table(part) for part in sorted(Path(job.out).glob("part-*"))]
    assert [len(table) for table in tables] == [7] * 7 + [1]
    assert pa.concat_tables(tables)["device"].to_pylist() == list(USERS)


def test_a_version_that_is_none_is_told_before_anything_is_made(job: Job) -> None:
    path = Path(job.contexts) / "c.parquet"
    pq.write_table(pa.table({"device": ["x"], "samples": [[1]], "version": [0]}), path)
    with pytest.raises(UserError, match="device x has version 0"):
        bulk.plan(job)
