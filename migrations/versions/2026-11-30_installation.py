"""The installation's id, by which it knows its store."""

import sqlalchemy as sa
from alembic import op

revision = "9b07e35ad2c8"
down_revision = "4f9a2c81d7b6"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "installation",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("marks", sa.BigInteger(), nullable=False),
        sa.Column("marked_at", sa.Double(), nullable=True),
        sa.Column("restored", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_installation")),
    )


def downgrade() -> None:
    op.drop_table("installation")
