"""`recurra doctor` on real installations: what it says, what it repairs, and how it exits."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from sqlalchemy import select, update
from typer.testing import CliRunner, Result

from app.cli import app
from app.cli.commands.machine import doctor
from app.database.engine import Sessions, db_now, make_engine
from app.database.migrate import downgrade, is_current
from app.database.tables import Job, Model, ModelVersion, Worker
from app.identifiers import new_id
from app.infrastructure.storage import Storage
from app.services.jobs import workers
from app.services.maintenance.database_checks import CheckState
from app.services.maintenance.ownership import MARK_KEY
from app.services.models import versions
from app.states import Status
from tests.app.services.maintenance.test_storage_checks import Archive
from tests.support.fixtures.servers import Valkey

Run = Callable[..., Result]
ROWS = ["leases", "wake-ups", "cancels", "aliases", "models", "events"]
FILES = ["store", "installation", "versions", "checkpoints", "orphans", "restored", "leftovers"]


@pytest.fixture
def archive(sessions: Sessions, storage: Storage, tmp_path: Path) -> Archive:
    return Archive(sessions, storage, tmp_path)


@pytest.fixture
def run(tmp_path: Path, database_url: str, redis_server: Valkey, monkeypatch: pytest.MonkeyPatch) -> Run:
    settings = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_server.url,
        "REDIS_PREFIX": f"test-{tmp_path.name}:",
        "STORAGE_URL": (tmp_path / "storage").as_uri(),
        "DATA_DIR": str(tmp_path / "data"),
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"RECURRA_{name}", value)
    return invoke


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data directory and no settings."""
    for name in ("DATABASE_URL", "REDIS_URL", "STORAGE_URL"):
        monkeypatch.delenv(f"RECURRA_{name}", raising=False)
    return tmp_path / "home"


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["doctor", *map(str, arguments)])


def states(done: Result) -> dict[str, str]:
    """The state of each check, from the JSON."""
    message = json.loads(done.stdout)
    assert message["sound"] is (done.exit_code == 0)
    assert all(check.keys() == {"check", "state", "detail", "faults"} for check in message["checks"])
    return {check["check"]: check["state"] for check in message["checks"]}


def plant(archive: Archive) -> dict[str, str]:
    """A fault for each checkup that repairs; what each was planted in."""
    sessions = archive.sessions
    artifact = archive.version()
    dead, unheard, cancelled = archive.job(Status.RUNNING, attempt=1), archive.job(), archive.job()
    stopped = archive.job(Status.PAUSED, attempt=1)
    archive.checkpoint(stopped, 5)
    damaged = archive.checkpoint(stopped, 9, intact=False)
    orphan = archive.put(f"datasets/{new_id('ds')}/content")
    left = archive.directory(f"work/{dead}-0-abc")
    ago = db_now() - 600
    facts = {"role": "train", "device": "cpu", "host": "h", "pid": 1, "loaded": []}
    with sessions.begin() as session:
        session.execute(update(Job).values(started_at=None, finished_at=None, updated_at=ago))
        session.execute(update(Job).where(Job.id == dead).values(lease_until=ago))
        session.execute(update(Job).where(Job.id == cancelled).values(cancel_requested_at=ago))
        session.execute(update(Model).values(versions=0))
        workers.report_alive(session, Worker(id="w1", **facts))
    return {
        "dead": dead, "unheard": unheard, "cancelled": cancelled, "artifact": artifact,
        "damaged": damaged, "orphan": orphan, "left": str(left),
    }  # fmt: skip


def test_each_planted_fault_is_reported_then_repaired_then_gone(
    run: Run, archive: Archive, redis_server: Valkey, tmp_path: Path
) -> None:
    planted = plant(archive)
    repairable = {"leases", "wake-ups", "cancels", "models", "checkpoints", "orphans", "leftovers"}
    for arguments, state, status in (((), "problem", 1), (("--repair",), "repaired", 0)):
        done = run("--json", *arguments)
        assert {name for name, value in states(done).items() if value == state} == repairable
        assert set(states(done).values()) == {"ok", state}
        assert done.exit_code == status
    again = run("--json", "--repair")
    assert set(states(again).values()) == {"ok"}
    assert again.exit_code == 0
    check_repaired(archive, planted)
    with redis.Redis.from_url(redis_server.url) as client:
        assert client.llen(f"test-{tmp_path.name}:train") >= 1


def check_repaired(archive: Archive, planted: dict[str, str]) -> None:
    with archive.sessions() as session:
        jobs = {job.id: job for job in session.scalars(select(Job))}
        assert session.get_one(Model, ("default", "m")).versions == 1
        assert versions.get_version(session, "m", 1).artifact == planted["artifact"]
    assert (jobs[planted["dead"]].status, jobs[planted["dead"]].crashes) == (Status.QUEUED, 1)
    assert jobs[planted["cancelled"]].status == Status.CANCELLED
    assert jobs[planted["unheard"]].dispatched_at is not None
    assert not {planted["damaged"], planted["orphan"]} & set(archive.keys())
    assert len(archive.storage.keys(planted["artifact"])) == 2
    assert not Path(planted["left"]).exists()


def test_faults_have_lines_of_their_own(run: Run, archive: Archive) -> None:
    planted = plant(archive)
    done = run()
    lines = {line.split()[1]: line.split(maxsplit=2) for line in done.stdout.splitlines()}
    assert lines["leases"] == ["problem", "leases", planted["dead"]]
    assert lines["events"] == ["ok", "events", "every event has its job"]
    assert set(lines) - {"integrity"} == {"disk", "redis", "database", *ROWS, *FILES}
    assert done.exit_code == 1


def test_a_problem_without_repair_is_left_and_sets_the_status(run: Run, archive: Archive) -> None:
    artifact = archive.version()
    archive.storage.delete_file(f"{artifact}/model.onnx")
    with archive.sessions.begin() as session:
        alias = versions.list_aliases(session, "m")[0]
        alias.version = 7
    for _ in range(2):
        done = run("--json", "--repair")
        assert done.exit_code == 1
        assert {name for name, value in states(done).items() if value != "ok"} == {"versions", "aliases"}
    with archive.sessions() as session:
        assert session.scalars(select(ModelVersion.artifact)).all() == [artifact]


def test_a_service_on_an_older_schema_is_migrated(run: Run, database_url: str, archive: Archive) -> None:
    engine = make_engine(database_url)
    archive.storage.delete_file(MARK_KEY)  # an older service knows of none
    dataset = archive.dataset()
    downgrade(engine, "-1")
    archive.put(f"datasets/{dataset}/content")  # by which it knows that the store is its own
    archive.put(f"datasets/{new_id('ds')}/content")
    done = run("--json")
    assert states(done) == {"disk": "ok", "redis": "ok", "database": "problem"}
    assert len(archive.keys()) == 2
    done = run("--json", "--repair")
    assert (states(done)["database"], states(done)["orphans"]) == ("repaired", "repaired")
    assert is_current(engine)
    assert len(archive.keys()) == 1
    engine.dispose()
    assert run().exit_code == 0


def test_without_a_database_none_is_made_unless_requested(alone: Path) -> None:
    done = invoke("--json", "--data-dir", alone)
    assert states(done) == {"disk": "ok", "redis": "warning", "database": "problem"}
    assert not alone.exists()
    done = invoke("--json", "--data-dir", alone, "--repair")
    assert states(done)["database"] == "repaired"
    assert done.exit_code == 0
    done = invoke("--data-dir", alone)
    assert "`recurra up` starts it" in done.stdout
    assert done.exit_code == 0


def test_a_damaged_sqlite_file_stops_every_repair(alone: Path) -> None:
    invoke("--data-dir", alone, "--repair")
    stored = alone / "storage" / f"datasets/{new_id('ds')}" / "content"
    stored.parent.mkdir(parents=True)
    stored.write_bytes(b"1")
    database = alone / "recurra.db"
    content = bytearray(database.read_bytes())
    content[8192:] = b"\xff" * (len(content) - 8192)
    database.write_bytes(content)
    done = invoke("--json", "--repair", "--data-dir", alone)
    assert done.exit_code == 1
    assert not set(states(done)) & {*ROWS, *FILES}
    assert stored.exists()
    database.write_bytes(b"no database " * 1000)
    done = invoke("--json", "--repair", "--data-dir", alone)
    assert states(done)["database"] == "problem"
    assert stored.exists()


def test_unreachable_servers_are_reported(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECURRA_REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("RECURRA_DATABASE_URL", "postgresql://nobody:secret@127.0.0.1:1/none")
    done = invoke("--json", "--repair", "--data-dir", alone)
    assert states(done) == {"disk": "ok", "redis": "problem", "database": "problem"}
    assert done.exit_code == 1
    assert "secret" not in done.output


def test_a_store_that_cannot_be_written_is_reported(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone.mkdir()
    (alone / "file").write_bytes(b"")
    monkeypatch.setenv("RECURRA_STORAGE_URL", (alone / "file").as_uri())
    done = invoke("--json", "--repair", "--data-dir", alone)
    assert states(done)["store"] == "problem"
    assert "orphans" not in states(done)
    monkeypatch.setenv("RECURRA_STORAGE_URL", "ftp://host/x")
    done = invoke("--data-dir", alone)
    assert "must be file:// or s3://" in done.stdout
    assert done.exit_code == 1


def test_little_room_is_a_warning_and_no_fault(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    invoke("--data-dir", alone, "--repair")
    monkeypatch.setattr(doctor, "MIN_FREE_BYTES", 1 << 62)
    done = invoke("--json", "--data-dir", alone)
    assert states(done)["disk"] == CheckState.WARNING
    assert "MiB are free" in done.stdout
    assert done.exit_code == 0


@pytest.mark.parametrize("arguments", [("--fix",), ("now",)])
def test_wrong_usage_is_exit_status_two(alone: Path, arguments: tuple[str, ...]) -> None:
    assert invoke(*arguments).exit_code == 2


def test_settings_that_make_no_sense_are_wrong_usage(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECURRA_CLEANUP_SECONDS", "often")
    done = invoke("--data-dir", alone)
    assert done.exit_code == 2
    assert "RECURRA_CLEANUP_SECONDS" in done.output
