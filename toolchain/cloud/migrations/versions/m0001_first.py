"""Devices, their last context, and the newest releases of each."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "devices",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("token_sha256", sa.String, nullable=False),
        sa.Column("bundle", sa.String, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("enrolled_at", sa.Double, nullable=False),
    )
    op.create_table(
        "contexts",
        sa.Column("device", sa.String, sa.ForeignKey("devices.id"), primary_key=True),
        sa.Column("samples", sa.JSON, nullable=False),
        sa.Column("uploaded_at", sa.Double, nullable=False),
    )
    op.create_table(
        "releases",
        sa.Column("device", sa.String, sa.ForeignKey("devices.id"), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("sha256", sa.String, nullable=False, index=True),
        sa.Column("expires_at", sa.Integer, nullable=False),
        sa.Column("jws", sa.String, nullable=False),
    )
