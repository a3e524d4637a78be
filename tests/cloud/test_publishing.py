"""Generation that fails costs a release, not a context and not the server."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from export.bundle import Bundle
from toolchain.cloud.database import Database
from toolchain.cloud.generation import PackGenerator
from toolchain.cloud.keys import create_signing_key
from toolchain.cloud.packs import PackFolder
from toolchain.cloud.publishing import Publisher
from toolchain.errors import UserError
from toolchain.training.run import load_run


class FlakyGenerator(PackGenerator):
    """Fails as long as it is told to."""

    def __init__(self) -> None:
        self.broken = False

    def check(self, samples: Sequence[int]) -> None:
        if 0 in samples:
            raise ValueError("unknown item id 0")

    def pack(self, samples: Sequence[int], version: int) -> bytes:
        if self.broken:
            raise ValueError(f"unknown item id {samples[0]}")
        return f"{samples} as version {version}".encode()


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = Database(f"sqlite:///{tmp_path / 'mnet.db'}")
    database.add_device("phone", "hash", "bundle")
    return database


def publisher(database: Database, folder: Path, generator: PackGenerator, released: list[str]) -> Publisher:
    key = create_signing_key(folder / "signing.pem")
    return Publisher(database, PackFolder(folder / "packs"), generator, key, released.append)


def test_a_failed_generation_keeps_the_context_for_the_next_server(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    generator, released = FlakyGenerator(), list[str]()
    generator.broken = True
    first = publisher(database, tmp_path, generator, released)
    version = first.accept("phone", [4711, 2])
    first._worker.shutdown(wait=True)
    assert (first.last_failed, released, database.unreleased()) == (True, [], ["phone"])
    assert "phone" in caplog.text
    assert "ValueError" in caplog.text
    assert "unknown item id 4711" not in caplog.text, "the message of an error may quote a context"
    generator.broken = False
    second = publisher(database, tmp_path, generator, released)
    second.resume()
    second._worker.shutdown(wait=True)
    assert (second.last_failed, released, database.unreleased()) == (False, ["phone"], [])
    assert database.release_after("phone", version - 1, 0) is not None


def test_samples_that_the_task_cannot_read_are_never_stored(database: Database, tmp_path: Path) -> None:
    refusing = publisher(database, tmp_path, FlakyGenerator(), [])
    with pytest.raises(ValueError, match="unknown item id 0"):
        refusing.accept("phone", [0])
    assert database.unreleased() == []
    refusing.close()


def test_a_bundle_of_another_checkpoint_is_the_users_mistake(tiny_run: Path, tiny_bundle: Path) -> None:
    other = replace(load_run(tiny_run), fingerprint="0" * 64)
    with pytest.raises(UserError, match="export the run again"):
        PackGenerator(other, Bundle.load(tiny_bundle))


def test_weights_that_are_not_finite_are_never_packed(tiny_run: Path, tiny_bundle: Path) -> None:
    run = load_run(tiny_run)
    generator = PackGenerator(run, Bundle.load(tiny_bundle))
    assert generator.pack([1, 2, 3], 1) == generator.pack([1, 2, 3], 1)
    with torch.no_grad():
        next(run.metanetwork.generator.parameters()).fill_(float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        generator.pack([1, 2, 3], 1)
