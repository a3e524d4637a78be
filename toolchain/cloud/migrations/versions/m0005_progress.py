"""How far each roll-out is, so that any replica can resume it."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the columns; the roll-outs so far are as far as they will go."""
    with op.batch_alter_table("rollouts") as rollouts:
        rollouts.add_column(sa.Column("asked", sa.Double, nullable=False, server_default="0"))
        rollouts.add_column(sa.Column("cursor", sa.String))
        rollouts.add_column(sa.Column("reached", sa.Integer, nullable=False, server_default="0"))
    op.create_index("ix_rollouts_state", "rollouts", ["state"])
    op.execute("UPDATE rollouts SET asked = percent")
    op.execute(
        "UPDATE rollouts SET reached = "
        "(SELECT count(DISTINCT device) FROM releases WHERE releases.rollout = rollouts.id)"
    )
