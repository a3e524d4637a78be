"""Which releases' packs were fetched, and which permissions to enrol were used."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the column and the table; what was reported so far is believed to have been fetched."""
    with op.batch_alter_table("releases") as releases:
        releases.add_column(sa.Column("fetched", sa.Boolean, nullable=False, server_default=sa.false()))
    op.execute("UPDATE releases SET fetched = true WHERE outcome IS NOT NULL")
    op.create_table(
        "used_permissions",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("expires_at", sa.Double, nullable=False),
    )
    op.create_index("ix_used_permissions_expires_at", "used_permissions", ["expires_at"])
