"""Every planted fault is reported, repaired once, and gone."""

import pytest
from sqlalchemy import Engine, select, update

from app.database.engine import Sessions, db_now
from app.database.tables import Alias, Job, JobEvent, Model, Worker
from app.services.jobs import leases, workers
from app.services.maintenance import database_checks
from app.services.maintenance.database_checks import (
    MAX_FAULTS_SHOWN,
    OVERDUE_SECONDS,
    STUCK_SECONDS,
    Check,
    CheckResult,
    CheckState,
    run,
    summarize,
)
from app.services.models import versions
from app.services.models.versions import TrainingOutcome
from app.states import Status
from tests.app.services.jobs.test_leases import claimed, status, submit

SWITCHES = {  # of foreign keys
    "sqlite": ("pragma foreign_keys=off", "pragma foreign_keys=on"),
    "postgresql": ("set session_replication_role = replica", "set session_replication_role = origin"),
}


class Desk:
    """A database, its checks, and how often they notified workers."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions
        self.notified = 0
        self.checks = {check.name: check for check in database_checks.row_checks(sessions, self.notify)}

    def notify(self) -> None:
        self.notified += 1
        self.set(dispatched_at=db_now())

    def check(self, name: str, *, repair: bool = False) -> CheckResult:
        """The result of one check."""
        return run(self.checks[name], repair=repair)

    def job(self) -> str:
        with self.sessions.begin() as session:
            return submit(session)

    def set(self, job_id: str | None = None, **values: object) -> None:
        """Set columns of a job, or of all."""
        chosen = update(Job) if job_id is None else update(Job).where(Job.id == job_id)
        with self.sessions.begin() as session:
            session.execute(chosen.values(**values))

    def version(self, model: str = "m") -> str:
        """A version of a model; the id of the job that made it."""
        lease = claimed(self.sessions, job_id := self.job())
        self.set(job_id, model=model)
        with self.sessions.begin() as session:
            outcome = TrainingOutcome(f"artifacts/{job_id}/1", 1, 1, "0", {}, {})
            assert leases.succeed(session, lease, outcome)
        return job_id

    def worker(self, name: str = "w1", role: str = "train", ago: float = 0.0) -> None:
        facts = {"role": role, "device": "cpu", "host": "h", "pid": 1, "loaded": []}
        with self.sessions.begin() as session:
            workers.report_alive(session, Worker(id=name, **facts))
            session.execute(update(Worker).where(Worker.id == name).values(last_seen=db_now() - ago))

    def repairs(self, name: str, faults: list[str]) -> None:
        """The faults are reported, left alone, repaired, and gone."""
        for repair, state in ((False, CheckState.PROBLEM), (True, CheckState.REPAIRED)):
            result = self.check(name, repair=repair)
            assert (result.state, result.faults) == (state, faults)
        again = self.check(name, repair=True)
        assert (again.state, again.faults) == (CheckState.OK, [])


@pytest.fixture
def desk(sessions: Sessions) -> Desk:
    return Desk(sessions)


def test_a_healthy_database_has_no_faults(desk: Desk) -> None:
    desk.worker()
    desk.version()
    claimed(desk.sessions, desk.job())
    desk.job()
    result = [desk.check(name) for name in desk.checks]
    assert {one.state for one in result} == {CheckState.OK}
    assert all(one.detail and not one.faults for one in result)


def test_expired_leases_are_taken_back(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_checks.reap, "__defaults__", (0.0,))
    dead, late, well = (desk.job() for _ in range(3))
    for job_id, until in (
        (dead, db_now() - OVERDUE_SECONDS - 5),
        (late, db_now() - 1),
        (well, db_now() + 60),
    ):
        claimed(desk.sessions, job_id)
        desk.set(job_id, lease_until=until)
    desk.repairs("leases", [dead])
    assert [status(desk.sessions, job_id) for job_id in (dead, late, well)] == ["queued", "queued", "running"]
    with desk.sessions() as session:
        assert session.get_one(Job, dead).crashes == 1


def test_an_owner_that_lives_keeps_the_lease_it_renews(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = claimed(desk.sessions, job_id := desk.job())
    desk.set(job_id, lease_until=db_now() - 300)

    def renew(_: float) -> None:
        with desk.sessions.begin() as session:
            assert leases.renew(session, lease, 60, None, None, []) is not None

    monkeypatch.setattr("app.services.maintenance.database_checks.time.sleep", renew)
    assert desk.check("leases", repair=True).state is CheckState.REPAIRED
    with desk.sessions() as session:
        job = session.get_one(Job, job_id)
        assert (job.status, job.crashes) == (Status.RUNNING, 0)


def test_a_job_that_no_free_worker_claims_is_announced_again(desk: Desk) -> None:
    desk.worker()
    never, lost, recent, later, paused = (desk.job() for _ in range(5))
    ago = db_now() - STUCK_SECONDS - 5
    desk.set(updated_at=ago)
    desk.set(lost, dispatched_at=ago)
    desk.set(recent, dispatched_at=db_now() - 30)
    desk.set(later, due_at=db_now() + 60)
    desk.set(paused, status=Status.PAUSED)
    desk.repairs("wake-ups", [never, lost])
    assert desk.notified == 1


def test_jobs_that_wait_for_good_reason_are_no_fault(desk: Desk) -> None:
    def waits() -> bool:
        return desk.check("wake-ups").state is CheckState.PROBLEM

    waiting, other = desk.job(), desk.job()
    ago = db_now() - STUCK_SECONDS - 5
    desk.set(updated_at=ago)
    assert not waits()  # no worker lives
    desk.worker("server", role="serve")
    desk.worker("gone", ago=60)
    assert not waits()
    desk.worker("w1")
    assert waits()
    lease = claimed(desk.sessions, other, "w1")
    desk.set(other, started_at=ago)
    assert not waits()  # the only worker is busy
    with desk.sessions.begin() as session:
        leases.end(session, lease, Status.FAILED, code="x")
    assert not waits()  # it has only just become free
    desk.set(other, finished_at=ago)
    assert desk.check("wake-ups").faults == [waiting]


def test_a_job_that_cannot_be_announced_is_a_problem(desk: Desk) -> None:
    desk.worker()
    job_id = desk.job()
    desk.set(updated_at=db_now() - STUCK_SECONDS - 5)
    silent = {one.name: one for one in database_checks.row_checks(desk.sessions, lambda: None)}["wake-ups"]
    result = run(silent, repair=True)
    assert (result.state, result.faults) == (CheckState.PROBLEM, [job_id])


@pytest.mark.parametrize("state", [Status.QUEUED, Status.PAUSED])
def test_jobs_that_wait_although_cancelled_are_ended(desk: Desk, state: Status) -> None:
    meant, other, running = (desk.job() for _ in range(3))
    desk.set(meant, status=state, cancel_requested_at=db_now())
    claimed(desk.sessions, running)
    desk.set(running, cancel_requested_at=db_now())
    desk.repairs("cancels", [meant])
    ends = [status(desk.sessions, job_id) for job_id in (meant, other, running)]
    assert ends == ["cancelled", "queued", "running"]


def test_aliases_that_name_missing_versions_are_reported_and_not_changed(desk: Desk) -> None:
    for model in ("a", "a", "b"):
        desk.version(model)
    with desk.sessions.begin() as session:
        session.add(Alias(model="a", alias="canary", version=1, split={"1": 0.5, "7": 0.5}, shadow=9))
        session.add(Alias(model="b", alias="beta", version=2))
    for repair in (False, True):
        result = desk.check("aliases", repair=repair)
        assert result.state is CheckState.PROBLEM
        assert result.faults == [
            "a@canary names version 7", "a@canary names version 9", "b@beta names version 2",
        ]  # fmt: skip
    with desk.sessions() as session:
        assert len(versions.list_aliases(session, "a")) == 2


def test_a_counter_that_is_too_low_is_repaired(desk: Desk) -> None:
    for model in ("a", "a", "b"):
        desk.version(model)
    with desk.sessions.begin() as session:
        session.execute(update(Model).where(Model.name == "a").values(versions=1))
        session.add(Model(name="empty", id="model_0", task="forecasting", versions=0))
    desk.repairs("models", ["a"])
    with desk.sessions() as session:
        counts = {model.name: model.versions for model in session.scalars(select(Model))}
    assert counts == {"a": 2, "b": 1, "empty": 0}
    desk.version("a")


def test_events_without_a_job_are_deleted(desk: Desk, engine: Engine) -> None:
    left, gone = desk.job(), desk.job()
    desk.set(gone, model="gone")
    off, on = SWITCHES[engine.dialect.name]
    connection = engine.raw_connection()
    for statement in (off, "delete from jobs where model = 'gone'", on):
        connection.cursor().execute(statement)
    connection.commit()
    connection.close()
    desk.repairs("events", [f"events of {gone}"])
    with desk.sessions() as session:
        assert set(session.scalars(select(JobEvent.job_id))) == {left}


def test_a_check_that_raises_is_itself_the_fault() -> None:
    def find() -> list[str]:
        raise OSError("no such device")

    result = run(Check("x", "fine", find), repair=True)
    assert (result.state, result.detail) == (CheckState.PROBLEM, "no such device")


def test_what_a_repair_leaves_is_a_problem() -> None:
    faults = ["a", "b"]
    result = run(Check("x", "fine", lambda: list(faults), faults.clear), repair=False)
    assert result == CheckResult("x", CheckState.PROBLEM, "a, b", ["a", "b"])
    result = run(Check("x", "fine", lambda: list(faults), lambda: faults.remove("b")), repair=True)
    assert result == CheckResult("x", CheckState.PROBLEM, "a", ["a"])
    result = run(Check("x", "fine", lambda: list(faults), faults.clear), repair=True)
    assert result == CheckResult("x", CheckState.REPAIRED, "a", ["a"])


def test_a_line_shows_a_few_faults_and_counts_the_others() -> None:
    assert summarize([str(k) for k in range(MAX_FAULTS_SHOWN + 3)]) == "0, 1, 2, 3, 4 and 3 more"
    assert summarize(["a"]) == "a"
