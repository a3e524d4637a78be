"""What a database knows of itself, and when a device's version was last raised above the server's."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the table and the column."""
    op.create_table(
        "facts",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("value", sa.String, nullable=False),
    )
    with op.batch_alter_table("devices") as devices:
        devices.add_column(sa.Column("raised_at", sa.Double, nullable=False, server_default="0"))
        devices.add_column(sa.Column("backed_up", sa.Integer))
