"""The rows of a database as plain JSON, the same for SQLite and PostgreSQL, at whatever migration it is."""

import base64
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

from sqlalchemy import (
    JSON,
    BindParameter,
    Cast,
    Column,
    ColumnElement,
    Connection,
    Engine,
    LargeBinary,
    MetaData,
    Table,
    Text,
    bindparam,
    cast,
    func,
    insert,
    select,
    text,
)

BATCH_ROWS = 500  # that are read or written at a time
REVISION_TABLE = "alembic_version"
PLAIN = (str, int, float, bool, type(None))


class UnknownValue(Exception):
    """A column holds values that have no form in JSON here."""


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """A read-only connection that sees the database as it is now, whatever others write meanwhile."""
    if engine.dialect.name == "sqlite":  # in WAL mode a reader sees what was there when it began
        engine = engine.execution_options(reading=True)
    else:
        engine = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    with engine.connect() as connection:
        yield connection
        connection.rollback()


def reflect_tables(connection: Connection) -> list[Table]:
    """Return the tables that there are, each after those that it refers to."""
    metadata = MetaData()
    metadata.reflect(connection)
    return [table for table in metadata.sorted_tables if table.name != REVISION_TABLE]


def read_rows(connection: Connection, table: Table) -> Iterator[list[Any]]:
    """Yield each row as values that JSON has, in the order of the primary key; raises `UnknownValue`."""
    query = select(*(_as_plain(column) for column in table.columns)).order_by(*table.primary_key.columns)
    binary = [isinstance(column.type, LargeBinary) for column in table.columns]
    result = connection.execute(query, execution_options={"stream_results": True, "yield_per": BATCH_ROWS})
    for row in result:
        values = [
            base64.b64encode(value).decode() if encode and value is not None else value
            for value, encode in zip(row, binary, strict=True)
        ]
        if not all(isinstance(value, PLAIN) for value in values):
            raise UnknownValue(f"The table {table.name} has values that a backup cannot hold")
        yield values


def insert_rows(
    connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> int:
    """Insert rows of `read_rows`, with values in the order of these columns; return how many there were."""
    if {column.name for column in table.columns} != set(columns):
        raise UnknownValue(f"The table {table.name} has other columns than its rows")
    on_sqlite = connection.dialect.name == "sqlite"
    statement = insert(table).values(
        {name: _from_plain(table.c[name], on_sqlite=on_sqlite) for name in columns}
    )
    binary = [name for name in columns if isinstance(table.c[name].type, LargeBinary)]
    count, rest = 0, iter(rows)
    while batch := list(islice(rest, BATCH_ROWS)):
        values = [{f"p_{name}": value for name, value in zip(columns, row, strict=True)} for row in batch]
        for row in values:
            row |= {f"p_{name}": _decode(row[f"p_{name}"]) for name in binary}
        connection.execute(statement, values)
        count += len(batch)
    if not on_sqlite:
        _advance_sequences(connection, table)
    return count


def is_empty(connection: Connection, table: Table) -> bool:
    """Return whether the table has no row."""
    return connection.execute(select(text("1")).select_from(table).limit(1)).first() is None


def _as_plain(column: Column[Any]) -> ColumnElement[Any]:
    """JSON stays the text that it is, so that null in it is not taken for no value."""
    return cast(column, Text).label(column.name) if isinstance(column.type, JSON) else column


def _from_plain(column: Column[Any], *, on_sqlite: bool) -> BindParameter[Any] | Cast[Any]:
    if not isinstance(column.type, JSON):
        return bindparam(f"p_{column.name}", type_=column.type)
    value = bindparam(f"p_{column.name}", type_=Text())
    return value if on_sqlite else cast(value, JSON())  # for SQLite JSON is text, and the type a number's


def _decode(value: str | None) -> bytes | None:
    return None if value is None else base64.b64decode(value)


def _advance_sequences(connection: Connection, table: Table) -> None:
    """Let numbers that PostgreSQL gives go on after those in the rows."""
    for column in table.columns:
        name = connection.scalar(select(func.pg_get_serial_sequence(table.name, column.name)))
        largest = None if name is None else connection.scalar(select(func.max(column)))
        if largest is not None:
            connection.execute(select(func.setval(name, largest)))
