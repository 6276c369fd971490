"""The database of the simulation, and the processor time that its server spends on us."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from sqlalchemy import Engine, create_engine, insert, text
from sqlalchemy.engine import make_url

from app.database.engine import Base, make_engine
from app.database.migrate import upgrade
from app.identifiers import new_id

TICKS = os.sysconf("SC_CLK_TCK")
BATCH = 1000
BODY = {
    "kind": "train",
    "task": "forecasting",
    "dataset_id": "ds_1",
    "model": "m",
    "network": {"hidden_size": 64},
    "training": {"device": "auto", "epochs": 20},
    "options": {"horizon": 24},
    "metadata": {},
    "events": 1,
}


@contextmanager
def fresh_database(server: str) -> Iterator[str]:
    """The URL of a migrated database on a PostgreSQL server, dropped at the end."""
    url, name = make_url(server), f"recurra_fleet_{uuid4().hex[:12]}"
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"create database {name}"))
    made = url.set(database=name).render_as_string(hide_password=False)
    try:
        engine = make_engine(made)
        upgrade(engine)
        engine.dispose()
        yield made
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"drop database {name} with (force)"))
        admin.dispose()


def queue_jobs(engine: Engine, count: int) -> list[str]:
    """Queue so many trainings that no worker was notified of yet; their ids in order."""
    ids = sorted(new_id("job") for _ in range(count))
    first = {"seq": 1, "type": "status", "data": {"status": "queued"}}
    for start in range(0, count, BATCH):
        part = ids[start : start + BATCH]
        with engine.begin() as connection:
            connection.execute(
                insert(Base.metadata.tables["jobs"]), [{"id": job_id, **BODY} for job_id in part]
            )
            connection.execute(
                insert(Base.metadata.tables["job_events"]), [{"job_id": job_id, **first} for job_id in part]
            )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum analyze"))
    return ids


def server_cpu_seconds(engine: Engine) -> float | None:
    """Processor seconds of the server's processes for this database so far; None for another machine's."""
    with engine.connect() as connection:
        query = text("select pid from pg_stat_activity where datname = current_database()")
        pids = list(connection.execute(query).scalars())
    spent = [_cpu_seconds(pid) for pid in pids]
    return None if None in spent else sum(value for value in spent if value is not None)


def _cpu_seconds(pid: int) -> float | None:
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS
    return None
