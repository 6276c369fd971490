"""Alembic's entry: one chain for SQLite and PostgreSQL, run on the connection it is given."""

from alembic import context

from app.database import tables
from app.database.engine import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    compare_type=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()

__all__ = ["tables"]
