"""Several bundles a device, roll-outs, restored versions, the history of releases and the audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
LONG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add the tables and columns, and carry over what is there."""
    op.create_table(
        "rollouts",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("devices", sa.JSON(none_as_null=True)),
        sa.Column("percent", sa.Double, nullable=False),
        sa.Column("stop_above", sa.Double, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("started_at", sa.Double, nullable=False),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("detail", sa.JSON, nullable=False),
    )
    _extend_devices()
    op.create_index("ix_contexts_uploaded_at", "contexts", ["uploaded_at"])
    op.create_table(
        "installations",
        sa.Column("device", sa.String, sa.ForeignKey("devices.id"), primary_key=True),
        sa.Column("bundle", sa.String, primary_key=True),
    )
    op.execute("INSERT INTO installations (device, bundle) SELECT id, bundle FROM devices")
    _replace_releases()
    op.execute(
        "UPDATE devices SET pending = true WHERE version > 0 AND NOT EXISTS "
        "(SELECT 1 FROM releases WHERE device = devices.id AND releases.version = devices.version)"
    )


def _extend_devices() -> None:
    with op.batch_alter_table("devices") as devices:
        devices.alter_column("token_sha256", existing_type=sa.String, nullable=True)
        devices.add_column(sa.Column("pending", sa.Boolean, nullable=False, server_default=sa.false()))
        devices.add_column(sa.Column("wanted_at", sa.Double, nullable=False, server_default="0"))
        devices.add_column(sa.Column("restores", sa.Integer))
        devices.add_column(sa.Column("rollout", sa.Integer))
        devices.create_foreign_key("devices_rollout_fkey", "rollouts", ["rollout"], ["id"])
    pending = sa.text("pending = true")
    op.create_index(
        "devices_pending", "devices", ["wanted_at"], sqlite_where=pending, postgresql_where=pending
    )
    op.create_index("devices_rollout", "devices", ["rollout"])


def _replace_releases() -> None:
    """Releases get an id, their bundle and a history; a table's key cannot be changed in place."""
    op.drop_index("ix_releases_sha256", "releases")
    op.rename_table("releases", "old_releases")
    op.create_table(
        "releases",
        sa.Column("id", LONG, primary_key=True, autoincrement=True),
        sa.Column("device", sa.String, sa.ForeignKey("devices.id"), nullable=False),
        sa.Column("bundle", sa.String, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("sha256", sa.String, nullable=False),
        sa.Column("rollout", sa.Integer, sa.ForeignKey("rollouts.id"), index=True),
        sa.Column("issued_at", LONG, nullable=False, index=True),
        sa.Column("expires_at", LONG, nullable=False),
        sa.Column("jws", sa.String),
        sa.Column("outcome", sa.String),
        sa.UniqueConstraint("device", "bundle", "version", name="one_release_a_version"),
        sqlite_autoincrement=True,
    )
    op.execute(
        "INSERT INTO releases (device, bundle, version, sha256, issued_at, expires_at, jws) "
        "SELECT old.device, devices.bundle, old.version, old.sha256, 0, old.expires_at, old.jws "
        "FROM old_releases AS old JOIN devices ON devices.id = old.device ORDER BY old.device, old.version"
    )
    op.drop_table("old_releases")
