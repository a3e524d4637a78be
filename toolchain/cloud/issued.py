"""Signed releases as rows of their table: inserted once, and which packs they still name."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, tuple_, union

from mnet.toolchain.cloud import queries
from mnet.toolchain.cloud.pack_store import SHARED
from mnet.toolchain.cloud.tables import IssuedRelease, Rollout
from mnet.toolchain.contract.release import Release

_KEY = IssuedRelease.device, IssuedRelease.bundle, IssuedRelease.version
_GIVEN = select(*_KEY).where(tuple_(*_KEY).in_(bindparam("keys", expanding=True)))
_INSERT = insert(IssuedRelease)
Rows = dict[tuple[str, str, int], dict[str, Any]]  # by device, bundle and version


@dataclass(frozen=True)
class Issued:
    """A signed release, with the roll-out that its weights are of, whether its pack is stored for many devices, and the
    roll-out that its device is held out of.
    """

    release: Release
    jws: str
    rollout: int | None = None
    shared: bool = False
    held_out: int | None = None


def ended(connection: Connection, rollouts: Collection[int | None]) -> set[int]:
    """Those of these roll-outs that are over; the others run until the transaction ends."""
    named = sorted(rollout for rollout in rollouts if rollout is not None)
    if not named:
        return set()
    query = select(Rollout.id, Rollout.state).where(Rollout.id.in_(named)).order_by(Rollout.id)
    rows = connection.execute(query.with_for_update(read=True))
    return {rollout for rollout, state in rows if state != queries.RUNNING}


def already_given(
    connection: Connection, wanted: Collection[tuple[str, str, int]]
) -> set[tuple[str, str, int]]:
    """Those of these keys that a release was inserted for."""
    return set(connection.execute(_GIVEN, {"keys": list(wanted)}).tuples())


def rows_of(issued: Sequence[Issued]) -> Rows:
    """A row of the table for each, by its unique key."""
    return {
        key_of(each): {
            "device": each.release.device,
            "bundle": each.release.bundle,
            "version": each.release.version,
            "sha256": each.release.sha256,
            "issued_at": each.release.issued_at,
            "expires_at": each.release.expires_at,
            "jws": each.jws,
            "rollout": each.rollout,
            "shared": each.shared,
            "held_out": each.held_out,
        }
        for each in issued
    }


def named_packs(connection: Connection, packs: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those of these packs, by owner and SHA-256, that a kept release or, if shared, a running roll-out names."""
    of = IssuedRelease.device, IssuedRelease.sha256
    query = select(*of).where(tuple_(*of).in_(list(packs)), IssuedRelease.jws.is_not(None))
    found = set(connection.execute(query).tuples())
    if shared := [sha256 for owner, sha256 in packs if owner == SHARED]:
        released = select(IssuedRelease.sha256).where(
            IssuedRelease.shared, IssuedRelease.sha256.in_(shared), IssuedRelease.jws.is_not(None)
        )
        pushed = select(Rollout.pack).where(Rollout.pack.in_(shared), Rollout.state == queries.RUNNING)
        found |= {(SHARED, sha256) for sha256 in connection.scalars(union(released, pushed))}
    return found


def key_of(issued: Issued) -> tuple[str, str, int]:
    """Device, bundle and version."""
    return issued.release.device, issued.release.bundle, issued.release.version


def insert_new(
    connection: Connection, rows: Rows, new: Rows, devices: Sequence[str]
) -> list[tuple[str, str]]:
    """Insert those of the rows that are `new`; returns the packs of no use: superseded, or left out."""
    if new:
        connection.execute(_INSERT, list(new.values()))
    connection.execute(queries.DONE, {"devices": devices})
    left_out = {(row["device"], row["sha256"]) for key, row in rows.items() if key not in new}
    useless = list(left_out - named_packs(connection, left_out)) if left_out else []
    superseded = connection.execute(queries.FORGET_SUPERSEDED, {"devices": devices})
    return [*useless, *superseded.tuples()]
