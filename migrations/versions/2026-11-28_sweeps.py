"""Sweeps: what they search, and the runs of their trials."""

import sqlalchemy as sa
from alembic import op

revision = "c27e90b4d1f6"
down_revision = "8c41d6a07be3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("jobs", schema=None, recreate="never") as batch_op:
        batch_op.add_column(sa.Column("search", sa.JSON(), nullable=True))
        batch_op.add_column(sa.Column("sweep_id", sa.String(length=40), nullable=True))
        batch_op.add_column(sa.Column("trial", sa.JSON(), nullable=True))
        batch_op.add_column(sa.Column("outcome", sa.JSON(), nullable=True))
        batch_op.create_index("ix_jobs_sweep_id", ["sweep_id"], unique=False)


def downgrade() -> None:
    # A worker of the older release would claim a sweep as if it were a training.
    op.execute("delete from job_events where job_id in (select id from jobs where kind = 'sweep')")
    op.execute("delete from jobs where kind = 'sweep'")
    # Columns go one by one: made anew and dropped on SQLite, the table would take all events along.
    with op.batch_alter_table("jobs", schema=None, recreate="never") as batch_op:
        batch_op.drop_index("ix_jobs_sweep_id")
        batch_op.drop_column("outcome")
        batch_op.drop_column("trial")
        batch_op.drop_column("sweep_id")
        batch_op.drop_column("search")
