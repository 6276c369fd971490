"""An index by which expired idempotency keys are found."""

from alembic import op

revision = "71e4d9a3c5f0"
down_revision = "d3c81f60b5e9"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_idempotency_keys_created_at", table_name="idempotency_keys")
