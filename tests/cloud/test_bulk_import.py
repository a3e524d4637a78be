"""What was generated in bulk reaches the phones that it is newer for, once, and nobody else."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from joserfc.jwk import ECKey

from mnet.export.format.packs import pack_digest
from mnet.toolchain.cloud.bulk_import import Imported, import_part, parts
from mnet.toolchain.cloud.database import Database
from mnet.toolchain.cloud.ledger import Added, Issued, Ledger
from mnet.toolchain.cloud.pack_store import PackStore
from mnet.toolchain.cloud.registry import Registry
from mnet.toolchain.cloud.signing_keys import create_signing_key
from mnet.toolchain.contract.keys import load_public_keys, public_keys
from mnet.toolchain.contract.release import Release, sign_release
from mnet.toolchain.errors import UserError

NOW = 1_700_000_000


def write_part(path: Path, key: ECKey, versions: dict[str, int], **changed: object) -> None:
    """A part as `mnet generate` leaves it."""
    rows = []
    for device, version in versions.items():
        pack = f"weights {version} of {device}".encode()
        release = Release(device, "bundle", version, pack_digest(pack), len(pack), NOW, NOW + 60)
        facts = {"device": device, "bundle": "bundle", "version": version, "pack": pack}
        rows.append(facts | {"release": sign_release(key, release)} | changed)
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def test_only_what_is_newer_is_published_and_only_once(database: Database, tmp_path: Path) -> None:
    key, out = create_signing_key(tmp_path / "signing.pem"), str(tmp_path / "out")
    registry, ledger = Registry(database), Ledger(database)
    packs, keys = PackStore(str(tmp_path / "packs")), load_public_keys(public_keys(key))
    for device in ("aa", "bb", "cc"):
        registry.enrol(device, "hash", "bundle")
    for _ in range(3):
        ledger.add_context("bb", [1])  # it has uploaded since: version 3 is on its way
    write_part(tmp_path / "out" / "part-0.parquet", key, {"aa": 1, "bb": 3, "cc": 7, "dd": 1})
    (name,) = parts(out)
    assert import_part(out, name, keys, ledger, packs) == Imported(published=2, left_out=2)
    assert import_part(out, name, keys, ledger, packs) == Imported(published=0, left_out=4)
    assert len(list((tmp_path / "packs").iterdir())) == 2, (
        "neither a stray one, nor one of the published lost"
    )
    for device in ("aa", "cc"):
        assert ledger.release_after(device, "bundle", 0) is not None
        (release,) = ledger.history(device)
        assert packs.read(device, release["sha256"]) == f"weights {release['version']} of {device}".encode()
    assert ledger.release_after("bb", "bundle", 0) is None
    assert [each.device for each in ledger.wanted(["aa", "bb", "cc"])] == ["bb"]
    assert ledger.add_context("cc", [2]) == 8


def test_what_is_damaged_or_of_another_server_is_told(database: Database, tmp_path: Path) -> None:
    key, other = (create_signing_key(tmp_path / name) for name in ("signing.pem", "other.pem"))
    ledger, packs, out = Ledger(database), PackStore(str(tmp_path / "packs")), str(tmp_path / "out")
    keys = load_public_keys(public_keys(key))
    with pytest.raises(UserError, match="no generated parts"):
        parts(out)
    part = tmp_path / "out" / "part-0.parquet"
    for write in (
        lambda: write_part(part, other, {"aa": 1}),
        lambda: write_part(part, key, {"aa": 1}, version=2),
        lambda: write_part(part, key, {"aa": 1}, pack=b"other weights"),
        lambda: part.write_bytes(b"not parquet"),
    ):
        write()
        with pytest.raises(UserError, match="damaged"):
            import_part(out, part.name, keys, ledger, packs)


def test_an_accepted_upload_comes_before_what_was_generated_in_bulk(database: Database) -> None:
    registry, ledger = Registry(database), Ledger(database)
    registry.enrol("aa", "hash", "bundle")
    assert ledger.add_context("aa", [1]) == 1
    bulk = [Issued(Release("aa", "bundle", 5, "5" * 64, 1, NOW, NOW + 60), "bulk")]
    assert ledger.import_releases(bulk) == Added([], [("aa", "5" * 64)])
    assert [each.version for each in ledger.wanted(["aa"])] == [1]


def test_every_bundle_of_a_device_gets_the_version_that_was_generated(database: Database) -> None:
    registry, ledger = Registry(database), Ledger(database)
    registry.enrol("aa", "hash", "bundle")
    registry.install("aa", ["bundle", "other"])
    for bundle in ("bundle", "other"):
        bulk = [Issued(Release("aa", bundle, 1, bundle, 1, NOW, NOW + 60), bundle)]
        assert ledger.import_releases(bulk).published == bulk
        assert ledger.import_releases(bulk) == Added([], [])
        assert ledger.release_after("aa", bundle, 0) == bundle
