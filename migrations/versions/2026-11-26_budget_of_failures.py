"""Failures that are worth another attempt, and when that may begin."""

import sqlalchemy as sa
from alembic import op

revision = "8c41d6a07be3"
down_revision = "5d0c7e1f2a94"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("failures", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("due_at", sa.Double(), nullable=True))


def downgrade() -> None:
    # Made anew and dropped on SQLite, the table would take all events along.
    with op.batch_alter_table("jobs", schema=None, recreate="never") as batch_op:
        batch_op.drop_column("due_at")
        batch_op.drop_column("failures")
