"""A phone, and the scripted cloud that it asks."""

from pathlib import Path

import pytest

from export.bundle import Bundle
from tests.fleet.scripted import Cloud, ScriptedClient, start, take
from toolchain.cloud.generation import PackGenerator
from toolchain.cloud.keys import create_signing_key
from toolchain.fleet.phone import Phone
from toolchain.training.run import load_run


@pytest.fixture(scope="module")
def cloud(tiny_run: Path, tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Cloud:
    folder = tmp_path_factory.mktemp("cloud")
    bundle = Bundle.load(tiny_bundle)
    generator = PackGenerator(load_run(tiny_run), bundle)
    keys = [create_signing_key(folder / name) for name in ("signing.pem", "other.pem")]
    return Cloud(bundle, generator, keys[0], keys[1])


@pytest.fixture
def client(cloud: Cloud) -> ScriptedClient:
    return ScriptedClient(cloud)


@pytest.fixture
def phone(cloud: Cloud, client: ScriptedClient, tmp_path: Path) -> Phone:
    """Enrolled, and running version 1."""
    phone, _ = start(cloud, tmp_path)
    phone.enrol(client, "key")
    take(phone, client, 1)
    return phone
