"""Cohorts, and packs that are pushed as they are: stored once, for many devices."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the columns; every pack so far is of one device."""
    with op.batch_alter_table("devices") as devices:
        devices.add_column(sa.Column("cohort", sa.String))
    op.create_index("devices_cohort", "devices", ["cohort"])
    with op.batch_alter_table("releases") as releases:
        releases.add_column(sa.Column("shared", sa.Boolean, nullable=False, server_default=sa.false()))
    with op.batch_alter_table("rollouts") as rollouts:
        for name, kind in (
            ("cohort", sa.String),
            ("pack", sa.String),
            ("bundle", sa.String),
            ("version", sa.Integer),
        ):
            rollouts.add_column(sa.Column(name, kind))
