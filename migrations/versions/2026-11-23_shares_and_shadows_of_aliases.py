"""Shares and shadows of aliases."""

import sqlalchemy as sa
from alembic import op

revision = "5d0c7e1f2a94"
down_revision = "baf3be129779"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("aliases", schema=None) as batch_op:
        batch_op.add_column(sa.Column("split", sa.JSON(none_as_null=True), nullable=True))
        batch_op.add_column(sa.Column("shadow", sa.Integer(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("aliases", schema=None) as batch_op:
        batch_op.drop_column("shadow")
        batch_op.drop_column("split")
