"""The memory that a worker has for a training."""

import sqlalchemy as sa
from alembic import op

revision = "d3c81f60b5e9"
down_revision = "9b07e35ad2c8"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("workers", schema=None) as batch_op:
        batch_op.add_column(sa.Column("memory_bytes", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("workers", schema=None) as batch_op:
        batch_op.drop_column("memory_bytes")
