"""Cleanup: finds and deletes files that belong to no row, local leftovers, and rows too old to be of use.

Nothing counts as an orphan before its newest file is a grace period old, so files that are just being written
are never touched. Nothing in a store is deleted unless its mark says that it is this installation's.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import delete, select
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from app.database.engine import Sessions, db_now
from app.database.tables import Dataset, IdempotencyKey, Job, ModelVersion, WebhookDelivery, Worker
from app.identifiers import ALPHABET
from app.infrastructure.storage import PROBES_ROOT, Storage
from app.services import idempotency
from app.services.jobs.batch_predictions import RESULT_KINDS, RESULTS_ROOT
from app.services.jobs.checkpoints import CHECKPOINTS_ROOT
from app.services.maintenance import ownership
from app.services.maintenance.ownership import Owner, WrongDatabase
from app.states import LIVE, Status

GRACE_SECONDS = 3600.0
WORK_GRACE_SECONDS = 60.0  # of working directories: the owner of a lost lease has ended its child by then
DELIVERY_ROW_SECONDS = 7 * 86400.0  # after its end a delivery's row is deleted
WORKER_ROW_SECONDS = 86400.0  # without a report for longer, a worker's row is deleted
MAX_QUERY_IDS = 500  # parameters of one statement

# Only names that this service gives; any other file in a bucket belongs to somebody else.
ID = f"[{ALPHABET}]{{26}}"
GROUP_PATTERNS = {
    "datasets": re.compile(rf"datasets/(?P<id>ds_{ID})(?=/)"),
    "artifacts": re.compile(rf"artifacts/(?P<id>job_{ID})/(?P<attempt>\d+)(?=/)"),
    CHECKPOINTS_ROOT: re.compile(rf"{CHECKPOINTS_ROOT}/(?P<id>job_{ID})(?=/)"),
    RESULTS_ROOT: re.compile(rf"{RESULTS_ROOT}/(?P<id>job_{ID})(?=/)"),
    PROBES_ROOT: re.compile(rf"{PROBES_ROOT}/(?P<id>[0-9a-f]{{32}})"),
}
WORK_DIRECTORY = re.compile(rf"(?P<id>job_{ID})-(?P<attempt>\d+)-\w+")


@dataclass(frozen=True)
class FileGroup:
    """Files in the store that are needed together or not at all."""

    prefix: str
    owner: str  # id of the data set or job that they belong to
    attempt: int  # of the job; 0 for files that are not of one attempt
    keys: tuple[str, ...]
    bytes: int
    stored_at: tuple[float, ...]  # of each key, by the store's clock

    def stored_within(self, spans: Iterable[ownership.Span]) -> bool:
        """Return whether a file was stored in one of these spans of time."""
        return any(first <= stored <= last for first, last in spans for stored in self.stored_at)


@dataclass(frozen=True)
class CleanupResult:
    """What one cleanup deleted."""

    groups: int  # in the store
    bytes: int  # of these
    leftovers: int  # local files and directories
    rows: int


@dataclass(frozen=True)
class _JobState:
    """The columns of a job that decide whether its files are needed."""

    kind: str
    status: str
    attempt: int
    sweep: str | None  # status of the sweep that the job is a run of

    def may_publish(self, attempt: int) -> bool:
        """Return whether the artifact of this attempt may still become a version."""
        stored = attempt == self.attempt and self.status == Status.SUCCEEDED and self.sweep in LIVE
        return stored or self.may_run(attempt)

    def may_run(self, attempt: int) -> bool:
        """Return whether this attempt runs, or may still be started."""
        running = attempt == self.attempt and self.status == Status.RUNNING
        return running or (attempt > self.attempt and self.status in LIVE)


def find_orphans(session: Session, storage: Storage, seconds: float = GRACE_SECONDS) -> list[FileGroup]:
    """Return groups that nothing needs and that got no new file for `seconds`; raises `WrongDatabase`."""
    orphans, spans = _unneeded(session, storage, seconds), ownership.kept_spans(session, storage)
    return [group for group in orphans if not group.stored_within(spans)]


def find_foreign(session: Session, storage: Storage) -> list[str]:
    """Return a sentence if the store is not this database's."""
    return [] if _is_ours(session, storage) else [ownership.describe_foreign(session, storage)]


def find_kept(session: Session, storage: Storage) -> list[FileGroup]:
    """Return groups that nothing needs, kept because they are newer than a database that was restored."""
    if not (spans := ownership.kept_spans(session, storage)):
        return []
    return [group for group in _unneeded(session, storage, GRACE_SECONDS) if group.stored_within(spans)]


def _unneeded(session: Session, storage: Storage, seconds: float) -> list[FileGroup]:
    # The store is listed before the rows are read, since files are stored before the row that names them:
    # in the other order, a row committed in between would be missed and its files deleted.
    before = storage.now() - seconds
    groups = {root: _old_groups(storage, root, before) for root in GROUP_PATTERNS}
    ids = {group.owner for of_root in groups.values() for group in of_root}
    # Jobs are read before versions: a job that is read as ended has published its version by then.
    jobs = _job_states(session, ids)
    needed = set(_existing(session, ModelVersion.artifact, [group.prefix for group in groups["artifacts"]]))
    needed |= {f"datasets/{dataset_id}" for dataset_id in _existing(session, Dataset.id, ids)}
    orphans = [
        group
        for root, of_root in groups.items()
        for group in of_root
        if group.prefix not in needed and not _is_needed(root, group, jobs.get(group.owner))
    ]
    if orphans and not _is_ours(session, storage):
        raise WrongDatabase(ownership.describe_foreign(session, storage))
    return orphans


def _is_ours(session: Session, storage: Storage) -> bool:
    owner = ownership.owner_of(session, storage)
    return owner is Owner.THIS or (owner is Owner.NOBODY and _may_claim(session, storage))


def _may_claim(session: Session, storage: Storage) -> bool:
    """Return whether a store that is nobody's is empty, or has a file that the database knows.

    Ids are random: a database that has one of them is the store's, or a copy of that one.
    """
    keys = ((root, key) for root in GROUP_PATTERNS if root != PROBES_ROOT for key in storage.keys(root))
    ids = {match["id"] for root, key in keys if (match := GROUP_PATTERNS[root].match(key)) is not None}
    columns = (Dataset.id, Job.id, ModelVersion.job_id)
    return not ids or any(next(_existing(session, column, ids), None) for column in columns)


def _old_groups(storage: Storage, root: str, before: float) -> list[FileGroup]:
    """Return the groups below `root` without a file newer than `before`."""
    matches: dict[str, re.Match[str]] = {}
    keys: dict[str, list[str]] = {}
    files = storage.files(root)
    for key in files:
        if (match := GROUP_PATTERNS[root].match(key)) is not None:
            matches[match[0]] = match
            keys.setdefault(match[0], []).append(key)
    return [
        FileGroup(
            prefix, match["id"], int(match.groupdict().get("attempt") or 0), tuple(keys[prefix]),
            sum(files[key].bytes for key in keys[prefix]),
            tuple(files[key].modified for key in keys[prefix]),
        )
        for prefix, match in matches.items()
        if max(files[key].modified for key in keys[prefix]) <= before
    ]  # fmt: skip


def _is_needed(root: str, group: FileGroup, job: _JobState | None) -> bool:
    """Return whether the job needs its files; None is a job without a row."""
    if job is None:
        return False
    if root == "artifacts":
        return job.may_publish(group.attempt)
    if root == RESULTS_ROOT:
        return job.kind in RESULT_KINDS and job.status not in {Status.FAILED, Status.CANCELLED}
    return root == CHECKPOINTS_ROOT and job.status in LIVE


def _id_pages(ids: Iterable[str]) -> Iterator[list[str]]:
    """Split ids into pages of `MAX_QUERY_IDS`, since the number of a statement's parameters is limited."""
    ordered = sorted(set(ids))
    return (ordered[first : first + MAX_QUERY_IDS] for first in range(0, len(ordered), MAX_QUERY_IDS))


def _existing(session: Session, column: InstrumentedAttribute[str], values: Iterable[str]) -> Iterator[str]:
    """Yield those of the values that some row has in `column`."""
    for page in _id_pages(values):
        yield from session.scalars(select(column).where(column.in_(page)))


def _job_states(session: Session, ids: Iterable[str]) -> dict[str, _JobState]:
    sweep = aliased(Job)
    columns = (Job.id, Job.kind, Job.status, Job.attempt, sweep.status.label("sweep"))
    query = select(*columns).outerjoin(sweep, sweep.id == Job.sweep_id)
    rows = (row for page in _id_pages(ids) for row in session.execute(query.where(Job.id.in_(page))))
    return {row.id: _JobState(row.kind, row.status, row.attempt, row.sweep) for row in rows}


def delete_groups(storage: Storage, groups: Iterable[FileGroup]) -> None:
    """Delete the files of the groups; files stored since the groups were listed stay."""
    for group in groups:
        for key in group.keys:
            storage.delete_file(key)


def find_leftovers(
    session: Session, storage: Storage, data_dir: Path, seconds: float = GRACE_SECONDS
) -> list[Path]:
    """Return what killed processes left on this machine, unchanged for `seconds`.

    These are uploads, working directories of attempts that do not run, and unfinished writes to the store.
    """
    ours = ownership.owner_of(session, storage) is Owner.THIS
    unfinished = storage.unfinished_writes(storage.now() - seconds) if ours else []
    uploads = _old_entries(data_dir / "incoming", seconds)
    return [*uploads, *find_dead_work(session, data_dir, seconds), *unfinished]


def find_dead_work(session: Session, data_dir: Path, seconds: float = WORK_GRACE_SECONDS) -> list[Path]:
    """Return working directories, unchanged for `seconds`, of attempts that do not run.

    They are large, and whose they are is known, so that they need not be left for as long as other files.
    """
    entries = {path: WORK_DIRECTORY.fullmatch(path.name) for path in _old_entries(data_dir / "work", seconds)}
    matches = {path: match for path, match in entries.items() if match is not None}
    # The rows are read after the directories were listed, as in `find_orphans`.
    jobs = _job_states(session, (match["id"] for match in matches.values()))
    return [
        path
        for path, match in matches.items()
        if (job := jobs.get(match["id"])) is None or not job.may_run(int(match["attempt"]))
    ]


def _old_entries(directory: Path, seconds: float) -> list[Path]:
    """Return a directory's entries that did not change for `seconds`, by the file system's clock."""
    if not directory.is_dir():
        return []
    with tempfile.TemporaryFile(dir=directory.parent) as file:
        before = os.fstat(file.fileno()).st_mtime - seconds
    entries = sorted(directory.iterdir())
    return [path for path in entries if max(map(_modified, (path, *path.rglob("*")))) <= before]


def _modified(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:  # its owner is still at work
        return float("inf")


def delete_paths(paths: Iterable[Path]) -> None:
    """Delete files and directories; what another process deletes meanwhile is no error."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def delete_old_rows(session: Session) -> int:
    """Delete expired idempotency keys, workers silent for a day and old deliveries; return how many rows."""
    now = db_now()
    statements = [
        delete(IdempotencyKey).where(IdempotencyKey.created_at < now - idempotency.RETENTION_SECONDS),
        delete(Worker).where(Worker.last_seen < now - WORKER_ROW_SECONDS),
        delete(WebhookDelivery).where(WebhookDelivery.finished_at < now - DELIVERY_ROW_SECONDS),
    ]
    results = [session.execute(statement) for statement in statements]
    return sum(result.rowcount for result in results if isinstance(result, CursorResult))


def renew_mark(sessions: Sessions, storage: Storage) -> Owner:
    """Renew the store's mark; one that is nobody's is claimed if it is empty or we know a file of it."""
    owner = ownership.renew_mark(sessions, storage, claim=False)
    if owner is Owner.NOBODY:
        with sessions() as session:
            ours = _may_claim(session, storage)
        return ownership.renew_mark(sessions, storage, claim=True) if ours else owner
    return owner


def clean_up(
    sessions: Sessions, storage: Storage, data_dir: Path, seconds: float = GRACE_SECONDS
) -> CleanupResult:
    """Find and delete all of it; no transaction is open while files are listed or deleted."""
    with sessions.begin() as session:
        rows = delete_old_rows(session)
    renew_mark(sessions, storage)
    with sessions() as session:
        orphans = find_orphans(session, storage, seconds)
    with sessions() as session:
        leftovers = find_leftovers(session, storage, data_dir, seconds)
    delete_groups(storage, orphans)
    delete_paths(leftovers)
    storage.prune_directories(storage.now() - seconds)
    return CleanupResult(len(orphans), sum(group.bytes for group in orphans), len(leftovers), rows)
