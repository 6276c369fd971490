"""Cleanup: every kind of orphan is deleted and nothing that is needed, whatever happens meanwhile."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, delete, event, select, update

from app.database.engine import Sessions, db_now
from app.database.tables import Dataset, IdempotencyKey, Installation, Job, ModelVersion, Worker
from app.identifiers import new_id
from app.infrastructure.storage import Storage, StoredFile
from app.services import datasets
from app.services.idempotency import RETENTION_SECONDS
from app.services.jobs import batch_predictions, leases
from app.services.jobs.leases import Lease
from app.services.maintenance import cleanup, ownership
from app.services.maintenance.cleanup import GRACE_SECONDS, WORKER_ROW_SECONDS
from app.services.maintenance.ownership import Owner, WrongDatabase
from app.services.models.versions import TrainingOutcome
from app.states import LIVE, SWEEP, Status
from tests.app.services.jobs.test_leases import claimed, submit

OLD = GRACE_SECONDS + 60


def aged(path: Path, seconds: float) -> None:
    """As if the file had been written so long ago."""
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


class Rig:
    """A database, a store and a data directory."""

    def __init__(self, sessions: Sessions, storage: Storage, directory: Path) -> None:
        self.sessions, self.storage, self.data_dir = sessions, storage, directory / "data"
        self.root = directory / "storage"
        self.source = directory / "source"
        self.source.write_bytes(b"12345")
        self.data_dir.mkdir()
        cleanup.renew_mark(sessions, storage)

    def put(self, key: str, seconds: float = OLD) -> str:
        """A file stored so long ago."""
        self.storage.put(key, self.source)
        aged(self.root / key, seconds)
        return key

    def directory(self, name: str, seconds: float = OLD) -> Path:
        """A directory on this machine that holds a file, both so old."""
        path = self.data_dir / name
        path.mkdir(parents=True)
        (path / "content").write_bytes(b"1")
        aged(path / "content", seconds)
        aged(path, seconds)
        return path

    def job(self, status: Status = Status.QUEUED, attempt: int = 0, kind: str = "train") -> str:
        """The id of a job in this state."""
        with self.sessions.begin() as session:
            job_id = submit(session)
            values = {"status": status, "attempt": attempt, "kind": kind}
            session.execute(update(Job).where(Job.id == job_id).values(**values))
        return job_id

    def dataset(self) -> str:
        """The id of a data set's row."""
        with self.sessions.begin() as session:
            session.add(row(dataset_id := new_id("ds")))
        return dataset_id

    def orphans(self, seconds: float = GRACE_SECONDS) -> set[str]:
        """The prefixes of file groups that nothing needs."""
        with self.sessions() as session:
            return {group.prefix for group in cleanup.find_orphans(session, self.storage, seconds)}

    def leftovers(self) -> set[Path]:
        """What dead processes left on this machine."""
        with self.sessions() as session:
            return set(cleanup.find_leftovers(session, self.storage, self.data_dir))

    def clean_up(self, seconds: float = GRACE_SECONDS) -> cleanup.CleanupResult:
        """Find and delete."""
        return cleanup.clean_up(self.sessions, self.storage, self.data_dir, seconds)

    def keys(self) -> list[str]:
        """Everything in the store."""
        return [key for root in cleanup.GROUP_PATTERNS for key in self.storage.keys(root)]


def row(dataset_id: str) -> Dataset:
    facts = {"name": "n", "task": "forecasting", "format": "csv", "bytes": 1, "sha256": "0", "filename": "f"}
    return Dataset(id=dataset_id, summary={}, warnings=[], **facts)


def succeed(sessions: Sessions, lease: Lease, sha256: str = "0") -> None:
    outcome = TrainingOutcome(f"artifacts/{lease.job_id}/{lease.attempt}", 1, 5, sha256, {}, {})
    with sessions.begin() as session:
        assert leases.succeed(session, lease, outcome) is not None


@pytest.fixture
def rig(sessions: Sessions, storage: Storage, tmp_path: Path) -> Rig:
    return Rig(sessions, storage, tmp_path)


def test_files_of_a_data_set_without_a_row_go(rig: Rig) -> None:
    needed = rig.put(f"datasets/{rig.dataset()}/content")
    gone = new_id("ds")
    for name in ("content", "arrays/arrays.npz"):
        rig.put(f"{datasets.prefix(gone)}/{name}")
    assert rig.orphans() == {f"datasets/{gone}"}
    result = rig.clean_up()
    assert (result.groups, result.bytes) == (1, 10)
    assert rig.keys() == [needed]
    assert rig.orphans() == set()


@pytest.mark.parametrize("status", sorted(Status))
@pytest.mark.parametrize("attempt", [1, 2, 3])
def test_an_artifact_stays_while_its_attempt_may_yet_name_it(rig: Rig, status: Status, attempt: int) -> None:
    job_id = rig.job(status, attempt=2)
    rig.put(f"artifacts/{job_id}/{attempt}/model.onnx")
    live = (status == Status.RUNNING and attempt == 2) or (status in LIVE and attempt == 3)
    assert rig.orphans() == (set() if live else {f"artifacts/{job_id}/{attempt}"})


def test_the_artifact_of_a_run_stays_until_its_sweep_has_ended(rig: Rig) -> None:
    """One of the runs becomes the sweep's version."""
    sweep, run = rig.job(Status.RUNNING, kind=SWEEP), rig.job(Status.SUCCEEDED, attempt=2)
    rig.put(f"artifacts/{run}/2/model.onnx")
    rig.put(f"artifacts/{run}/1/model.onnx")
    with rig.sessions.begin() as session:
        session.execute(update(Job).where(Job.id == run).values(sweep_id=sweep))
    assert rig.orphans() == {f"artifacts/{run}/1"}
    with rig.sessions.begin() as session:
        session.execute(update(Job).where(Job.id == sweep).values(status=Status.SUCCEEDED))
    assert rig.orphans() == {f"artifacts/{run}/1", f"artifacts/{run}/2"}


def test_an_artifact_that_a_version_names_stays_though_its_job_is_gone(rig: Rig) -> None:
    lease = claimed(rig.sessions, rig.job())
    named = rig.put(f"artifacts/{lease.job_id}/1/model.onnx")
    succeed(rig.sessions, lease)
    assert rig.orphans() == set()
    with rig.sessions.begin() as session:
        session.delete(session.get_one(Job, lease.job_id))
    rig.put(f"artifacts/{lease.job_id}/2/model.onnx")
    rig.clean_up()
    assert rig.keys() == [named]


@pytest.mark.parametrize("status", sorted(Status))
def test_live_jobs_keep_all_checkpoints(rig: Rig, status: Status) -> None:
    job_id = rig.job(status, attempt=2)
    for attempt in (1, 2):
        rig.put(f"checkpoints/{job_id}/{attempt:06d}/x.safetensors")
    rig.put(f"checkpoints/{(gone := new_id('job'))}/000001/x.safetensors")
    ended = set() if status in LIVE else {f"checkpoints/{job_id}"}
    assert rig.orphans() == ended | {f"checkpoints/{gone}"}


@pytest.mark.parametrize("kind", ["train", "batch_predict"])
@pytest.mark.parametrize("status", sorted(Status))
def test_results_stay_unless_the_batch_ended_without_one(rig: Rig, status: Status, kind: str) -> None:
    job_id = rig.job(status, kind=kind)
    for owner in (job_id, gone := new_id("job")):
        for part in range(3):
            rig.put(batch_predictions.part_key(owner, part, 0))
    rig.clean_up()
    assert rig.storage.keys(batch_predictions.results_prefix(gone)) == []
    needed = kind == "batch_predict" and status not in {Status.FAILED, Status.CANCELLED}
    assert len(rig.storage.keys(batch_predictions.results_prefix(job_id))) == (3 if needed else 0)


def test_one_young_file_protects_its_whole_group_and_no_other(rig: Rig) -> None:
    rig.job()
    ids = [new_id("ds") for _ in range(2)]
    for dataset_id, seconds in zip(ids, (60, OLD), strict=True):
        rig.put(f"datasets/{dataset_id}/content", seconds=OLD)
        rig.put(f"datasets/{dataset_id}/arrays/arrays.npz", seconds=seconds)
    assert rig.orphans() == {f"datasets/{ids[1]}"}
    assert rig.orphans(30) == {f"datasets/{name}" for name in ids}


def test_what_was_not_made_here_is_left_alone(rig: Rig) -> None:
    rig.job()
    keys = ["datasets/mine/content", "artifacts/job_1/1/x", "results/readme.txt", "checkpoints/x", "other/y"]
    keys += [f"datasets/{new_id('job')}/x", f"artifacts/{new_id('job')}/latest/x", f"results/{new_id('job')}"]
    for key in keys:
        rig.put(key)
    assert rig.clean_up().groups == 0
    assert set(keys) - {"other/y"} == set(rig.keys())


def test_a_store_without_a_mark_is_claimed_when_the_database_knows_a_file_of_it(rig: Rig) -> None:
    rig.storage.delete_file(ownership.MARK_KEY)
    rig.put(f"datasets/{new_id('ds')}/content")
    left = rig.directory("incoming/tmp1")
    known = rig.dataset()  # a row, but of no file in the store
    for _ in range(2):
        with pytest.raises(WrongDatabase, match="The store is not this database's"):
            rig.clean_up()
        assert len(rig.keys()) == 1
        assert left.exists()
        assert rig.storage.keys("") == rig.keys()  # it was not claimed either
    needed = rig.put(f"datasets/{known}/content")
    rig.clean_up()
    assert rig.keys() == [needed]


@pytest.mark.parametrize("mark", [None, b"", b"[]", b'{"installation": "ins_other", "number": 1}'])
def test_nothing_is_deleted_from_the_store_of_another_installation(rig: Rig, mark: bytes | None) -> None:
    if mark is None:
        with rig.sessions.begin() as session:  # the store's database was lost, and this is a new one
            session.execute(delete(Installation))
    else:
        rig.storage.write(ownership.MARK_KEY, mark)
    rig.job()
    keys = {rig.put(f"datasets/{new_id('ds')}/content"), rig.put(f"artifacts/{new_id('job')}/1/model.onnx")}
    half = rig.root / f"{min(keys)}#1"  # an unfinished write
    half.write_bytes(b"half")
    aged(half, OLD)
    before = b"".join(rig.storage.read(ownership.MARK_KEY))
    with pytest.raises(WrongDatabase, match="Nothing in the store is deleted"):
        rig.clean_up(0)
    assert set(rig.keys()) == keys
    assert half.exists()
    assert rig.leftovers() == set()
    assert b"".join(rig.storage.read(ownership.MARK_KEY)) == before


def restore(rig: Rig, copy: dict[str, object]) -> None:
    """The database as it was when the copy was made, as far as the store is concerned."""
    with rig.sessions.begin() as session:
        session.execute(delete(Dataset))
        session.execute(update(Installation).values(**copy))


def backup(rig: Rig) -> dict[str, object]:
    with rig.sessions() as session:
        row = session.get_one(Installation, ownership.ONLY)
        return {"marks": row.marks, "marked_at": row.marked_at, "restored": row.restored}


def test_a_restored_database_deletes_nothing_newer_than_itself(rig: Rig) -> None:
    day = 86400.0
    orphan = rig.put(f"datasets/{new_id('ds')}/content", seconds=3 * day)
    copy = backup(rig) | {"marked_at": rig.storage.now() - 2 * day}
    rig.clean_up()
    assert orphan not in set(rig.keys())
    lost = rig.put(f"datasets/{rig.dataset()}/content", seconds=day)
    orphan = rig.put(f"datasets/{new_id('ds')}/content", seconds=3 * day)
    restore(rig, copy)
    with rig.sessions() as session:  # before the mark is renewed, as `recurra doctor` finds it
        kept = [group.keys for group in cleanup.find_kept(session, rig.storage)]
    assert kept == [(lost,)]
    assert rig.orphans() == {orphan.removesuffix("/content")}
    for _ in range(3):
        rig.clean_up()
        assert rig.keys() == [lost]
    later = rig.put(f"datasets/{new_id('ds')}/content", seconds=0)
    aged(rig.root / later, -60)
    assert rig.orphans(seconds=-120) == {later.removesuffix("/content")}


def test_a_restored_database_of_an_older_release_keeps_what_it_does_not_know(rig: Rig) -> None:
    known = rig.put(f"datasets/{rig.dataset()}/content")
    lost = rig.put(f"datasets/{new_id('ds')}/content", seconds=3 * 86400)
    mark = ownership.read_mark(rig.storage)
    with rig.sessions.begin() as session:
        session.execute(delete(Installation))
    assert rig.orphans() == set()
    assert cleanup.renew_mark(rig.sessions, rig.storage) is Owner.THIS
    rig.clean_up()
    assert set(rig.keys()) == {known, lost}
    now = ownership.read_mark(rig.storage)
    assert mark is not None
    assert now is not None
    assert (now.installation, now.number > mark.number) == (mark.installation, True)


def test_a_database_newer_than_the_mark_is_the_stores(rig: Rig) -> None:
    """The store was restored, or a process died between the two."""
    before = b"".join(rig.storage.read(ownership.MARK_KEY))
    rig.clean_up()
    rig.storage.write(ownership.MARK_KEY, before)
    orphan = rig.put(f"datasets/{new_id('ds')}/content")
    rig.clean_up()
    assert orphan not in set(rig.keys())
    with rig.sessions() as session:
        assert session.get_one(Installation, ownership.ONLY).restored == []


def test_a_copy_of_the_database_that_runs_beside_it_takes_nothing_from_it(rig: Rig) -> None:
    copy = backup(rig)
    for _ in range(3):
        kept = rig.put(f"datasets/{new_id('ds')}/content", seconds=0)  # of the original
        cleanup.renew_mark(rig.sessions, rig.storage)  # as it does every minute
        other = backup(rig)
        restore(rig, copy)
        rig.clean_up(0)
        copy = backup(rig)
        restore(rig, other)
        assert kept in set(rig.keys())


def test_two_databases_claim_an_empty_store_but_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.storage.delete_file(ownership.MARK_KEY)
    assert ownership.renew_mark(rig.sessions, rig.storage, claim=False) is Owner.NOBODY
    create = rig.storage.create
    other = b'{"installation": "ins_other", "number": 1}'

    def create_late(key: str, content: bytes) -> bool:
        return create(key, other) and create(key, content)

    monkeypatch.setattr(rig.storage, "create", create_late)
    assert cleanup.renew_mark(rig.sessions, rig.storage) is Owner.ANOTHER
    assert b"".join(rig.storage.read(ownership.MARK_KEY)) == other


class InterruptedStorage(Storage):
    """A store that calls `then` right after its files were listed."""

    then: Callable[[], None] | None = None

    def files(self, prefix: str) -> dict[str, StoredFile]:
        files = super().files(prefix)
        if files and self.then is not None:
            self.then()
            self.then = None
        return files


def test_a_row_committed_after_the_store_was_listed_counts(rig: Rig) -> None:
    rig.job()
    dataset_id = new_id("ds")
    stored = rig.put(f"datasets/{dataset_id}/content")
    rig.storage = storage = InterruptedStorage(rig.root.as_uri())

    def commit() -> None:
        with rig.sessions.begin() as session:
            session.add(row(dataset_id))

    storage.then = commit
    rig.clean_up(0)
    assert storage.then is None
    assert rig.keys() == [stored]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)  # on SQLite nobody could write then
def test_a_job_that_ends_between_two_queries_keeps_its_artifact(rig: Rig, engine: Engine) -> None:
    lease = claimed(rig.sessions, rig.job())
    stored = rig.put(f"artifacts/{lease.job_id}/1/model.onnx")
    waiting = [lease]

    def end(*_: object) -> None:
        if waiting:
            succeed(rig.sessions, waiting.pop())

    prefixes: set[str] = set()
    with rig.sessions() as session:
        event.listen(engine, "after_cursor_execute", end)
        try:
            prefixes = {group.prefix for group in cleanup.find_orphans(session, rig.storage, 0)}
        finally:
            event.remove(engine, "after_cursor_execute", end)
    assert (prefixes, waiting) == (set(), [])
    rig.clean_up(0)
    assert rig.keys() == [stored]


def test_running_attempts_lose_nothing_to_cleanups_without_grace(rig: Rig) -> None:
    done = threading.Event()
    failures: list[Exception] = []

    def train() -> None:
        for _ in range(12):
            lease = claimed(rig.sessions, rig.job())
            prefix = f"artifacts/{lease.job_id}/{lease.attempt}"
            for name in ("model.onnx", "model.safetensors", "manifest.json"):
                rig.storage.put(f"{prefix}/{name}", rig.source)
            succeed(rig.sessions, lease)
        done.set()

    worker = threading.Thread(target=train)
    worker.start()
    while not done.is_set():
        try:
            rig.clean_up(0)
        except Exception as error:  # noqa: BLE001 - collected, so that the thread is joined first
            failures.append(error)
            break
    worker.join()
    assert failures == []
    with rig.sessions() as session:
        named = list(session.scalars(select(ModelVersion.artifact)))
    assert len(named) == 12
    assert {name: len(rig.storage.keys(name)) for name in named} == dict.fromkeys(named, 3)


def test_work_of_attempts_that_do_not_run_goes(rig: Rig) -> None:
    running, paused = rig.job(Status.RUNNING, attempt=2), rig.job(Status.PAUSED, attempt=1)
    live = [f"work/{running}-2-abc_1", f"work/{running}-3-abc", "work/notes", "work/job_1-1-x"]
    dead = [f"work/{running}-1-abc", f"work/{paused}-1-x", f"work/{new_id('job')}-1-y"]
    needed = {rig.directory(name) for name in live}
    needed |= {rig.directory(f"work/{paused}-1-young", seconds=60)}
    gone = {rig.directory(name) for name in dead}
    assert rig.leftovers() == gone
    assert rig.clean_up().leftovers == len(gone)
    assert rig.leftovers() == set()
    assert all(path.exists() for path in needed)
    assert not any(path.exists() for path in gone)


def test_uploads_that_nobody_receives_any_more_go(rig: Rig) -> None:
    rig.job()
    old, young, growing = (rig.directory(f"incoming/tmp{k}", (OLD, 60, OLD)[k]) for k in range(3))
    (growing / "content").write_bytes(b"more of it")
    aged(growing, OLD)
    assert rig.leftovers() == {old}
    rig.clean_up()
    assert (old.exists(), young.exists(), growing.exists()) == (False, True, True)


def test_unfinished_writes_of_a_killed_writer_are_deleted(rig: Rig) -> None:
    needed = rig.put(f"datasets/{rig.dataset()}/content")
    half, fresh, other = (rig.root / f"{needed}{end}" for end in ("#1", "#2", "#x"))
    for path in (half, fresh, other):
        path.write_bytes(b"half")
    aged(half, OLD)
    aged(other, OLD)
    assert rig.leftovers() == {half}
    rig.clean_up()
    assert sorted(path.name for path in half.parent.iterdir()) == ["content", "content#2", "content#x"]


def test_deleted_files_leave_no_directories(rig: Rig) -> None:
    rig.job()
    for key in (f"artifacts/{new_id('job')}/1/a/b", f"checkpoints/{new_id('job')}/000001/x"):
        rig.put(key)
    rig.clean_up()
    for _ in range(5):  # a directory is new while others are taken out of it
        rig.clean_up(0)
    left = {path.name for path in rig.root.rglob("*")}
    assert left == {"probes", ownership.MARK_KEY}  # the one is where the clock is read


def test_a_directory_just_made_is_not_pruned(rig: Rig) -> None:
    (rig.root / "artifacts" / "new").mkdir(parents=True)
    rig.storage.prune_directories(rig.storage.now() - 60)
    assert (rig.root / "artifacts" / "new").is_dir()


def test_the_clock_of_a_store_leaves_no_file(rig: Rig) -> None:
    stored = rig.storage.files(rig.put("datasets/x/y", seconds=0).rpartition("/")[0])
    assert 0 <= rig.storage.now() - stored["datasets/x/y"].modified < 60
    assert rig.storage.keys("probes") == []
    rig.job()
    rig.put(f"probes/{'0' * 32}")  # of a process killed in between
    assert rig.clean_up().groups == 1


def test_a_machine_whose_clock_is_a_year_ahead_takes_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.job()
    stored = rig.put(f"datasets/{new_id('ds')}/content", seconds=0)
    upload = rig.directory("incoming/tmp1", seconds=0)
    ahead = time.time() + 365 * 86400
    monkeypatch.setattr(time, "time", lambda: ahead)
    rig.clean_up()
    assert rig.keys() == [stored]
    assert upload.exists()


def test_the_work_of_a_killed_attempt_goes_within_minutes(rig: Rig) -> None:
    running, lost = rig.job(Status.RUNNING, attempt=2), rig.job(Status.QUEUED, attempt=1)
    minutes = cleanup.WORK_GRACE_SECONDS + 5
    kept = [
        rig.directory(f"work/{running}-2-aa", minutes),
        rig.directory(f"work/{lost}-1-aa", 1),
        rig.directory("work/of-somebody-else", minutes),
    ]
    gone = [rig.directory(f"work/{running}-1-bb", minutes), rig.directory(f"work/{lost}-1-bb", minutes)]
    with rig.sessions() as session:
        assert cleanup.find_dead_work(session, rig.data_dir) == sorted(gone)
    assert all(path.exists() for path in kept)


def test_rows_too_old_to_be_of_use_are_deleted(rig: Rig) -> None:
    with rig.sessions.begin() as session:
        for name, seconds in (("old", RETENTION_SECONDS + 60), ("new", RETENTION_SECONDS - 60)):
            session.add(
                IdempotencyKey(
                    route="r", key=name, fingerprint="0", locked_until=0.0, created_at=db_now() - seconds
                )
            )
        for name, seconds in (("silent", WORKER_ROW_SECONDS + 60), ("quiet", WORKER_ROW_SECONDS - 60)):
            facts = {"role": "train", "device": "cpu", "host": "h", "pid": 1, "loaded": []}
            session.add(Worker(id=name, last_seen=db_now() - seconds, **facts))
    assert rig.clean_up().rows == 2
    with rig.sessions() as session:
        assert session.scalars(select(IdempotencyKey.key)).all() == ["new"]
        assert session.scalars(select(Worker.id)).all() == ["quiet"]


def test_more_ids_than_a_statement_takes_are_queried_in_pages(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "MAX_QUERY_IDS", 3)
    needed = {rig.put(f"datasets/{rig.dataset()}/content") for _ in range(7)}
    gone = {f"datasets/{new_id('ds')}" for _ in range(7)}
    for name in gone:
        rig.put(f"{name}/content")
    assert rig.orphans() == gone
    assert rig.clean_up().groups == 7
    assert set(rig.keys()) == needed


def test_a_machine_without_a_data_directory_has_no_leftovers(rig: Rig) -> None:
    rig.data_dir.rmdir()
    assert rig.leftovers() == set()
