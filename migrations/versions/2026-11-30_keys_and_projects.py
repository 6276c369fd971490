"""Keys, an audit, and the project that everything belongs to."""

import sqlalchemy as sa
from alembic import op

from app.database.engine import db_now

revision = "b83d5e07c1fa"
down_revision = "71e4d9a3c5f0"
branch_labels = None
depends_on = None

DEFAULT = "default"
MODEL_CHILDREN = {"model_versions": ["model", "version"], "aliases": ["model", "alias"]}


def project_column() -> sa.Column[str]:
    return sa.Column("project", sa.String(length=64), server_default=DEFAULT, nullable=False)


def upgrade() -> None:
    op.create_table(
        "keys",
        sa.Column("project", sa.String(length=64), server_default=DEFAULT, nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("prefix", sa.String(length=32), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("requests_per_second", sa.Double(), nullable=True),
        sa.Column("queued_jobs", sa.Integer(), nullable=True),
        sa.Column("running_jobs", sa.Integer(), nullable=True),
        sa.Column("stored_bytes", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.Double(), server_default=db_now(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.Column("revoked_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_keys")),
        sa.UniqueConstraint("prefix", name=op.f("uq_keys_prefix")),
    )
    op.create_table(
        "audit",
        sa.Column("project", sa.String(length=64), server_default=DEFAULT, nullable=False),
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.Double(), server_default=db_now(), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=True),
        sa.Column("key_name", sa.String(length=128), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("object", sa.String(length=255), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("outcome", sa.Integer(), nullable=False),
        sa.Column("request_id", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index("ix_audit_project_id", "audit", ["project", "id"])
    for table in ("jobs", "datasets"):
        # Made anew and dropped on SQLite, the table of jobs would take all events along.
        with op.batch_alter_table(table, recreate="never") as batch:
            batch.add_column(project_column())
            batch.add_column(sa.Column("key_id", sa.String(length=40), nullable=True))
            batch.create_index(f"ix_{table}_project_id", ["project", "id"])
    op.create_index("ix_datasets_key_id", "datasets", ["key_id"])
    with op.batch_alter_table("jobs", recreate="never") as batch:
        batch.add_column(sa.Column("priority", sa.Integer(), server_default="0", nullable=False))
        batch.create_index("ix_jobs_status_project", ["status", "project"])
        batch.create_index("ix_jobs_project_started_at", ["project", "started_at"])
    _set_key("idempotency_keys", ["project", "route", "key"], add=True)
    for table, key in MODEL_CHILDREN.items():
        with op.batch_alter_table(table) as batch:
            batch.drop_constraint(f"fk_{table}_model_models", type_="foreignkey")
        _set_key(table, ["project", *key], add=True)
    _set_key("models", ["project", "name"], add=True)
    for table in MODEL_CHILDREN:
        with op.batch_alter_table(table) as batch:
            batch.create_foreign_key(
                op.f(f"fk_{table}_project_models"),
                "models",
                ["project", "model"],
                ["project", "name"],
                ondelete="CASCADE",
            )


def downgrade() -> None:
    _make_names_unique()
    for table in MODEL_CHILDREN:
        with op.batch_alter_table(table) as batch:
            batch.drop_constraint(f"fk_{table}_project_models", type_="foreignkey")
    _set_key("models", ["name"], add=False)
    for table, key in MODEL_CHILDREN.items():
        _set_key(table, key, add=False)
        with op.batch_alter_table(table) as batch:
            batch.create_foreign_key(
                op.f(f"fk_{table}_model_models"), "models", ["model"], ["name"], ondelete="CASCADE"
            )
    op.execute(sa.text("delete from idempotency_keys where project <> :default").bindparams(default=DEFAULT))
    _set_key("idempotency_keys", ["route", "key"], add=False)
    op.drop_index("ix_datasets_key_id", table_name="datasets")
    with op.batch_alter_table("jobs", recreate="never") as batch:
        batch.drop_index("ix_jobs_project_started_at")
        batch.drop_index("ix_jobs_status_project")
        batch.drop_column("priority")
    for table in ("datasets", "jobs"):
        with op.batch_alter_table(table, recreate="never") as batch:
            batch.drop_index(f"ix_{table}_project_id")
            batch.drop_column("key_id")
            batch.drop_column("project")
    op.drop_index("ix_audit_project_id", table_name="audit")
    op.drop_table("audit")
    op.drop_table("keys")


def _set_key(table: str, columns: list[str], *, add: bool) -> None:
    """Give a table another primary key, with the column of its project or without it."""
    with op.batch_alter_table(table) as batch:
        batch.drop_constraint(f"pk_{table}", type_="primary")
        if add:
            batch.add_column(project_column())
        else:
            batch.drop_column("project")
        batch.create_primary_key(op.f(f"pk_{table}"), columns)


def _make_names_unique() -> None:
    """Name a project's models after it where another project has a model of the same name."""
    connection = op.get_bind()
    names = sa.text("select project, name from models order by project <> :default, project, name")
    taken: set[str] = set()
    for project, name in connection.execute(names, {"default": DEFAULT}).all():
        new, number = name, 1
        while new in taken:
            new, number = f"{name[:60]}-{project[:50]}-{number}", number + 1
        taken.add(new)
        if new != name:
            _rename(connection, project, name, new)


def _rename(connection: sa.Connection, project: str, name: str, new: str) -> None:
    values = {"project": project, "name": name, "new": new}
    copy = "insert into models (project, name, id, task, versions, created_at) "
    copy += "select project, :new, id || '-', task, versions, created_at from models "
    connection.execute(sa.text(copy + "where project = :project and name = :name"), values)
    for table in ("model_versions", "aliases", "jobs"):
        where = "where project = :project and model = :name"
        connection.execute(sa.text(f"update {table} set model = :new {where}"), values)  # noqa: S608
    connection.execute(sa.text("delete from models where project = :project and name = :name"), values)
    trim = "update models set id = substr(id, 1, length(id) - 1) where project = :project and name = :new"
    connection.execute(sa.text(trim), values)
