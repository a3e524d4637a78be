"""A phone, and the scripted cloud that it asks."""

from pathlib import Path

import pytest

from mnet.export.format.bundle import Bundle
from mnet.toolchain.cloud.generation import PackGenerator
from mnet.toolchain.cloud.signing_keys import create_signing_key
from mnet.toolchain.phone.phone import Phone
from mnet.toolchain.training.run import load_run
from tests.phone.scripted import Cloud, ScriptedClient, start, take


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
