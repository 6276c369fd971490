"""What nobody needs any more, and its removal: files without a row, local leftovers, rows too old to serve.

Nothing is an orphan before its newest file has been there for a grace: what is on its way is never touched.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import ColumnElement, delete, exists, select
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from app.database.engine import Sessions, db_now
from app.database.tables import Dataset, IdempotencyKey, Job, ModelVersion, Worker
from app.identifiers import ALPHABET
from app.infrastructure.storage import PROBES, Storage
from app.services import idempotency
from app.services.jobs import batch_predictions, checkpoints
from app.states import LIVE, Status

GRACE = 3600.0
FORGOTTEN = 86400.0  # seconds after which the row of a silent worker is deleted
PAGE = 500

# Names as this service gives them: whatever else lies in a bucket is somebody else's.
ID = f"[{ALPHABET}]{{26}}"
PLACES = {
    "datasets": re.compile(rf"datasets/(?P<id>ds_{ID})(?=/)"),
    "artifacts": re.compile(rf"artifacts/(?P<id>job_{ID})/(?P<attempt>\d+)(?=/)"),
    checkpoints.CHECKPOINTS: re.compile(rf"{checkpoints.CHECKPOINTS}/(?P<id>job_{ID})(?=/)"),
    batch_predictions.RESULTS: re.compile(rf"{batch_predictions.RESULTS}/(?P<id>job_{ID})(?=/)"),
    PROBES: re.compile(rf"{PROBES}/(?P<id>[0-9a-f]{{32}})"),
}
WORK = re.compile(rf"(?P<id>job_{ID})-(?P<attempt>\d+)-\w+")


class WrongDatabase(Exception):
    """The database is empty and the store is not, so that nothing in it can be told to be an orphan."""


@dataclass(frozen=True)
class Place:
    """Files in the store that are needed together or not at all."""

    name: str  # their common prefix
    owner: str  # the id of what they belong to
    attempt: int
    keys: tuple[str, ...]
    bytes: int


@dataclass(frozen=True)
class Swept:
    """What one sweep removed."""

    places: int
    bytes: int
    leftovers: int
    rows: int


@dataclass(frozen=True)
class _Owner:
    """A job's row, as far as it decides about files."""

    kind: str
    status: str
    attempt: int
    sweep: str | None  # the status of the sweep that it is a run of

    def may_publish(self, attempt: int) -> bool:
        """Whether what the attempt made may yet become a version."""
        made = attempt == self.attempt and self.status == Status.SUCCEEDED and self.sweep in LIVE
        return made or self.may_run(attempt)

    def may_run(self, attempt: int) -> bool:
        """Whether the attempt runs, or may yet be made."""
        running = attempt == self.attempt and self.status == Status.RUNNING
        return running or (attempt > self.attempt and self.status in LIVE)


def orphans(session: Session, storage: Storage, seconds: float = GRACE) -> list[Place]:
    """Places in the store that nobody needs and where nothing was stored for so long.

    Raises `WrongDatabase`.
    """
    # The store is listed before the rows are read: files come before the row that makes them somebody's, so
    # the other way round a row committed between the two looks would go unseen and its files be lost.
    before = storage.now() - seconds
    found = {root: _quiet(storage, root, before) for root in PLACES}
    ids = {place.owner for places in found.values() for place in places}
    # Jobs are read before versions: one that is seen ended has published by then what it ever will.
    jobs = _jobs(session, ids)
    named = set(_among(session, ModelVersion.artifact, [place.name for place in found["artifacts"]]))
    named |= {f"datasets/{dataset_id}" for dataset_id in _among(session, Dataset.id, ids)}
    vain = [
        place
        for root, places in found.items()
        for place in places
        if place.name not in named and not _needed(root, place, jobs.get(place.owner))
    ]
    if vain and not session.scalar(select(_any(Dataset.id) | _any(Job.id) | _any(ModelVersion.job_id))):
        raise WrongDatabase("The database has no rows but the store has files: is this the store's database?")
    return vain


def _quiet(storage: Storage, root: str, before: float) -> list[Place]:
    """The places below `root` where nothing was stored since then."""
    matches: dict[str, re.Match[str]] = {}
    files: dict[str, list[str]] = {}
    stored = storage.files(root)
    for key in stored:
        if (match := PLACES[root].match(key)) is not None:
            matches[match[0]] = match
            files.setdefault(match[0], []).append(key)
    return [
        Place(
            name, match["id"], int(match.groupdict().get("attempt") or 0), tuple(files[name]),
            sum(stored[key].bytes for key in files[name]),
        )
        for name, match in matches.items()
        if max(stored[key].modified for key in files[name]) <= before
    ]  # fmt: skip


def _needed(root: str, place: Place, job: _Owner | None) -> bool:
    """Whether a job needs the files."""
    if job is None:
        return False
    if root == "artifacts":
        return job.may_publish(place.attempt)
    if root == batch_predictions.RESULTS:
        return job.kind == batch_predictions.KIND and job.status not in {Status.FAILED, Status.CANCELLED}
    return root == checkpoints.CHECKPOINTS and job.status in LIVE


def _any(column: InstrumentedAttribute[str]) -> ColumnElement[bool]:
    return exists(select(column))


def _pages(ids: Iterable[str]) -> Iterator[list[str]]:
    """A few at a time, because a statement takes so many parameters and no more."""
    known = sorted(set(ids))
    return (known[first : first + PAGE] for first in range(0, len(known), PAGE))


def _among(session: Session, column: InstrumentedAttribute[str], values: Iterable[str]) -> Iterator[str]:
    """Those of the values that a row has."""
    for page in _pages(values):
        yield from session.scalars(select(column).where(column.in_(page)))


def _jobs(session: Session, ids: Iterable[str]) -> dict[str, _Owner]:
    sweep = aliased(Job)
    columns = (Job.id, Job.kind, Job.status, Job.attempt, sweep.status.label("sweep"))
    query = select(*columns).outerjoin(sweep, sweep.id == Job.sweep_id)
    rows = (row for page in _pages(ids) for row in session.execute(query.where(Job.id.in_(page))))
    return {row.id: _Owner(row.kind, row.status, row.attempt, row.sweep) for row in rows}


def remove(storage: Storage, places: Iterable[Place]) -> None:
    """Delete the files that were found, and none that came since."""
    for place in places:
        for key in place.keys:
            storage.delete_file(key)


def leftovers(session: Session, storage: Storage, data_dir: Path, seconds: float = GRACE) -> list[Path]:
    """What killed processes left on this machine: of attempts that do not run, of uploads, of writes."""
    halves = storage.half_written(storage.now() - seconds)
    uploads = _untouched(data_dir / "incoming", seconds)
    work = {path: WORK.fullmatch(path.name) for path in _untouched(data_dir / "work", seconds)}
    ours = {path: match for path, match in work.items() if match is not None}
    jobs = _jobs(session, (match["id"] for match in ours.values()))  # after the look, as above
    dead = [
        path
        for path, match in ours.items()
        if (job := jobs.get(match["id"])) is None or not job.may_run(int(match["attempt"]))
    ]
    return [*uploads, *dead, *halves]


def _untouched(directory: Path, seconds: float) -> list[Path]:
    """Entries of a directory in which nothing changed for so long, by the file system's own clock."""
    if not directory.is_dir():
        return []
    with tempfile.TemporaryFile(dir=directory.parent) as file:
        before = os.fstat(file.fileno()).st_mtime - seconds
    entries = sorted(directory.iterdir())
    return [path for path in entries if max(map(_modified, (path, *path.rglob("*")))) <= before]


def _modified(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:  # its owner is at work
        return float("inf")


def discard(paths: Iterable[Path]) -> None:
    """Delete files and directories; what somebody else deletes meanwhile is no error."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def forget(session: Session) -> int:
    """Delete answers too old to be replayed and workers silent for a day; how many rows."""
    now = db_now()
    old = [
        delete(IdempotencyKey).where(IdempotencyKey.created_at < now - idempotency.KEPT),
        delete(Worker).where(Worker.last_seen < now - FORGOTTEN),
    ]
    done = [session.execute(statement) for statement in old]
    return sum(result.rowcount for result in done if isinstance(result, CursorResult))


def sweep(sessions: Sessions, storage: Storage, data_dir: Path, seconds: float = GRACE) -> Swept:
    """Find and remove all of it; no transaction is open while files are listed or deleted."""
    with sessions.begin() as session:
        rows = forget(session)
    with sessions() as session:
        places = orphans(session, storage, seconds)
    with sessions() as session:
        left = leftovers(session, storage, data_dir, seconds)
    remove(storage, places)
    discard(left)
    storage.prune(storage.now() - seconds)
    return Swept(len(places), sum(place.bytes for place in places), len(left), rows)
