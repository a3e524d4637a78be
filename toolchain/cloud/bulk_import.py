"""What `mnet generate` made, published: its packs into the server's store, its releases into the server's database."""

import io
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from joserfc.jwk import KeySet

from mnet.export.format.errors import Refused
from mnet.toolchain.cloud.ledger import Issued, Ledger
from mnet.toolchain.cloud.pack_store import PackStore
from mnet.toolchain.contract.release import Release, verify_release
from mnet.toolchain.errors import UserError
from mnet.toolchain.object_store import ObjectStore


@dataclass(frozen=True)
class Imported:
    """Users whose phones get what was generated, and those left out: not known, waiting, or given something newer."""

    published: int
    left_out: int


def parts(out: str) -> list[str]:
    """The names of the parts in the output of a generation; UserError if there are none."""
    names = sorted(ObjectStore(out).names("part-"))
    if not names:
        raise UserError(f"there are no generated parts in {out}: `mnet generate` makes them")
    return names


def import_part(out: str, name: str, keys: KeySet, ledger: Ledger, packs: PackStore) -> Imported:
    """Publish one part, signed by one of `keys`; again, it changes nothing. Raises UserError for a damaged part."""
    try:
        rows = pq.read_table(io.BytesIO(ObjectStore(out).read(name))).to_pylist()
        issued = [Issued(_verified(row, keys), row["release"]) for row in rows]
        data = [(row["device"], row["pack"]) for row in rows]
    except (pa.ArrowInvalid, KeyError, Refused) as error:
        raise UserError(f"{out}/{name} is damaged, or of another server: {error}") from error
    digests = packs.put_all(data)
    if digests != [each.release.sha256 for each in issued]:
        raise UserError(f"{out}/{name} is damaged: a pack is not the one that its release names")
    added = ledger.import_releases(issued)
    packs.discard(added.useless)
    return Imported(len(added.published), len(issued) - len(added.published))


def _verified(row: dict[str, Any], keys: KeySet) -> Release:
    return verify_release(
        row["release"],
        keys,
        device=row["device"],
        bundle=row["bundle"],
        newer_than=row["version"] - 1,
        now=None,
    )
