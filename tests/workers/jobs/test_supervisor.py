"""The supervisor over a real database and real child processes that behave in every way a training can."""

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from sqlalchemy import event, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.database.engine import Sessions, db_now
from app.database.tables import Job, ModelVersion
from app.errors import NoSpace
from app.infrastructure.checkpoint_name import step_of
from app.infrastructure.storage import Storage
from app.media.limits import MediaLimits
from app.services.jobs import checkpoints, control, leases, queries
from app.states import Status
from tests.app.services.jobs.test_leases import submit
from tests.support.fakes.run_store import FakeStore
from tests.support.fixtures.processes import processes_below
from tests.support.fixtures.servers import until
from workers.jobs import heartbeat, kinds, supervisor
from workers.jobs.supervisor import Supervisor, Timeouts
from workers.tracking.tracker import Tracker

PRETENDER = Path(__file__).parent / "pretender.py"


@pytest.fixture
def job_id(sessions: Sessions, storage: Storage, tmp_path: Path) -> str:
    (tmp_path / "arrays.npz").write_bytes(b"arrays")
    storage.put("datasets/ds_1/arrays/arrays.npz", tmp_path / "arrays.npz")
    with sessions.begin() as session:
        made = submit(session)
        session.execute(update(Job).values(training={"device": "auto", "epochs": 2}))
        return made


@pytest.fixture
def supervise(sessions: Sessions, storage: Storage, tmp_path: Path) -> Callable[..., Supervisor]:
    def make(
        behaviour: str,
        stopping: Callable[[], bool] = lambda: False,
        lease: float = 60,
        stall: float = 60,
        **settings: Any,
    ) -> Supervisor:
        command = (sys.executable, str(PRETENDER), behaviour)
        timeouts = Timeouts(lease, stall)
        work_dir = tmp_path / "work"
        return Supervisor(
            sessions, storage, work_dir, "worker_1", timeouts, ["cpu"], stopping, command, **settings
        )

    return make


def job(sessions: Sessions, job_id: str) -> Job:
    with sessions() as session:
        return session.get_one(Job, job_id)


def leftovers(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "work").iterdir())


def test_a_training_that_ends_well_becomes_a_version(
    supervise: Callable[..., Supervisor], sessions: Sessions, storage: Storage, job_id: str, tmp_path: Path
) -> None:
    supervise("done").run()
    done = job(sessions, job_id)
    assert (done.status, done.model_version, done.attempt) == (Status.SUCCEEDED, 1, 1)
    assert done.metrics == {"train_loss": 0.5, "valid_loss": 0.6, "smape": 1.0}
    with sessions() as session:
        version = session.get_one(ModelVersion, ("default", "m", 1))
        types = [event.type for event in queries.list_events(session, job_id, 0, 50)]
    assert (version.parameters, version.metrics, version.baseline) == (7, {"smape": 1.0}, {"smape": 2.0})
    assert version.bytes == sum(len(b"".join(storage.read(key))) for key in storage.keys(version.artifact))
    assert types == ["status", "status", "epoch", "warning", "status"]
    assert b'"device": "cpu"' in b"".join(storage.read(f"{version.artifact}/manifest.json"))
    assert leftovers(tmp_path) == []


def test_a_training_is_told_to_the_tracker(
    supervise: Callable[..., Supervisor], sessions: Sessions, job_id: str
) -> None:
    store = FakeStore()
    tracker = Tracker(lambda: store)
    supervise("done", tracker=tracker).run()
    assert tracker.flush(10)
    run = f"run of {job_id}"
    assert store.entries == [
        ("open", job_id),
        (run, {"train_loss": 0.5, "valid_loss": 0.6}, 1),
        (run, {"test/smape": 1.0, "baseline/smape": 2.0}, 0),
        (run, Status.SUCCEEDED),
    ]


@pytest.mark.parametrize("is_away", [True, False])
def test_a_tracker_that_fails_or_hangs_changes_nothing(
    supervise: Callable[..., Supervisor], sessions: Sessions, job_id: str, is_away: bool
) -> None:
    store = FakeStore()
    store.failures = 1_000
    if not is_away:
        store.go.clear()
    supervise("done", tracker=Tracker(lambda: store)).run()
    store.go.set()
    assert job(sessions, job_id).status == Status.SUCCEEDED
    assert store.entries == []


def test_the_child_gets_the_limits_on_media(
    supervise: Callable[..., Supervisor], sessions: Sessions, storage: Storage, job_id: str
) -> None:
    supervise("done", media_limits=MediaLimits(audio_seconds=7.5)).run()
    with sessions() as session:
        version = session.get_one(ModelVersion, ("default", "m", 1))
    assert b'"audio_seconds": 7.5' in b"".join(storage.read(f"{version.artifact}/manifest.json"))


def test_a_run_of_a_sweep_stores_its_outcome_and_becomes_no_version(
    supervise: Callable[..., Supervisor], sessions: Sessions, storage: Storage, job_id: str
) -> None:
    with sessions.begin() as session:
        session.execute(update(Job).values(sweep_id="job_sweep", trial={"number": 0}))
    supervise("done").run()
    done = job(sessions, job_id)
    assert (done.status, done.model_version) == (Status.SUCCEEDED, None)
    assert done.metrics == {"train_loss": 0.5, "valid_loss": 0.6, "smape": 1.0}
    made = done.outcome or {}
    assert (made["parameters"], made["metrics"], made["baseline"]) == (7, {"smape": 1.0}, {"smape": 2.0})
    assert made["artifact"] == f"artifacts/{job_id}/1"
    assert made["bytes"] == sum(len(b"".join(storage.read(key))) for key in storage.keys(made["artifact"]))
    with sessions() as session:
        assert session.scalars(select(ModelVersion)).all() == []


@pytest.mark.parametrize(("behaviour", "code"), [("fail", "diverged"), ("noise", "diverged")])
def test_a_training_that_fails_says_why(
    supervise: Callable[..., Supervisor], sessions: Sessions, job_id: str, behaviour: str, code: str
) -> None:
    supervise(behaviour).run()
    failed = job(sessions, job_id)
    assert (failed.status, failed.error_code, failed.crashes) == (Status.FAILED, code, 0)


def test_a_child_that_dies_puts_the_job_back(
    supervise: Callable[..., Supervisor], sessions: Sessions, job_id: str, tmp_path: Path
) -> None:
    for crashes in (1, 2, 3):
        supervise("crash").run()
        crashed = job(sessions, job_id)
        assert (crashed.status, crashed.crashes, crashed.owner) == (Status.QUEUED, crashes, None)
    supervise("crash").run()
    assert (job(sessions, job_id).status, job(sessions, job_id).error_code) == (Status.FAILED, "worker_lost")
    assert leftovers(tmp_path) == []


def test_a_child_that_takes_more_memory_than_it_may_ends_its_job_at_once(
    supervise: Callable[..., Supervisor], sessions: Sessions, job_id: str, tmp_path: Path
) -> None:
    supervise("gluttony", memory_bytes=128 << 20).run()
    ended = job(sessions, job_id)
    assert (ended.status, ended.error_code, ended.attempt) == (Status.FAILED, "out_of_memory", 1)
    assert "more memory than the 0.125 GiB it may take" in (ended.error_message or "")
    assert leftovers(tmp_path) == []


def test_a_child_that_the_kernel_ended_for_want_of_memory_ends_its_job_at_once(
    supervise: Callable[..., Supervisor],
    sessions: Sessions,
    job_id: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kills = iter((3, 4))
    monkeypatch.setattr("workers.process.memory.count_oom_kills", lambda: next(kills))
    supervise("crash").run()
    assert (job(sessions, job_id).status, job(sessions, job_id).error_code) == (
        Status.FAILED, "out_of_memory",
    )  # fmt: skip


def test_a_database_that_is_away_while_a_job_is_prepared_charges_nothing(
    supervise: Callable[..., Supervisor], sessions: Sessions, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise OperationalError("select", {}, Exception("away"))

    monkeypatch.setattr(kinds.TrainingJob, "prepare", away)
    supervise("done").run()
    back = job(sessions, job_id)
    assert (back.status, back.attempt, back.crashes, back.failures) == (Status.QUEUED, 1, 0, 0)
    assert back.due_at is None


@pytest.mark.parametrize("behaviour", ["patient", "stubborn"])
def test_cancel_ends_a_running_training_within_seconds(
    supervise: Callable[..., Supervisor], sessions: Sessions, job_id: str, behaviour: str
) -> None:
    thread = threading.Thread(target=supervise(behaviour).run)
    thread.start()
    until(lambda: job(sessions, job_id).progress is not None, what="progress")
    with sessions.begin() as session:
        control.cancel(session, job_id)
    requested_at = time.monotonic()
    thread.join(timeout=20)
    assert not thread.is_alive()
    assert job(sessions, job_id).status == Status.CANCELLED
    assert time.monotonic() - requested_at < supervisor.CANCEL_GRACE_SECONDS + 2


def test_a_worker_that_stops_releases_the_job_without_a_crash(
    supervise: Callable[..., Supervisor], sessions: Sessions, job_id: str
) -> None:
    stopping = threading.Event()
    thread = threading.Thread(target=supervise("patient", stopping.is_set).run)
    thread.start()
    until(lambda: job(sessions, job_id).progress is not None, what="progress")
    stopping.set()
    thread.join(timeout=20)
    assert (job(sessions, job_id).status, job(sessions, job_id).crashes) == (Status.QUEUED, 0)


def test_a_supervisor_that_lost_its_lease_writes_nothing(
    supervise: Callable[..., Supervisor], sessions: Sessions, job_id: str
) -> None:
    thread = threading.Thread(target=supervise("patient").run)
    thread.start()
    until(lambda: job(sessions, job_id).progress is not None, what="progress")
    with sessions.begin() as session:
        session.execute(
            update(Job).values(attempt=Job.attempt + 1, owner="worker_2", lease_until=db_now() + 60)
        )
    thread.join(timeout=20)
    assert not thread.is_alive()
    taken = job(sessions, job_id)
    assert (taken.status, taken.owner, taken.attempt) == (Status.RUNNING, "worker_2", 2)


def test_a_job_of_somebody_else_is_left_alone(
    supervise: Callable[..., Supervisor], sessions: Sessions, job_id: str
) -> None:
    with sessions.begin() as session:
        session.execute(update(Job).values(status=Status.RUNNING, attempt=1, lease_until=db_now() + 60))
    supervise("done").run()
    assert job(sessions, job_id).attempt == 1
    supervise("done").run()


def test_a_data_set_that_is_gone_fails_the_job(
    supervise: Callable[..., Supervisor], sessions: Sessions, storage: Storage, job_id: str
) -> None:
    storage.delete("datasets/ds_1")
    supervise("done").run()
    failed = job(sessions, job_id)
    assert (failed.status, failed.error_code) == (Status.FAILED, "dataset_missing")


def start(supervisor: Supervisor, sessions: Sessions, job_id: str) -> threading.Thread:
    """Run it in a thread; returns when the child has sent a message."""
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    until(lambda: job(sessions, job_id).progress is not None, what="progress")
    return thread


def ended(thread: threading.Thread) -> None:
    thread.join(timeout=30)
    assert not thread.is_alive()


def event_data(sessions: Sessions, job_id: str, kind: str) -> list[dict[str, Any]]:
    with sessions() as session:
        return [event.data for event in queries.list_events(session, job_id, 0, 50) if event.type == kind]


def steps(storage: Storage, job_id: str) -> list[int | None]:
    return [step_of(PurePosixPath(key).name) for key in checkpoints.newest_first(storage, job_id)]


def test_an_error_that_may_not_come_again_gets_another_attempt(
    supervise: Callable[..., Supervisor], sessions: Sessions, job_id: str
) -> None:
    for attempt in range(1, leases.MAX_FAILURES + 1):
        supervise("flaky").run()
        again = job(sessions, job_id)
        assert (again.status, again.failures, again.crashes) == (Status.QUEUED, attempt, 0)
        supervise("flaky").run()  # it is not due yet
        assert job(sessions, job_id).attempt == attempt
        with sessions.begin() as session:
            session.execute(update(Job).values(due_at=db_now() - 1))
    supervise("flaky").run()
    failed = job(sessions, job_id)
    assert (failed.status, failed.error_code, failed.error_message) == (
        Status.FAILED,
        "internal",
        "KeyError: 'x'.",
    )
    assert "tried again" in event_data(sessions, job_id, "warning")[0]["message"]


def test_a_training_that_says_nothing_is_ended(
    supervise: Callable[..., Supervisor], sessions: Sessions, job_id: str, tmp_path: Path
) -> None:
    supervise("stubborn", stall=1).run()
    failed = job(sessions, job_id)
    assert (failed.status, failed.error_code, failed.crashes) == (Status.FAILED, "stalled", 0)
    assert leftovers(tmp_path) == []


def test_a_pause_keeps_the_last_checkpoint_and_frees_the_worker(
    supervise: Callable[..., Supervisor], sessions: Sessions, storage: Storage, job_id: str
) -> None:
    thread = start(supervise("points"), sessions, job_id)
    with sessions.begin() as session:
        assert control.pause(session, job_id).pause_requested_at is not None
    ended(thread)
    paused = job(sessions, job_id)
    assert (paused.status, paused.pause_requested_at, paused.owner, paused.crashes) == (
        "paused",
        None,
        None,
        0,
    )
    assert steps(storage, job_id) == [3, 2]
    supervise("points").run()  # nobody takes a paused job
    assert job(sessions, job_id).attempt == 1
    with sessions.begin() as session:
        control.resume(session, job_id)
    thread = start(supervise("points"), sessions, job_id)
    until(lambda: len(event_data(sessions, job_id, "log")) == 2, what="events of the resumed training")
    assert event_data(sessions, job_id, "log")[0] == {"message": "Resumed from the checkpoint at step 3"}
    assert event_data(sessions, job_id, "log")[1]["message"].startswith("resumed from 000000000003-")
    with sessions.begin() as session:
        control.cancel(session, job_id)
    ended(thread)
    assert job(sessions, job_id).status == Status.CANCELLED
    assert steps(storage, job_id) == []


def test_a_damaged_checkpoint_is_skipped(
    supervise: Callable[..., Supervisor], sessions: Sessions, storage: Storage, job_id: str, tmp_path: Path
) -> None:
    stopping = threading.Event()
    thread = start(supervise("points", stopping.is_set), sessions, job_id)
    stopping.set()
    ended(thread)
    newest = next(checkpoints.newest_first(storage, job_id))
    (tmp_path / "cut").write_bytes(b"state af")
    storage.put(newest, tmp_path / "cut")
    stopping.clear()
    thread = start(supervise("points", stopping.is_set), sessions, job_id)
    until(lambda: len(event_data(sessions, job_id, "log")) == 2, what="events of the resumed training")
    stopping.set()
    ended(thread)
    assert "does not match" in event_data(sessions, job_id, "warning")[0]["message"]
    assert event_data(sessions, job_id, "log")[0] == {"message": "Resumed from the checkpoint at step 2"}


def test_a_store_that_is_full_costs_a_warning(
    supervise: Callable[..., Supervisor], sessions: Sessions, storage: Storage, job_id: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def full(*_: object) -> None:
        raise NoSpace

    monkeypatch.setattr(checkpoints, "store", full)
    thread = start(supervise("points"), sessions, job_id)
    with sessions.begin() as session:
        control.pause(session, job_id)
    ended(thread)
    assert job(sessions, job_id).status == Status.PAUSED
    assert all("store is full" in event["message"] for event in event_data(sessions, job_id, "warning"))


def test_a_database_that_is_away_stops_nothing_and_loses_no_result(
    supervise: Callable[..., Supervisor], sessions: Sessions, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes away while the training runs and comes back after its end."""
    away = threading.Event()

    def fails(*_: object) -> None:
        if away.is_set():
            raise OperationalError("", {}, OSError("away"))

    event.listen(sessions.kw["bind"], "begin", fails)
    monkeypatch.setattr(supervisor, "FIRST_RETRY_SECONDS", 0.05)
    thread = start(supervise("slow"), sessions, job_id)
    away.set()
    until(lambda: not processes_below(os.getpid(), "pretender"), 20, "the end of the training")
    away.clear()
    ended(thread)
    done = job(sessions, job_id)
    assert (done.status, done.attempt, done.crashes, done.model_version) == (Status.SUCCEEDED, 1, 0, 1)


def test_a_database_that_is_away_for_too_long_gets_the_job_back(
    supervise: Callable[..., Supervisor], sessions: Sessions, storage: Storage, job_id: str
) -> None:
    away = threading.Event()

    def fails(*_: object) -> None:
        if away.is_set():
            raise OperationalError("", {}, OSError("away"))

    event.listen(sessions.kw["bind"], "begin", fails)
    thread = start(supervise("points", lease=4), sessions, job_id)
    away.set()
    until(lambda: 3 in steps(storage, job_id), 20, "the last checkpoint")
    away.clear()
    ended(thread)
    back = job(sessions, job_id)
    assert (back.status, back.attempt, back.crashes) == (Status.QUEUED, 1, 0)


def test_an_acknowledgement_that_is_lost_deletes_nothing(
    supervise: Callable[..., Supervisor], sessions: Sessions, storage: Storage, job_id: str
) -> None:
    """The commit arrives, its answer does not: it is sent again."""
    lost: list[str] = []

    def before(session: Session) -> None:
        if not lost and session.scalar(select(Job.status).where(Job.id == job_id)) == Status.SUCCEEDED:
            lost.append("now")

    def after(_: Session) -> None:
        if lost == ["now"]:
            lost.append("done")
            raise OperationalError("", {}, OSError("no answer"))

    event.listen(sessions, "before_commit", before)
    event.listen(sessions, "after_commit", after)
    supervise("done").run()
    assert lost == ["now", "done"]
    done = job(sessions, job_id)
    assert (done.status, done.model_version) == (Status.SUCCEEDED, 1)
    with sessions() as session:
        artifact = session.get_one(ModelVersion, ("default", "m", 1)).artifact
    assert storage.keys(artifact)


def test_a_job_that_is_deleted_at_once_keeps_its_version(
    supervise: Callable[..., Supervisor], sessions: Sessions, storage: Storage, job_id: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    original = Supervisor._clean_up

    def clean_up(self: Supervisor, assignment: Any, done: Job) -> None:
        with sessions.begin() as session:
            queries.delete_job(session, done.id)
        original(self, assignment, done)

    monkeypatch.setattr(Supervisor, "_clean_up", clean_up)
    supervise("done").run()
    with sessions() as session:
        assert storage.keys(session.get_one(ModelVersion, ("default", "m", 1)).artifact)


def test_a_worker_that_stops_while_the_database_is_away_cancels_nothing(
    supervise: Callable[..., Supervisor], sessions: Sessions, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version cannot be published; the job is neither cancelled nor failed."""
    monkeypatch.setattr(supervisor, "STOP_GRACE_SECONDS", 0.5)
    stopping = threading.Event()
    failed: list[bool] = []

    def publish(*_: object) -> None:
        stopping.set()
        failed.append(True)
        raise OperationalError("", {}, OSError("away"))

    monkeypatch.setattr(leases, "succeed", publish)
    thread = start(supervise("slow", stopping.is_set), sessions, job_id)
    ended(thread)
    assert failed
    assert job(sessions, job_id).status == Status.RUNNING


def log_of(sessions: Sessions, job_id: str) -> list[tuple[int, str, str]]:
    with sessions() as session:
        lines = queries.list_log_lines(session, job_id, 0, leases.MAX_LOG_LINES)
        return [(line.attempt, line.level, line.message) for line in lines]


def test_what_the_child_writes_is_in_the_job_s_log_of_every_attempt(
    supervise: Callable[..., Supervisor], sessions: Sessions, job_id: str, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        supervise("talks").run()
    lines = [("warning", "gap in s1"), ("info", "…/pretender.py: plain words")]
    assert log_of(sessions, job_id) == [(attempt, *line) for attempt in (1, 2) for line in lines]
    assert str(PRETENDER) in capfd.readouterr().err  # the worker's own log has all of it


def test_a_child_that_chatters_fills_neither_the_job_s_log_nor_its_own_pipe(
    supervise: Callable[..., Supervisor], sessions: Sessions, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "RENEW_SECONDS", 3600.0)  # all of it waits for one heartbeat
    supervise("chatters").run()
    messages = [message for _, _, message in log_of(sessions, job_id)]
    assert messages[:2] == ["line 0", "line 1"]
    assert len(messages) == heartbeat.MAX_PENDING_LINES + 1
    assert messages[-1] == "4500 further lines came too fast and are left out"
