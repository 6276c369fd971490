"""Room for the names of all devices of a worker."""

import sqlalchemy as sa
from alembic import op

revision = "e1b7c94a20d5"
down_revision = "c27e90b4d1f6"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("workers", schema=None) as batch_op:
        batch_op.alter_column(
            "device", type_=sa.String(length=255), existing_type=sa.String(length=64), existing_nullable=False
        )


def downgrade() -> None:
    # A worker that lives writes its row again within seconds.
    op.execute("delete from workers where length(device) > 64")
    with op.batch_alter_table("workers", schema=None) as batch_op:
        batch_op.alter_column(
            "device", type_=sa.String(length=64), existing_type=sa.String(length=255), existing_nullable=False
        )
