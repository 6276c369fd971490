"""The job state machine against real SQL: who may run a job, and how it ends exactly once."""

import threading

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.database.engine import Sessions, db_now
from app.database.tables import Alias, Job, JobEvent, ModelVersion
from app.identifiers import new_id
from app.infrastructure.events.job_events import append_events
from app.services.jobs import control, leases, reaper
from app.services.jobs.leases import Lease
from app.services.models import aliases, versions
from app.services.models.versions import TrainingOutcome
from app.states import Status

OUTCOME = TrainingOutcome("artifacts/x/1", 10, 100, "00", {"smape": 1.0}, {"smape": 2.0})


def submit(session: Session, model: str = "m", device: str | None = None) -> str:
    job = Job(
        id=new_id("job"),
        kind="train",
        task="forecasting",
        dataset_id="ds_1",
        model=model,
        network={},
        training={} if device is None else {"device": device},
        options={},
        job_metadata={},
    )
    session.add(job)
    session.flush()
    append_events(session, job.id, [("status", {"status": "queued"})])
    return job.id


def claimed(sessions: Sessions, job_id: str, owner: str = "w1", seconds: float = 60) -> Lease:
    with sessions.begin() as session:
        job = leases.claim(session, job_id, owner, seconds)
        assert job is not None
        return Lease(job.id, job.attempt)


def expire(sessions: Sessions, job_id: str) -> None:
    with sessions.begin() as session:
        session.execute(update(Job).where(Job.id == job_id).values(lease_until=db_now() - 1))


@pytest.fixture
def job_id(sessions: Sessions) -> str:
    with sessions.begin() as session:
        return submit(session)


def status(sessions: Sessions, job_id: str) -> str:
    with sessions() as session:
        return session.get_one(Job, job_id).status


def test_a_claim_takes_a_queued_job_once(sessions: Sessions, job_id: str) -> None:
    with sessions.begin() as session:
        job = leases.claim(session, job_id, "w1", 60)
        assert job is not None
        assert (job.status, job.attempt, job.owner) == (Status.RUNNING, 1, "w1")
        assert job.started_at is not None
    with sessions.begin() as session:
        assert leases.claim(session, job_id, "w2", 60) is None


def test_many_wake_ups_make_one_claim(sessions: Sessions) -> None:
    with sessions.begin() as session:
        ids = [submit(session) for _ in range(12)]
    claims: list[str] = []

    def worker(name: str) -> None:
        for job_id in ids:
            with sessions.begin() as session:
                if leases.claim(session, job_id, name, 60) is not None:
                    claims.append(job_id)

    threads = [threading.Thread(target=worker, args=(f"w{k}",)) for k in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claims) == sorted(ids)


def test_the_job_that_was_submitted_first_is_next_unless_it_is_not_due(sessions: Sessions) -> None:
    with sessions.begin() as session:
        first, second, third = (submit(session) for _ in range(3))
        session.execute(update(Job).where(Job.id == first).values(due_at=db_now() + 100))
        assert leases.next_queued(session, ["cpu"]) == second
        session.execute(update(Job).where(Job.id == first).values(due_at=db_now() - 1))
        assert leases.next_queued(session, ["cpu"]) == first
    for job_id in (first, second):
        claimed(sessions, job_id)
    with sessions() as session:
        assert leases.next_queued(session, ["cpu"]) == third


def test_a_job_that_runs_without_a_lease_is_reaped(sessions: Sessions, job_id: str) -> None:
    """Whatever left it so, nobody would ever renew or end it."""
    claimed(sessions, job_id)
    with sessions.begin() as session:
        session.execute(update(Job).values(lease_until=None))
        assert reaper.reap(session) == [job_id]
    assert status(sessions, job_id) == Status.QUEUED


def test_a_heartbeat_renews_the_lease_and_stores_progress(sessions: Sessions, job_id: str) -> None:
    lease = claimed(sessions, job_id, seconds=1)
    with sessions() as session:
        before = session.get_one(Job, job_id)
    with sessions.begin() as session:
        flags = leases.renew(
            session, lease, 60, {"fraction": 0.5}, {"train_loss": 1.0}, [("epoch", {"epoch": 1})]
        )
        assert flags is not None
        assert not flags.cancel
    with sessions() as session:
        job = session.get_one(Job, job_id)
        assert job.progress == {"fraction": 0.5}
        assert job.metrics == {"train_loss": 1.0}
        assert job.revision > before.revision
        assert (job.lease_until or 0) > (before.lease_until or 0) + 50


def test_a_heartbeat_without_progress_is_not_a_visible_change(sessions: Sessions, job_id: str) -> None:
    lease = claimed(sessions, job_id)
    with sessions() as session:
        before = session.get_one(Job, job_id).revision
    with sessions.begin() as session:
        leases.renew(session, lease, 60, None, None, [])
    with sessions() as session:
        assert session.get_one(Job, job_id).revision == before


def test_a_heartbeat_returns_the_request_to_cancel(sessions: Sessions, job_id: str) -> None:
    lease = claimed(sessions, job_id)
    with sessions.begin() as session:
        assert control.cancel(session, job_id).status == Status.RUNNING
    with sessions.begin() as session:
        flags = leases.renew(session, lease, 60, None, None, [])
        assert flags is not None
        assert flags.cancel


def test_success_makes_a_version_with_its_alias(sessions: Sessions, job_id: str) -> None:
    lease = claimed(sessions, job_id)
    with sessions.begin() as session:
        assert leases.succeed(session, lease, OUTCOME) == 1
    with sessions() as session:
        job = session.get_one(Job, job_id)
        assert (job.status, job.model_version) == (Status.SUCCEEDED, 1)
        assert job.finished_at is not None
        assert session.get_one(Alias, ("default", "m", "production")).version == 1
        assert session.get_one(ModelVersion, ("default", "m", 1)).job_id == job_id


def test_a_second_version_does_not_take_production(sessions: Sessions, job_id: str) -> None:
    with sessions.begin() as session:
        other = submit(session)
    for number, one in enumerate((job_id, other), 1):
        lease = claimed(sessions, one)
        with sessions.begin() as session:
            assert leases.succeed(session, lease, OUTCOME) == number
    with sessions() as session:
        assert session.get_one(Alias, ("default", "m", "production")).version == 1


def test_finishing_twice_is_one_result(sessions: Sessions, job_id: str) -> None:
    lease = claimed(sessions, job_id)
    for _ in range(2):  # the answer to the first commit may have been lost
        with sessions.begin() as session:
            assert leases.succeed(session, lease, OUTCOME) == 1
    with sessions.begin() as session:
        assert not leases.end(session, lease, Status.FAILED, code="late")
    with sessions() as session:
        assert len(session.scalars(select(ModelVersion)).all()) == 1
        assert session.get_one(Job, job_id).status == Status.SUCCEEDED


def test_versions_of_one_model_finishing_together_get_different_numbers(sessions: Sessions) -> None:
    with sessions.begin() as session:
        ids = [submit(session, "race") for _ in range(6)]
    owned = [claimed(sessions, job_id) for job_id in ids]
    numbers: list[int | None] = []

    def finish(lease: Lease) -> None:
        with sessions.begin() as session:
            numbers.append(leases.succeed(session, lease, OUTCOME))

    threads = [threading.Thread(target=finish, args=(lease,)) for lease in owned]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(number or 0 for number in numbers) == [1, 2, 3, 4, 5, 6]


def test_a_job_with_an_expired_lease_goes_back_to_the_queue_and_its_owner_is_fenced(
    sessions: Sessions, job_id: str
) -> None:
    old = claimed(sessions, job_id)
    expire(sessions, job_id)
    with sessions.begin() as session:
        assert reaper.reap(session) == [job_id]
    assert status(sessions, job_id) == Status.QUEUED
    new = claimed(sessions, job_id, "w2")
    assert new.attempt == old.attempt + 1
    with sessions.begin() as session:
        assert leases.renew(session, old, 60, {"fraction": 0.9}, None, [("log", {})]) is None
        assert leases.succeed(session, old, OUTCOME) is None
        assert not leases.release(session, old, crashed=True)
    with sessions() as session:
        assert session.get_one(Job, job_id).progress is None


def test_an_expired_lease_is_charged_before_anyone_else_claims_the_job(
    sessions: Sessions, job_id: str
) -> None:
    claimed(sessions, job_id)
    expire(sessions, job_id)
    with sessions.begin() as session:
        assert leases.next_queued(session, ["cpu"]) is None
        assert leases.claim(session, job_id, "w2", 60) is None
        assert reaper.reap(session) == [job_id]
    assert claimed(sessions, job_id, "w2").attempt == 2
    with sessions() as session:
        assert session.get_one(Job, job_id).crashes == 1


def test_a_job_that_kills_its_workers_fails_in_the_end(sessions: Sessions, job_id: str) -> None:
    for _ in range(leases.MAX_CRASHES + 1):
        assert status(sessions, job_id) == Status.QUEUED
        claimed(sessions, job_id)
        expire(sessions, job_id)
        with sessions.begin() as session:
            reaper.reap(session)
    with sessions() as session:
        job = session.get_one(Job, job_id)
        assert (job.status, job.error_code) == (Status.FAILED, "worker_lost")
        assert "batch_size" in (job.error_message or "")


@pytest.mark.parametrize("kind", ["step", "part"])
def test_a_training_of_three_days_survives_a_loss_an_hour(sessions: Sessions, job_id: str, kind: str) -> None:
    for hour in range(72):
        lease = claimed(sessions, job_id)
        with sessions.begin() as session:
            assert leases.renew(session, lease, 60, None, None, [("checkpoint", {kind: hour + 1})])
            if hour % 2:
                leases.release(session, lease, crashed=True)
            else:
                leases.retry(session, lease, "storage", "The artifact store failed.")
                session.execute(update(Job).values(due_at=None))
    lease = claimed(sessions, job_id)
    with sessions.begin() as session:
        assert leases.succeed(session, lease, OUTCOME) == 1
        assert session.get_one(Job, job_id).crashes == 36


def test_progress_that_was_stored_before_excuses_nothing(sessions: Sessions, job_id: str) -> None:
    """A job that is lost at the same step each time takes the checkpoint before it again and again."""
    for loss in range(leases.MAX_CRASHES + 2):
        assert status(sessions, job_id) == Status.QUEUED
        lease = claimed(sessions, job_id)
        with sessions.begin() as session:
            if loss:  # the first attempt comes to nothing
                leases.renew(session, lease, 60, None, None, [("checkpoint", {"step": 7})])
            leases.release(session, lease, crashed=True)
    with sessions() as session:
        job = session.get_one(Job, job_id)
        assert (job.status, job.error_code) == (Status.FAILED, "worker_lost")
        assert "4 times while it ran this job, without progress" in (job.error_message or "")


def test_a_release_charges_no_crash(sessions: Sessions, job_id: str) -> None:
    for _ in range(leases.MAX_CRASHES + 3):
        lease = claimed(sessions, job_id)
        with sessions.begin() as session:
            assert leases.release(session, lease, crashed=False)
    assert status(sessions, job_id) == Status.QUEUED


def test_a_cancelled_job_whose_worker_is_lost_ends_cancelled(sessions: Sessions, job_id: str) -> None:
    claimed(sessions, job_id)
    with sessions.begin() as session:
        control.cancel(session, job_id)
    expire(sessions, job_id)
    with sessions.begin() as session:
        assert leases.claim(session, job_id, "w2", 60) is None
        reaper.reap(session)
    assert status(sessions, job_id) == Status.CANCELLED


def test_a_job_cancelled_before_its_end_does_not_succeed(sessions: Sessions, job_id: str) -> None:
    lease = claimed(sessions, job_id)
    with sessions.begin() as session:
        control.cancel(session, job_id)
    with sessions.begin() as session:
        assert leases.succeed(session, lease, OUTCOME) is None
        assert leases.end(session, lease, Status.CANCELLED)
    assert status(sessions, job_id) == Status.CANCELLED


def test_cancel_races_with_success_to_exactly_one_end(sessions: Sessions) -> None:
    with sessions.begin() as session:
        ids = [submit(session) for _ in range(10)]
    for job_id in ids:
        lease = claimed(sessions, job_id)
        ends: list[object] = []

        def finish(lease: Lease = lease, ends: list[object] = ends) -> None:
            with sessions.begin() as session:
                ends.append(leases.succeed(session, lease, OUTCOME))

        thread = threading.Thread(target=finish)
        thread.start()
        try:
            with sessions.begin() as session:
                control.cancel(session, job_id)
        except Exception as error:  # noqa: BLE001 - a refusal is one of the two outcomes
            assert "already succeeded" in str(error)  # noqa: PT017
        thread.join()
        with sessions() as session:
            job = session.get_one(Job, job_id)
            assert (ends[0] is not None) == (job.status == Status.SUCCEEDED)


def test_queued_jobs_are_announced_oldest_first_and_again_when_overdue(sessions: Sessions) -> None:
    with sessions.begin() as session:
        ids = [submit(session) for _ in range(3)]
        assert reaper.unnotified(session, None) == sorted(ids)
        reaper.mark_notified(session, ids[:2])
    with sessions.begin() as session:
        assert reaper.unnotified(session, None) == [max(ids)] or reaper.unnotified(session, None) == ids[2:]
        assert reaper.unnotified(session, 60) == ids[2:]
        session.execute(update(Job).values(dispatched_at=db_now() - 120))
    with sessions() as session:
        assert reaper.unnotified(session, 60) == sorted(ids)


def test_events_are_numbered_without_gaps_by_concurrent_writers(sessions: Sessions, job_id: str) -> None:
    def write() -> None:
        for _ in range(10):
            with sessions.begin() as session:
                append_events(session, job_id, [("log", {}), ("log", {})])

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with sessions() as session:
        numbers = list(
            session.scalars(select(JobEvent.seq).where(JobEvent.job_id == job_id).order_by(JobEvent.seq))
        )
    assert numbers == list(range(1, 82))


def test_deleting_the_only_version_does_not_reuse_its_number(sessions: Sessions, job_id: str) -> None:
    with sessions.begin() as session:
        other = submit(session)
    lease = claimed(sessions, job_id)
    with sessions.begin() as session:
        leases.succeed(session, lease, OUTCOME)
        aliases.remove(session, "m", "production")
        assert versions.remove_version(session, "m", 1) == OUTCOME.artifact
    lease = claimed(sessions, other)
    with sessions.begin() as session:
        assert leases.succeed(session, lease, OUTCOME) == 2
