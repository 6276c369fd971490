"""Makes an installation of a backup, in an empty database and an empty store.

It can be killed at any time and run again. Until it is done the store names the backup, which tells a second
run that what is there already is of the first. Rows come in one transaction, when all files are there.
"""

from dataclasses import dataclass
from pathlib import Path

import orjson
from sqlalchemy import Connection, Engine, delete, func, select

from app.database.engine import make_sessions
from app.database.migrate import knows_revision, move_to, upgrade
from app.database.projects import ALL_PROJECTS
from app.database.rows import insert_rows, is_empty, reflect_tables
from app.database.tables import Installation, Job
from app.errors import NotFound
from app.identifiers import new_id
from app.infrastructure.storage import Storage
from app.services.jobs import leases
from app.services.jobs.leases import Lease
from app.services.maintenance import backup_directory, ownership
from app.services.maintenance.backup import TargetNotEmpty
from app.services.maintenance.backup_directory import BackupDamaged, Manifest
from app.services.maintenance.cleanup import GROUP_PATTERNS
from app.states import Status

CHANGED_TABLES = {"installation", "job_events"}  # by a restore, after the rows came
MARKER_KEY = "restore.json"  # names the backup while it is being restored


@dataclass(frozen=True)
class RestoreResult:
    """What a restore did."""

    manifest: Manifest
    installation: str  # the new id
    stored: int  # files that were not there yet
    released: int  # jobs that ran when the backup was made, and are queued again


def restore(engine: Engine, storage: Storage, directory: Path) -> RestoreResult:
    """Restore a backup; raises `BackupDamaged` or `TargetNotEmpty` before anything is changed."""
    manifest = backup_directory.verify(directory)
    if not knows_revision(engine, manifest.revision):
        detail = f"The backup is of a newer release, {manifest.version}, whose schema {manifest.revision}"
        raise BackupDamaged(f"{detail} this one does not know")
    if not _begin(engine, storage, manifest):
        raise TargetNotEmpty("Another restore has just begun in the same store")
    stored = _store_files(storage, directory)
    _insert(engine, directory, manifest)
    upgrade(engine)
    return _finish(engine, storage, manifest, stored)


def _begin(engine: Engine, storage: Storage, manifest: Manifest) -> bool:
    """Check that database and store are empty, or hold what an earlier run left; then mark the store."""
    marked = _read_marker(storage)
    if marked is not None and marked != manifest.id:
        raise TargetNotEmpty(f"The store has a part of another backup, {marked}; empty it first")
    if marked is None:
        if key := next((key for root in GROUP_PATTERNS for key in storage.keys(root)), None):
            raise TargetNotEmpty(f"The store is not empty: it has {key}")
        if ownership.read_mark(storage) is not None:
            raise TargetNotEmpty(f"The store is not empty: it has {ownership.MARK_KEY}")
    with engine.connect() as connection:
        filled = [table.name for table in reflect_tables(connection) if not is_empty(connection, table)]
        if filled and (marked is None or not _has_rows(connection, manifest)):
            raise TargetNotEmpty(f"The database is not empty: there are rows in {', '.join(sorted(filled))}")
    return marked is not None or storage.create(MARKER_KEY, orjson.dumps({"backup": manifest.id}))


def _has_rows(connection: Connection, manifest: Manifest) -> bool:
    """Return whether the database has as many rows as the backup, where a restore adds none of its own."""
    counts = {
        table.name: connection.scalar(select(func.count()).select_from(table))
        for table in reflect_tables(connection)
        if table.name in manifest.tables and table.name not in CHANGED_TABLES
    }
    return all(count == manifest.tables[name].rows for name, count in counts.items())


def _read_marker(storage: Storage) -> str | None:
    try:
        return str(orjson.loads(b"".join(storage.read(MARKER_KEY)))["backup"])
    except NotFound:
        return None


def _store_files(storage: Storage, directory: Path) -> int:
    """Store the files that are not there yet; a put is atomic, so one that is there is whole."""
    present = {key: size for root in GROUP_PATTERNS for key, size in storage.sizes(root).items()}
    stored = 0
    for file in backup_directory.read_files(directory):
        if present.get(file.key) != file.bytes:
            storage.put(file.key, backup_directory.stored_path(directory, file.key))
            stored += 1
    return stored


def _insert(engine: Engine, directory: Path, manifest: Manifest) -> None:
    """Insert all rows in one transaction, unless an earlier run has."""
    with engine.connect() as connection:
        if any(not is_empty(connection, table) for table in reflect_tables(connection)):
            return
    move_to(engine, manifest.revision, copied=False)
    with engine.begin() as connection:
        tables = {table.name: table for table in reflect_tables(connection)}
        if missing := set(manifest.tables) - set(tables):
            raise BackupDamaged(f"The schema {manifest.revision} has no table {', '.join(sorted(missing))}")
        for name, table in tables.items():  # in the order in which they refer to each other
            if (content := manifest.tables.get(name)) is not None:
                rows = backup_directory.read_table(directory, name)
                if insert_rows(connection, table, content.columns, rows) != content.rows:
                    raise BackupDamaged(f"The table {name} has not {content.rows} rows")


def _finish(engine: Engine, storage: Storage, manifest: Manifest, stored: int) -> RestoreResult:
    """Make it an installation of its own: two with one id would delete each other's files."""
    sessions = make_sessions(engine, ALL_PROJECTS)
    with sessions.begin() as session:
        query = select(Job.id, Job.attempt).where(Job.status == Status.RUNNING, leases.claimable())
        running = session.execute(query).all()
        for job_id, attempt in running:  # its worker is not here, which is no fault of the job
            leases.release(session, Lease(job_id, attempt), crashed=False)
        mark = ownership.read_mark(storage)
        installation = new_id("ins") if mark is None else mark.installation
        session.execute(delete(Installation))
        session.add(
            Installation(
                number=ownership.ONLY, id=installation, marks=1, marked_at=storage.now(), restored=[]
            )
        )
        if mark is None:
            storage.write(ownership.MARK_KEY, orjson.dumps({"installation": installation, "number": 1}))
    storage.delete_file(MARKER_KEY)
    return RestoreResult(manifest, installation, stored, len(running))
