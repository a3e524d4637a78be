"""Which of the server's statements of keys each device has learnt."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column; a device says what it has learnt when it polls."""
    with op.batch_alter_table("devices") as devices:
        devices.add_column(sa.Column("keys", sa.Integer, nullable=False, server_default="0"))
