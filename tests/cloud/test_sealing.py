"""Contexts at rest tell nothing without the deployment's key."""

from pathlib import Path

import pytest

from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.facts import sealing_key
from mnet.toolchain.cloud.ledger import Ledger
from mnet.toolchain.cloud.registry import Registry
from mnet.toolchain.cloud.sealing import Sealer
from mnet.toolchain.errors import UserError

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
