"""Losses since a job last stored progress: only these are charged."""

import sqlalchemy as sa
from alembic import op

revision = "4f9a2c81d7b6"
down_revision = "e1b7c94a20d5"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("jobs", schema=None, recreate="never") as batch_op:
        batch_op.add_column(sa.Column("stored_steps", sa.BigInteger(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("excused_crashes", sa.Integer(), server_default="0", nullable=False))


def downgrade() -> None:
    # Made anew and dropped on SQLite, the table would take all events along.
    with op.batch_alter_table("jobs", schema=None, recreate="never") as batch_op:
        batch_op.drop_column("excused_crashes")
        batch_op.drop_column("stored_steps")
