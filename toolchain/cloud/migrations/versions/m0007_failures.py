"""How often no weights came of what a device sent."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the column."""
    with op.batch_alter_table("devices") as devices:
        devices.add_column(sa.Column("failures", sa.Integer, nullable=False, server_default="0"))
