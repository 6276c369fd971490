"""Evaluations: the versions that a job compares."""

import sqlalchemy as sa
from alembic import op

revision = "6ad15c3e90f7"
down_revision = "b83d5e07c1fa"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "job_versions",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_job_versions_job_id_jobs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "version", name=op.f("pk_job_versions")),
    )


def downgrade() -> None:
    op.drop_table("job_versions")
    # A worker of the older release knows no such kind of job.
    op.execute("delete from job_events where job_id in (select id from jobs where kind = 'evaluate')")
    op.execute("delete from jobs where kind = 'evaluate'")
