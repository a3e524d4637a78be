"""Contexts at rest tell nothing without the deployment's key, nor do the hashes of the packs that were made of them."""

from pathlib import Path

import httpx
import pytest
import torch

from mnet.export.format.bundle import Bundle
from mnet.export.format.packs import pack_digest, read_pack
from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.facts import sealing_key
from mnet.toolchain.cloud.generation import PackGenerator
from mnet.toolchain.cloud.ledger import Ledger
from mnet.toolchain.cloud.registry import Registry
from mnet.toolchain.cloud.sealing import Sealer
from mnet.toolchain.cloud.signing_keys import read_key
from mnet.toolchain.errors import UserError
from mnet.toolchain.fleet.processes import ServerProcess
from mnet.toolchain.training.run import load_run
from tests.cloud.callers import enrol

CONTEXT = [987654321] * 20


def test_a_context_is_sealed_and_comes_back(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'mnet.db'}")
    sealer = Sealer("key")
    for device in ("a", "b", "old"):
        Registry(database).enrol(device, "hash", "bundle")
    Ledger(database).add_context("old", [1, 2])
    ledger = Ledger(database, sealer)
    for device in ("a", "b"):
        ledger.add_context(device, CONTEXT)
    samples = {each.device: each.samples for each in ledger.wanted(["a", "b", "old"])}
    assert samples == {"a": CONTEXT, "b": CONTEXT, "old": [1, 2]}
    other = {each.device: each.samples for each in Ledger(database, Sealer("other")).wanted(["a"])}
    assert other == {"a": None}
    sealing_key(database, sealer)
    sealing_key(database, sealer)
    with pytest.raises(UserError, match="the 3 contexts of this database are sealed by the key"):
        sealing_key(database, Sealer("other"))
    database.scrub()
    database.close()
    assert not [path for path in tmp_path.glob("mnet.db*") if b"987654321" in path.read_bytes()]


def test_a_sealed_context_is_of_its_device_and_never_twice_the_same() -> None:
    sealer = Sealer("key")
    assert sealer.seal("a", CONTEXT) != sealer.seal("a", CONTEXT)
    assert sealer.open("a", sealer.seal("a", CONTEXT)) == CONTEXT
    assert sealer.open("b", sealer.seal("a", CONTEXT)) is None
    assert sealer.open("a", "no base64") is None


def test_neither_equal_contexts_nor_a_guessed_one_show_in_the_hashes_of_packs(
    http: httpx.Client, server: ServerProcess, bundle: Bundle, tiny_run: Path
) -> None:
    context = [3, 14, 15, 92]
    found: dict[str, bytes] = {}
    for _ in range(2):
        device = enrol(http, server, bundle)
        assert device.upload(context) == 1
        release = device.release(bundle.id)
        found[device.id] = device.get(f"/packs/{release.sha256}").content
        assert pack_digest(found[device.id]) == release.sha256
    (one, other), generator = found.values(), PackGenerator(load_run(tiny_run), bundle)
    guessed, unsalted = generator.packs([context], [1], salts=["0" * 32]) + generator.packs([context], [1])
    assert len({pack_digest(pack) for pack in (one, other, guessed, unsalted)}) == 4
    weights = [read_pack(pack, bundle.manifest).parameters for pack in (one, other, unsalted)]
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=0)
    torch.testing.assert_close(weights[0], weights[2])
    # With the key of the deployment it is the same on each replica, so that a version made twice is one pack.
    sealer = Sealer(read_key(server.enrolment_key.with_name("contexts.key")))
    for name, pack in found.items():
        assert generator.packs([context], [1], salts=[sealer.salt(name)]) == [pack]
