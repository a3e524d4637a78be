"""Operators by name, pushes that a second one approves, and an audit log chained by hashes."""

import hashlib
import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
_AT_ONCE = 1000


def upgrade() -> None:
    """Add the tables and columns, and chain the entries that are there."""
    op.create_table(
        "operators",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("key_sha256", sa.String, nullable=False, unique=True),
        sa.Column("added_at", sa.Double, nullable=False),
    )
    op.create_table(
        "audit_chains",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("head", sa.String, nullable=False),
        sa.Column("pruned", sa.String, nullable=False),
    )
    with op.batch_alter_table("rollouts") as rollouts:
        rollouts.add_column(sa.Column("proposed", sa.Double))
        rollouts.add_column(sa.Column("proposed_by", sa.String))
    with op.batch_alter_table("audit") as audit:
        audit.add_column(sa.Column("operator", sa.String))
        for name in ("chain", "previous", "hash"):
            audit.add_column(sa.Column(name, sa.String, nullable=False, server_default=""))
    op.create_index("audit_chain_id", "audit", ["chain", "id"])
    _chain()


def _chain() -> None:
    connection = op.get_bind()
    entries = sa.table(
        "audit",
        sa.column("id", sa.Integer),
        sa.column("at", sa.Double),
        sa.column("actor", sa.String),
        sa.column("action", sa.String),
        sa.column("detail", sa.JSON),
        *(sa.column(name, sa.String) for name in ("chain", "previous", "hash")),
    )
    heads, last = {"people": "", "machines": ""}, 0
    read = sa.select(entries.c.id, entries.c.at, entries.c.actor, entries.c.action, entries.c.detail)
    bound: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in ("chain", "previous", "hash")}
    write = sa.update(entries).where(entries.c.id == sa.bindparam("of")).values(bound)
    while rows := connection.execute(
        read.where(entries.c.id > last).order_by(entries.c.id).limit(_AT_ONCE)
    ).all():
        changes = []
        for row in rows:
            chain = "people" if row.actor == "operator" or row.action == "erased" else "machines"
            content = [heads[chain], row.at, row.actor, None, row.action, row.detail]
            kept = json.dumps(content, sort_keys=True, separators=(",", ":"))
            new = hashlib.sha256(kept.encode()).hexdigest()
            changes.append({"of": row.id, "new_chain": chain, "new_previous": heads[chain], "new_hash": new})
            heads[chain] = new
        connection.execute(write, changes)
        last = rows[-1].id
    chains = sa.table("audit_chains", *(sa.column(name, sa.String) for name in ("name", "head", "pruned")))
    op.bulk_insert(chains, [{"name": name, "head": head, "pruned": ""} for name, head in heads.items()])
