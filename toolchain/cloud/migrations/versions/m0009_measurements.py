"""What apps measure of releases, and the devices that a push holds out to compare with."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the table and the columns; the roll-outs so far held nobody out."""
    op.create_table(
        "measurements",
        sa.Column("device", sa.String, sa.ForeignKey("devices.id"), primary_key=True),
        sa.Column("bundle", sa.String, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("metric", sa.String, primary_key=True),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("sum", sa.Double, nullable=False),
        sa.Column("squares", sa.Double, nullable=False),
        sa.Column("reported_at", sa.Double, nullable=False),
    )
    op.create_index("ix_measurements_reported_at", "measurements", ["reported_at"])
    with op.batch_alter_table("rollouts") as rollouts:
        rollouts.add_column(sa.Column("hold_out", sa.Double, nullable=False, server_default="0"))
        rollouts.add_column(sa.Column("held_on", sa.String, nullable=False, server_default="previous"))
        rollouts.add_column(sa.Column("metric", sa.String))
        rollouts.add_column(sa.Column("stop_below", sa.Double))
    with op.batch_alter_table("releases") as releases:
        releases.add_column(sa.Column("held_out", sa.Integer))
        releases.create_foreign_key("releases_held_out", "rollouts", ["held_out"], ["id"])
    op.create_index("ix_releases_held_out", "releases", ["held_out"])
