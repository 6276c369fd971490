"""Backups: what is restored is what was there at one moment, whatever happens meanwhile."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import orjson
import pytest
from sqlalchemy import Engine, create_engine, delete, select, text
from sqlalchemy.engine import make_url

from app.database import migrate
from app.database.engine import Sessions, make_engine, make_sessions
from app.database.rows import insert_rows, read_rows, reflect_tables
from app.database.tables import Dataset, Installation, Job, JobEvent, Model, ModelVersion, Worker
from app.identifiers import new_id
from app.infrastructure import deletion_hold
from app.infrastructure.artifacts import digest_stored
from app.infrastructure.checkpoint_name import checkpoint_name
from app.infrastructure.deletion_hold import DeletionHold, HoldLapsed
from app.infrastructure.storage import HOLD_SECONDS, HOLDS_ROOT, Storage
from app.services.jobs import leases
from app.services.maintenance import backup, backup_directory, cleanup, ownership, restore, storage_checks
from app.services.maintenance.backup import TargetNotEmpty, back_up
from app.services.maintenance.backup_directory import BackupDamaged, Manifest
from app.services.models.versions import TrainingOutcome
from app.states import Status
from tests.app.services.jobs.test_leases import claimed, submit

CONTENT = b"date,y\n2026-01-01,1\n"
SWEEPLESS = "8c41d6a07be3"  # a schema of an older release


class Killed(BaseException):
    """The process ends here, whatever would be done about an error."""


class Installed:
    """An installation: its database and its store."""

    def __init__(self, engine: Engine, storage: Storage, directory: Path) -> None:
        self.engine, self.storage, self._directory = engine, storage, directory
        self.sessions: Sessions = make_sessions(engine)

    def put(self, key: str, content: bytes) -> None:
        """Store a file."""
        path = self._directory / f"source-{uuid4().hex}"
        path.write_bytes(content)
        self.storage.put(key, path)
        path.unlink()

    def add_dataset(self) -> str:
        """The id of a new data set."""
        dataset_id = new_id("ds")
        self.put(f"datasets/{dataset_id}/content", CONTENT)
        self.put(f"datasets/{dataset_id}/arrays/arrays.npz", dataset_id.encode())
        with self.sessions.begin() as session:
            session.add(
                Dataset(
                    id=dataset_id, name="Täglich", task="forecasting", format="csv", bytes=len(CONTENT),
                    sha256=hashlib.sha256(CONTENT).hexdigest(), filename="f.csv", warnings=["one"],
                    summary={"freq": "MS", "nothing": None, "large": 1e300, "text": "\u2028 é"},
                )
            )  # fmt: skip
        return dataset_id

    def add_version(self, model: str = "m") -> str:
        """The prefix of the artifact of a new version."""
        with self.sessions.begin() as session:
            lease_job = submit(session, model)
        lease = claimed(self.sessions, lease_job)
        prefix = f"artifacts/{lease.job_id}/{lease.attempt}"
        graph = f"graph of {prefix}".encode()
        files = {"model.onnx": {"sha256": hashlib.sha256(graph).hexdigest()}}
        self.put(f"{prefix}/model.onnx", graph)
        self.put(f"{prefix}/manifest.json", orjson.dumps({"files": files}))
        outcome = TrainingOutcome(prefix, 3, 5, digest_stored(self.storage, prefix), {"smape": 0.1}, {})
        with self.sessions.begin() as session:
            assert leases.succeed(session, lease, outcome) is not None
        return prefix

    def add_running_job(self, steps: int = 3) -> str:
        """The id of a training that runs and has a checkpoint."""
        with self.sessions.begin() as session:
            job_id = submit(session, "running")
        lease = claimed(self.sessions, job_id)
        content = f"state after {steps}".encode()
        name = checkpoint_name(steps, hashlib.sha256(content).hexdigest())
        self.put(f"checkpoints/{job_id}/{lease.attempt:06d}/{name}", content)
        return job_id

    def delete_version(self, prefix: str) -> None:
        """As the API does: the row, then the files."""
        with self.sessions.begin() as session:
            session.execute(delete(ModelVersion).where(ModelVersion.artifact == prefix))
        self.storage.delete(prefix)

    def clean_up(self) -> None:
        """A cleanup to which every file is old enough."""
        cleanup.clean_up(self.sessions, self.storage, self._directory / "data", -1.0)

    def rows(self) -> dict[str, list[list[object]]]:
        """All rows of all tables but those of processes and of the installation's id."""
        with self.engine.connect() as connection:
            return {
                table.name: [list(map(_parsed, row)) for row in read_rows(connection, table)]
                for table in reflect_tables(connection)
                if table.name not in {"workers", "installation"}
            }

    def files(self) -> dict[str, bytes]:
        """All files of the store."""
        roots = [root for root in cleanup.GROUP_PATTERNS if root != "probes"]
        return {key: b"".join(self.storage.read(key)) for root in roots for key in self.storage.keys(root)}


def _parsed(value: object) -> object:
    """JSON by its content: PostgreSQL may keep other spaces than SQLite."""
    try:
        return orjson.loads(value) if isinstance(value, str) and value[:1] in '{["' else value
    except orjson.JSONDecodeError:
        return value


@pytest.fixture
def installed(engine: Engine, storage: Storage, tmp_path: Path) -> Installed:
    """One with a data set, two versions, a job that runs, one that waits and the row of a worker."""
    made = Installed(engine, storage, tmp_path)
    made.add_dataset()
    made.add_version()
    made.add_version()
    made.add_running_job()
    with made.sessions.begin() as session:
        submit(session, "waiting")
        session.add(Worker(id="w1", role="train", device="cpu", host="h", pid=1, loaded=[]))
    cleanup.renew_mark(made.sessions, storage)
    return made


@pytest.fixture
def new_postgresql(postgresql: str) -> Iterator[Callable[[], str]]:
    """Makes empty PostgreSQL databases without tables."""
    admin = create_engine(make_url(postgresql), isolation_level="AUTOCOMMIT")
    names: list[str] = []

    def make() -> str:
        names.append(f"recurra_{uuid4().hex[:12]}")
        with admin.connect() as connection:
            connection.execute(text(f"create database {names[-1]}"))
        return make_url(postgresql).set(database=names[-1]).render_as_string(hide_password=False)

    yield make
    with admin.connect() as connection:
        for name in names:
            connection.execute(text(f"drop database {name} with (force)"))
    admin.dispose()


@pytest.fixture
def make_target(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[str], Installed]]:
    """Makes places to restore to: a database without tables and an empty store."""
    engines: list[Engine] = []

    def make(kind: str = "sqlite") -> Installed:
        directory = tmp_path / f"target-{len(engines)}"
        url = f"sqlite:///{directory / 'new.db'}"
        if kind == "postgresql":
            url = request.getfixturevalue("new_postgresql")()
        engines.append(make_engine(url))
        directory.mkdir(exist_ok=True)
        return Installed(engines[-1], Storage((directory / "storage").as_uri()), directory)

    yield make
    for engine in engines:
        engine.dispose()


def run_restore(target: Installed, directory: Path) -> restore.RestoreResult:
    return restore.restore(target.engine, target.storage, directory)


def saved(installed: Installed, directory: Path) -> Manifest:
    return back_up(installed.engine, installed.storage, directory)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_what_is_restored_is_what_was_there(
    installed: Installed, make_target: Callable[[str], Installed], tmp_path: Path, kind: str
) -> None:
    manifest = saved(installed, tmp_path / "backup")
    assert manifest.problems == []
    before, files = installed.rows(), installed.files()
    target = make_target(kind)
    result = run_restore(target, tmp_path / "backup")
    assert (result.stored, result.released) == (len(files), 1)
    assert target.files() == files
    with target.sessions.begin() as session:  # the job that ran is queued again, charged for nothing
        job = session.scalars(select(Job).where(Job.model == "running")).one()
        assert (job.status, job.attempt, job.crashes, job.owner) == (Status.QUEUED, 1, 0, None)
        assert session.scalars(select(Worker)).all() == []
        session.execute(delete(JobEvent).where(JobEvent.job_id == job.id, JobEvent.seq == job.events))
    after = target.rows()
    for tables in (before, after):
        tables["jobs"] = [row for row in tables["jobs"] if "running" not in row]
    assert after == before
    assert migrate.is_current(target.engine)
    assert claimed(target.sessions, job.id).attempt == 2
    assert storage_checks.damaged_versions(target.sessions, target.storage) == []
    assert storage_checks.damaged_checkpoints(target.sessions, target.storage) == []


def test_jobs_of_every_project_are_restored_and_released(
    installed: Installed, make_target: Callable[[], Installed], tmp_path: Path
) -> None:
    with installed.engine.begin() as connection:
        connection.execute(text("update jobs set project = 'other' where model = 'running'"))
    saved(installed, tmp_path / "backup")
    target = make_target()
    assert run_restore(target, tmp_path / "backup").released == 1
    with target.engine.connect() as connection:
        query = text("select project, status, owner from jobs where model = 'running'")
        assert tuple(connection.execute(query).one()) == ("other", "queued", None)


def test_null_in_json_is_not_taken_for_no_value(
    installed: Installed, make_target: Callable[[], Installed], tmp_path: Path
) -> None:
    with installed.sessions.begin() as session:
        session.execute(text("update jobs set metrics = null, progress = 'null' where model = 'waiting'"))
    saved(installed, tmp_path / "backup")
    run_restore(target := make_target(), tmp_path / "backup")
    query = text("select metrics is null, progress is null from jobs where model = 'waiting'")
    for each in (installed, target):
        with each.sessions() as session:
            assert [bool(value) for value in session.execute(query).one()] == [True, False]


def test_a_restored_installation_has_an_id_of_its_own(
    installed: Installed, make_target: Callable[[], Installed], tmp_path: Path
) -> None:
    """Two with one id would each take the other's files for their own, and delete them."""
    manifest = saved(installed, tmp_path / "backup")
    result = run_restore(target := make_target(), tmp_path / "backup")
    assert result.installation != manifest.installation
    with target.sessions() as session:
        assert session.get_one(Installation, ownership.ONLY).id == result.installation
        assert ownership.owner_of(session, target.storage) is ownership.Owner.THIS
        assert ownership.owner_of(session, installed.storage) is ownership.Owner.ANOTHER
    files = target.files()
    target.clean_up()
    assert target.files() == files


def test_deletions_during_a_backup_are_held(
    installed: Installed,
    make_target: Callable[[], Installed],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows go, files stay until the backup has them; then the next cleanup deletes them."""
    with installed.sessions() as session:
        prefixes = list(session.scalars(select(ModelVersion.artifact)))
    original, rows = backup._copy_files, installed.rows()

    def copy(*arguments: object) -> object:
        installed.delete_version(prefixes[0])
        with installed.sessions.begin() as session:
            session.execute(delete(Job).where(Job.id == prefixes[0].split("/")[1]))
        installed.clean_up()
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(backup, "_copy_files", copy)
    assert saved(installed, tmp_path / "backup").problems == []
    run_restore(target := make_target(), tmp_path / "backup")
    assert [row[:2] for row in target.rows()["model_versions"]] == [row[:2] for row in rows["model_versions"]]
    assert all(target.storage.keys(prefix) for prefix in prefixes)
    assert storage_checks.damaged_versions(target.sessions, target.storage) == []
    assert installed.storage.keys(prefixes[0])
    installed.clean_up()
    assert [bool(installed.storage.keys(prefix)) for prefix in prefixes] == [False, True]
    assert installed.storage.keys(HOLDS_ROOT) == []


def test_writes_during_a_backup_are_in_it_whole_or_not_at_all(
    installed: Installed,
    make_target: Callable[[], Installed],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = read_rows

    def read(connection: object, table: object) -> Iterator[object]:
        installed.add_version("busy")  # between any two tables
        installed.add_dataset()
        yield from original(connection, table)  # type: ignore[arg-type]
        installed.add_version("busy")

    versions = len(installed.rows()["model_versions"])
    monkeypatch.setattr(backup, "read_rows", read)
    manifest = saved(installed, tmp_path / "backup")
    assert manifest.problems == []
    assert len(installed.rows()["model_versions"]) > versions
    run_restore(target := make_target(), tmp_path / "backup")
    with target.sessions() as session:
        assert session.scalar(select(Model).where(Model.name == "busy")) is None
        assert len(session.scalars(select(ModelVersion)).all()) == versions
        assert len(session.scalars(select(Dataset)).all()) == 1
    assert storage_checks.damaged_versions(target.sessions, target.storage) == []
    known = {key.split("/")[1] for key in target.files()}
    assert known <= {row[0] for table in ("jobs", "datasets") for row in target.rows()[table]}


def test_what_no_row_needs_is_not_copied(installed: Installed, tmp_path: Path) -> None:
    stray, foreign = f"datasets/{new_id('ds')}/content", "somebody/else.txt"
    installed.put(stray, b"an upload whose row was not committed")
    installed.put(foreign, b"of another program")
    saved(installed, tmp_path / "backup")
    keys = {file.key for file in backup_directory.read_files(tmp_path / "backup")}
    assert keys == set(installed.files()) - {stray}


@pytest.mark.parametrize("files", [1, 6])
def test_a_backup_that_is_killed_leaves_none(
    installed: Installed, make_target: Callable[[], Installed], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, files: int,
) -> None:  # fmt: skip
    original, count = backup._copy_file, iter(range(100))

    def copy(*arguments: object) -> object:
        if next(count) == files:
            raise Killed
        return original(*arguments)  # type: ignore[arg-type]

    directory = tmp_path / "backup"
    with monkeypatch.context() as patch:
        patch.setattr(backup, "_copy_file", copy)
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)  # nobody tidies up
        with pytest.raises(Killed):
            saved(installed, directory)
    assert not directory.exists()
    (unfinished,) = tmp_path.glob(".backup.unfinished")
    with pytest.raises(BackupDamaged, match="not finished"):
        run_restore(make_target(), unfinished)
    saved(installed, directory)
    assert not unfinished.exists()
    run_restore(target := make_target(), directory)
    assert target.files() == installed.files()


@pytest.mark.parametrize(
    ("place", "name", "calls"),
    [
        (Storage, "put", 0), (Storage, "put", 3), (restore, "move_to", 0), (restore, "insert_rows", 0),
        (restore, "insert_rows", 3), (restore, "upgrade", 0), (restore, "_finish", 0),
    ],
)  # fmt: skip
def test_a_restore_that_is_killed_is_run_again(
    installed: Installed, make_target: Callable[[], Installed], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, place: object, name: str, calls: int,
) -> None:  # fmt: skip
    saved(installed, tmp_path / "backup")
    target = make_target()
    done, original = iter(range(100)), getattr(place, name)

    def call(*arguments: object, **named: object) -> object:
        if next(done) == calls:
            raise Killed
        return original(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(place, name, call)
        with pytest.raises(Killed):
            run_restore(target, tmp_path / "backup")
    run_restore(target, tmp_path / "backup")
    assert target.files() == installed.files()
    assert {name: len(rows) for name, rows in target.rows().items() if name != "job_events"} == {
        name: len(rows) for name, rows in installed.rows().items() if name != "job_events"
    }
    assert storage_checks.damaged_versions(target.sessions, target.storage) == []
    with pytest.raises(TargetNotEmpty):  # it is done
        run_restore(target, tmp_path / "backup")


@pytest.mark.parametrize("last", ["write", "delete_file"])
def test_a_restore_that_is_killed_at_its_very_end_is_run_again(
    installed: Installed, make_target: Callable[[], Installed], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, last: str,
) -> None:  # fmt: skip
    saved(installed, tmp_path / "backup")
    target = make_target()
    original: Callable[..., None] = getattr(Storage, last)

    def call(storage: Storage, key: str, *content: bytes) -> None:
        if key == restore.MARKER_KEY:
            raise Killed
        original(storage, key, *content)
        if key == ownership.MARK_KEY:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Storage, last, call)
        with pytest.raises(Killed):
            run_restore(target, tmp_path / "backup")
    result = run_restore(target, tmp_path / "backup")
    with target.sessions() as session:
        assert ownership.owner_of(session, target.storage) is ownership.Owner.THIS
        assert session.get_one(Installation, ownership.ONLY).id == result.installation
    assert result.stored == 0


def test_a_target_that_is_not_empty_is_refused(
    installed: Installed, make_target: Callable[[], Installed], tmp_path: Path
) -> None:
    saved(installed, tmp_path / "backup")
    with pytest.raises(TargetNotEmpty, match="is not empty"):
        saved(installed, tmp_path / "backup")
    with pytest.raises(TargetNotEmpty, match="The store is not empty"):
        run_restore(installed, tmp_path / "backup")
    elsewhere = make_target()
    with pytest.raises(TargetNotEmpty, match="The database is not empty: there are rows in"):
        restore.restore(installed.engine, elsewhere.storage, tmp_path / "backup")
    assert elsewhere.files() == {}
    elsewhere.storage.create(restore.MARKER_KEY, b'{"backup": "bkp_another"}')
    with pytest.raises(TargetNotEmpty, match="a part of another backup, bkp_another"):
        run_restore(elsewhere, tmp_path / "backup")
    marked = make_target()
    ownership.renew_mark(installed.sessions, marked.storage, claim=True)
    with pytest.raises(TargetNotEmpty, match=r"it has installation\.json"):
        run_restore(marked, tmp_path / "backup")


def test_a_restore_goes_on_only_with_rows_of_its_own(
    installed: Installed,
    make_target: Callable[[], Installed],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    manifest = saved(installed, tmp_path / "backup")
    target = make_target()
    migrate.upgrade(target.engine)
    target.add_dataset()
    target.storage.delete("datasets")
    target.storage.create(restore.MARKER_KEY, orjson.dumps({"backup": manifest.id}))
    with pytest.raises(TargetNotEmpty, match="rows in datasets"):
        run_restore(target, tmp_path / "backup")


def alter_table(directory: Path) -> None:
    path = directory / "database" / "jobs.jsonl"
    path.write_bytes(path.read_bytes().replace(b"waiting", b"sitting"))


def alter_artifact(directory: Path) -> None:
    path = next((directory / "store" / "artifacts").rglob("model.onnx"))
    path.write_bytes(path.read_bytes()[:-1] + b"?")


def lose_file(directory: Path) -> None:
    next((directory / "store" / "datasets").rglob("content")).unlink()


def lose_manifest(directory: Path) -> None:
    (directory / "backup.json").unlink()


def alter_index(directory: Path) -> None:
    path = directory / "files.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))


@pytest.mark.parametrize("harm", [alter_table, alter_artifact, lose_file, lose_manifest, alter_index])
def test_a_damaged_backup_is_refused_before_anything_is_changed(
    installed: Installed, make_target: Callable[[], Installed], tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    saved(installed, tmp_path / "backup")
    harm(tmp_path / "backup")
    target = make_target()
    with pytest.raises(BackupDamaged):
        run_restore(target, tmp_path / "backup")
    assert target.files() == {}
    assert target.storage.keys("") == []


@pytest.mark.parametrize("key", ["datasets/../../x", "/etc/passwd", "artifacts/job_1/1/x", "holds/x"])
def test_keys_that_this_service_does_not_give_are_refused(
    installed: Installed, make_target: Callable[[], Installed], tmp_path: Path, key: str
) -> None:
    manifest = saved(installed, tmp_path / "backup")
    dataset = next(file.key for file in backup_directory.read_files(tmp_path / "backup"))
    for bad in (key, f"{dataset}/../../../x"):
        entry = {"key": bad, "bytes": 1, "sha256": "0"}
        _, digest = backup_directory.write_lines(tmp_path / "backup" / "files.jsonl", [entry])
        index = backup_directory.FileIndex(1, 1, digest)
        values = {name: getattr(manifest, name) for name in manifest.__struct_fields__} | {"files": index}
        backup_directory.write_manifest(tmp_path / "backup", Manifest(**values))
        with pytest.raises(BackupDamaged, match="no key of the store"):
            run_restore(make_target(), tmp_path / "backup")


def test_what_is_damaged_in_the_store_is_copied_and_named(installed: Installed, tmp_path: Path) -> None:
    with installed.sessions() as session:
        altered, lost = session.scalars(select(ModelVersion.artifact).order_by(ModelVersion.version))
        dataset = session.scalars(select(Dataset.id)).one()
    installed.put(f"{altered}/model.onnx", b"altered")
    installed.storage.delete(lost)
    installed.storage.delete_file(f"datasets/{dataset}/content")
    (checkpoint,) = installed.storage.keys("checkpoints")
    installed.put(checkpoint, b"altered")
    assert sorted(saved(installed, tmp_path / "backup").problems) == sorted([
        f"the checkpoint {checkpoint} does not match its sha256",
        f"the data set's file datasets/{dataset}/content is missing",
        "the version m/1 is damaged: its files are not those that its training stored",
        "the version m/2 has no files",
    ])  # fmt: skip


def test_a_backup_of_an_older_schema_becomes_one_of_this(
    make_target: Callable[[], Installed], tmp_path: Path
) -> None:
    old = make_target()
    migrate.upgrade(old.engine, SWEEPLESS)
    with old.engine.begin() as connection:
        connection.exec_driver_sql(
            "insert into models (name, id, task, versions, created_at) values ('m', 'x', 'tagging', 0, 1)"
        )
    manifest = saved(old, tmp_path / "backup")
    assert (manifest.revision, manifest.installation) == (SWEEPLESS, None)
    target = make_target()
    migrate.upgrade(target.engine)  # empty tables of this release may be there
    run_restore(target, tmp_path / "backup")
    assert migrate.is_current(target.engine)
    with target.sessions() as session:
        assert session.scalars(select(Model.task).where(Model.name == "m")).one() == "tagging"


def test_a_backup_of_a_newer_release_is_refused(
    installed: Installed, make_target: Callable[[], Installed], tmp_path: Path
) -> None:
    manifest = saved(installed, tmp_path / "backup")
    values = {name: getattr(manifest, name) for name in manifest.__struct_fields__}
    newer = Manifest(**values | {"revision": "ffff00001111"})
    backup_directory.write_manifest(tmp_path / "backup", newer)
    with pytest.raises(BackupDamaged, match="newer release"):
        run_restore(make_target(), tmp_path / "backup")


def test_a_database_without_tables_has_nothing_to_back_up(
    make_target: Callable[[], Installed], tmp_path: Path
) -> None:
    empty = make_target()
    with pytest.raises(migrate.NotMigrated):
        saved(empty, tmp_path / "backup")
    assert list(tmp_path.glob(".backup*")) == []


def test_two_backups_are_not_made_in_one_place(
    installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = backup._copy_files

    def copy(*arguments: object) -> object:
        with pytest.raises(TargetNotEmpty, match="Another backup"):
            saved(installed, tmp_path / "backup")
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(backup, "_copy_files", copy)
    assert saved(installed, tmp_path / "backup").problems == []


def test_a_hold_of_a_process_that_died_lapses(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1")
    storage.put("datasets/x", tmp_path / "file")
    storage.write(f"{HOLDS_ROOT}/dead", b"")
    storage.delete_file("datasets/x")
    storage.delete("datasets")
    assert storage.keys("datasets") == ["datasets/x"]
    path = tmp_path / "storage" / HOLDS_ROOT / "dead"
    then = path.stat().st_mtime - HOLD_SECONDS - 1
    os.utime(path, (then, then))
    storage.delete_file("datasets/x")
    assert storage.keys("datasets") == []
    with DeletionHold(storage):
        (live,) = storage.keys(HOLDS_ROOT)
        assert live != f"{HOLDS_ROOT}/dead"
    assert storage.keys(HOLDS_ROOT) == []


def test_a_backup_whose_hold_lapsed_is_none(
    installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine slept, or the store was away: somebody may have deleted what was needed."""
    moments = iter((0.0, 0.0, HOLD_SECONDS))
    clock = SimpleNamespace(monotonic=lambda: next(moments, HOLD_SECONDS))
    monkeypatch.setattr(deletion_hold, "time", clock)
    monkeypatch.setattr(deletion_hold, "PeriodicThread", _NoThread)
    with pytest.raises(HoldLapsed):
        saved(installed, tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


class _NoThread:
    def __init__(self, *_: object) -> None: ...

    def start(self) -> None:
        """Start nothing."""

    def stop(self, _: float) -> None:
        """Stop nothing."""


def test_numbers_that_postgresql_gives_go_on(postgresql: str) -> None:
    engine = make_engine(postgresql)
    try:
        with engine.connect() as connection:
            connection.execute(text("create table counted (id serial primary key, raw bytea)"))
            table = next(table for table in reflect_tables(connection) if table.name == "counted")
            rows: list[list[Any]] = [[7, "AAE="], [9, None]]
            assert insert_rows(connection, table, ["id", "raw"], rows) == 2
            assert list(read_rows(connection, table)) == rows
            assert connection.scalar(text("insert into counted (raw) values (null) returning id")) == 10
            connection.rollback()
    finally:
        engine.dispose()
