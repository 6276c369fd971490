"""Requests to cancel, pause and resume in every state, and in races with workers: none is lost."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from random import Random
from typing import Any

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.database.engine import Sessions, db_now
from app.database.tables import Job, JobEvent, ModelVersion
from app.errors import Conflict, NotFound
from app.services.jobs import control, leases, reaper
from app.services.jobs.leases import Lease
from app.services.models.versions import TrainingOutcome
from app.states import TERMINAL, Status
from tests.app.services.invariants import check, look
from tests.app.services.jobs.test_leases import claimed, submit

QUEUED, RUNNING, PAUSED = Status.QUEUED, Status.RUNNING, Status.PAUSED
SUCCEEDED, FAILED, CANCELLED = Status.SUCCEEDED, Status.FAILED, Status.CANCELLED
REQUESTS = {"cancel": control.cancel, "pause": control.pause, "resume": control.resume}
OFTEN, FEW = 100, 25  # races of a kind
HEAD_STARTS = (0.002, 0.008, 0.032)  # seconds, at most: on a busy machine a transaction takes longer

# The status after each request; a combination that is missing is refused.
STATUS_AFTER = {
    ("cancel", QUEUED): CANCELLED,
    ("cancel", RUNNING): RUNNING,
    ("cancel", PAUSED): CANCELLED,
    ("cancel", CANCELLED): CANCELLED,
    ("pause", QUEUED): PAUSED,
    ("pause", RUNNING): RUNNING,
    ("pause", PAUSED): PAUSED,
    ("resume", QUEUED): QUEUED,
    ("resume", RUNNING): RUNNING,
    ("resume", PAUSED): QUEUED,
}


def deliver(session: Session, lease: Lease) -> int | None:
    artifact = f"artifacts/{lease.job_id}/{lease.attempt}"
    return leases.succeed(session, lease, TrainingOutcome(artifact, 1, 1, "00", {"smape": 1.0}, {}))


def release(session: Session, lease: Lease) -> Status | None:
    return leases.release(session, lease, crashed=False)


def fail_storage(session: Session, lease: Lease) -> Status | None:
    return leases.retry(session, lease, "storage", "The store is away.")


def diverge(session: Session, lease: Lease) -> bool:
    return leases.end(session, lease, FAILED, code="diverged", message="NaN")


def reap(session: Session, lease: Lease) -> bool:
    ours = (Job.id == lease.job_id, Job.status == RUNNING)
    session.execute(update(Job).where(*ours).values(lease_until=db_now() - 1))
    return lease.job_id in reaper.reap(session)


def renew(session: Session, lease: Lease) -> leases.ControlFlags | None:
    return leases.renew(session, lease, 60, {"fraction": 0.5}, None, [("log", {})])


def claim(session: Session, lease: Lease) -> Job | None:
    return leases.claim(session, lease.job_id, "another", 60)


def requested(name: str) -> Callable[[Session, Lease], Job]:
    return lambda session, lease: REQUESTS[name](session, lease.job_id)


def job_in_status(sessions: Sessions, status: Status) -> str:
    """A job in a state, by the way that jobs take."""
    with sessions.begin() as session:
        job_id = submit(session)
        if status is PAUSED:
            control.pause(session, job_id)
    if status is RUNNING or status in TERMINAL:
        lease = claimed(sessions, job_id)
        with sessions.begin() as session:
            if status is SUCCEEDED:
                deliver(session, lease)
            elif status is FAILED:
                diverge(session, lease)
            elif status is CANCELLED:
                control.cancel(session, job_id)
                release(session, lease)
    return job_id


@pytest.fixture(params=[OFTEN, pytest.param(1000, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def times(request: pytest.FixtureRequest) -> int:
    """How often a race is run."""
    number: int = request.param
    return number


@contextmanager
def checked(sessions: Sessions) -> Iterator[None]:
    """Check all invariants afterwards."""
    yield
    with sessions() as session:
        check(look(session))


def read(sessions: Sessions, job_id: str) -> Job:
    with sessions() as session:
        return session.get_one(Job, job_id)


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("name", REQUESTS)
def test_every_request_in_every_state_takes_effect_once(
    sessions: Sessions, name: str, status: Status
) -> None:
    job_id = job_in_status(sessions, status)
    before = read(sessions, job_id)
    after: list[tuple[Any, ...]] = []
    with checked(sessions):
        for _ in range(3):
            if (name, status) not in STATUS_AFTER:
                with sessions.begin() as session, pytest.raises(Conflict, match=status.removesuffix("led")):
                    REQUESTS[name](session, job_id)
                continue
            with sessions.begin() as session:
                REQUESTS[name](session, job_id)
            job = read(sessions, job_id)
            assert job.status == STATUS_AFTER[name, status]
            after.append((job.revision, job.events, job.cancel_requested_at, job.pause_requested_at))
    assert len(set(after)) <= 1, "repeating is harmless, and no visible change"
    if (name, status) not in STATUS_AFTER:
        assert read(sessions, job_id).revision == before.revision
    job = read(sessions, job_id)
    if status is RUNNING:
        assert (job.cancel_requested_at is not None) == (name == "cancel")
        assert (job.pause_requested_at is not None) == (name == "pause")


@pytest.mark.parametrize("name", REQUESTS)
def test_a_job_that_does_not_exist_is_not_found(sessions: Sessions, name: str) -> None:
    with sessions.begin() as session, pytest.raises(NotFound, match="job_none"):
        REQUESTS[name](session, "job_none")


def test_a_paused_job_is_not_claimed_until_it_is_resumed(sessions: Sessions) -> None:
    job_id = job_in_status(sessions, PAUSED)
    with sessions.begin() as session:
        assert leases.next_queued(session, ["cpu"]) is None
        assert leases.claim(session, job_id, "w", 60) is None
        assert reaper.unnotified(session, 0.0) == []
        control.resume(session, job_id)
        assert leases.next_queued(session, ["cpu"]) == job_id
        assert reaper.unnotified(session, None) == [job_id]


def test_a_pause_is_granted_by_the_worker_and_goes_on_as_a_new_attempt(sessions: Sessions) -> None:
    job_id = job_in_status(sessions, RUNNING)
    with sessions.begin() as session:
        control.pause(session, job_id)
        flags = leases.renew(session, Lease(job_id, 1), 60, {"fraction": 0.5}, None, [])
        assert flags == leases.ControlFlags(cancel=False, pause=True)
        assert release(session, Lease(job_id, 1)) is PAUSED
    job = read(sessions, job_id)
    assert (job.owner, job.lease_until, job.pause_requested_at) == (None, None, None)
    assert (job.crashes, job.failures, job.progress) == (0, 0, {"fraction": 0.5})
    with checked(sessions), sessions.begin() as session:
        control.resume(session, job_id)
        assert leases.claim(session, job_id, "w", 60) is not None
        assert leases.renew(session, Lease(job_id, 1), 60, None, None, []) is None
        assert deliver(session, Lease(job_id, 2)) == 1


def test_a_pause_taken_back_in_time_stops_nobody(sessions: Sessions) -> None:
    job_id = job_in_status(sessions, RUNNING)
    with sessions.begin() as session:
        control.pause(session, job_id)
        control.resume(session, job_id)
        flags = leases.renew(session, Lease(job_id, 1), 60, None, None, [])
        assert flags == leases.ControlFlags(cancel=False)
        assert release(session, Lease(job_id, 1)) is QUEUED


def test_a_job_being_cancelled_cannot_be_paused(sessions: Sessions) -> None:
    job_id = job_in_status(sessions, RUNNING)
    with checked(sessions), sessions.begin() as session:
        control.pause(session, job_id)
        control.cancel(session, job_id)  # the stronger request wins, whichever came first
        with pytest.raises(Conflict, match="being cancelled"):
            control.pause(session, job_id)
        assert release(session, Lease(job_id, 1)) is CANCELLED


@pytest.mark.parametrize("action", [release, fail_storage, diverge, reap])
def test_however_a_cancelled_job_is_left_it_ends_cancelled(
    sessions: Sessions, action: Callable[[Session, Lease], object]
) -> None:
    job_id = job_in_status(sessions, RUNNING)
    with checked(sessions), sessions.begin() as session:
        session.execute(update(Job).values(crashes=leases.MAX_CRASHES, failures=leases.MAX_FAILURES))
        control.cancel(session, job_id)
        assert action(session, Lease(job_id, 1))
    job = read(sessions, job_id)
    assert (job.status, job.error_code, job.failures) == (CANCELLED, None, leases.MAX_FAILURES)
    with sessions() as session:
        kinds = list(session.scalars(select(JobEvent.type).where(JobEvent.job_id == job_id)))
    assert kinds == ["status"] * 3, "no event says that it will be tried again"


def test_errors_that_may_not_come_again_are_tried_again_later_and_later(sessions: Sessions) -> None:
    with sessions.begin() as session:
        job_id = submit(session)
    waits = []
    for failures in range(1, leases.MAX_FAILURES + 1):
        lease = claimed(sessions, job_id)
        with sessions.begin() as session:
            assert fail_storage(session, lease) is QUEUED
            assert fail_storage(session, lease) is None  # the answer to the commit was lost
        with sessions.begin() as session:
            waits.append(session.scalars(select(Job.due_at - db_now())).one())
            assert leases.next_queued(session, ["cpu"]) is None
            assert reaper.unnotified(session, None) == []
            session.execute(update(Job).values(due_at=db_now() - 0.1))
            assert leases.next_queued(session, ["cpu"]) == job_id
            assert reaper.unnotified(session, None) == [job_id]
        assert (read(sessions, job_id).failures, read(sessions, job_id).crashes) == (failures, 0)
    assert waits == pytest.approx(
        [leases.BACKOFF_SECONDS, 2 * leases.BACKOFF_SECONDS], abs=leases.BACKOFF_SECONDS / 2
    )
    with checked(sessions), sessions.begin() as session:
        assert leases.claim(session, job_id, "w", 60) is not None
        assert fail_storage(session, Lease(job_id, 3)) is FAILED
    job = read(sessions, job_id)
    assert (job.error_code, job.error_message) == ("storage", "The store is away.")


def test_a_request_to_pause_outlives_an_error(sessions: Sessions) -> None:
    job_id = job_in_status(sessions, RUNNING)
    with sessions.begin() as session:
        control.pause(session, job_id)
        assert fail_storage(session, Lease(job_id, 1)) is PAUSED
        control.resume(session, job_id)
        assert leases.next_queued(session, ["cpu"]) == job_id, "its owner wants it now"


def test_the_two_budgets_are_apart(sessions: Sessions) -> None:
    with sessions.begin() as session:
        job_id = submit(session)
    actions = [*[fail_storage] * leases.MAX_FAILURES, *[reap] * leases.MAX_CRASHES, *[release] * 5]
    with checked(sessions):
        for action in Random(4).sample(actions, len(actions)):  # noqa: S311 - a sequence to be repeated
            lease = claimed(sessions, job_id)
            with sessions.begin() as session:
                assert action(session, lease)
            assert read(sessions, job_id).status == QUEUED
    job = read(sessions, job_id)
    assert (job.crashes, job.failures, job.attempt) == (leases.MAX_CRASHES, leases.MAX_FAILURES, len(actions))


def test_a_result_sent_again_after_a_lost_answer_is_the_same(sessions: Sessions) -> None:
    job_id, other = job_in_status(sessions, SUCCEEDED), job_in_status(sessions, SUCCEEDED)
    before = read(sessions, other)
    with checked(sessions), sessions.begin() as session:
        for _ in range(2):
            assert deliver(session, Lease(job_id, 1)) == 1
            assert deliver(session, Lease(other, 1)) == 2
            assert deliver(session, Lease(other, 0)) is None
        assert session.scalar(select(func.count()).select_from(ModelVersion)) == 2
    assert read(sessions, other).revision == before.revision


def race(
    sessions: Sessions,
    times: int,
    outcomes: set[bool],
    status: Status,
    *parties: Callable[[Session, Lease], Any],
    **values: Any,
) -> Iterator[tuple[Job, list[Any]]]:
    """Let the parties fall on jobs at once: each job, and each party's result or refusal.

    As often as `times`, but no more once `FEW` races have had both outcomes: then they were races.
    """
    for first in range(0, times, FEW):
        if both(outcomes) and times == OFTEN:
            return
        yield from _races(sessions, min(FEW, times - first), status, *parties, **values)


def _races(
    sessions: Sessions, times: int, status: Status, *parties: Callable[[Session, Lease], Any], **values: Any
) -> Iterator[tuple[Job, list[Any]]]:
    with sessions.begin() as session:
        held = [Lease(submit(session), 1) for _ in range(times)]
        for lease in held:
            if status is RUNNING:
                assert leases.claim(session, lease.job_id, "w", 600)
            elif status is PAUSED:
                control.pause(session, lease.job_id)
        ids = [lease.job_id for lease in held]
        session.execute(update(Job).where(Job.id.in_(ids)).values(status=status, **values))
    start = threading.Barrier(len(parties), timeout=60)

    def run(party: Callable[[Session, Lease], Any], random: Random) -> list[Any]:
        results: list[Any] = []
        try:
            for lease in held:
                start.wait()
                time.sleep(random.uniform(0, random.choice(HEAD_STARTS)))
                try:
                    with sessions.begin() as session:
                        results.append(party(session, lease))
                except Conflict as refusal:
                    results.append(refusal)
        except BaseException:
            start.abort()
            raise
        return results

    with ThreadPoolExecutor(len(parties)) as pool:
        randoms = [Random(seed) for seed in range(len(parties))]  # noqa: S311 - to be repeated
        running = [pool.submit(run, *one) for one in zip(parties, randoms, strict=True)]
        results = [each.result() for each in running]
    with checked(sessions):
        for lease, *answers in zip(held, *results, strict=True):
            yield read(sessions, lease.job_id), answers


def both(outcomes: set[bool]) -> bool:
    """Whether the race was won by each side at least once."""
    return outcomes == {True, False}


def test_cancel_and_success_race_to_one_end(sessions: Sessions, times: int) -> None:
    outcomes = set[bool]()
    for job, (answer, version) in race(sessions, times, outcomes, RUNNING, requested("cancel"), deliver):
        outcomes.add(won := version is not None)
        assert isinstance(answer, Conflict) == won
        assert job.status == (SUCCEEDED if won else RUNNING)
        if not won:
            with sessions.begin() as session:
                assert release(session, Lease(job.id, 1)) is CANCELLED
    assert both(outcomes)


def test_pause_and_success_race_to_success(sessions: Sessions, times: int) -> None:
    outcomes = set[bool]()
    for job, (answer, version) in race(sessions, times, outcomes, RUNNING, requested("pause"), deliver):
        outcomes.add(isinstance(answer, Conflict))
        assert version is not None
        assert (job.status, job.model_version, job.pause_requested_at) == (SUCCEEDED, version, None)
    assert both(outcomes)


def test_the_later_of_pause_and_resume_counts_whenever_the_worker_lets_go(
    sessions: Sessions, times: int
) -> None:
    outcomes = set[bool]()
    for job, (paused, resumed, left) in race(
        sessions, times, outcomes, RUNNING, requested("pause"), requested("resume"), release
    ):
        outcomes.add(later := resumed.revision > paused.revision)
        assert job.status == (QUEUED if later else PAUSED)
        assert left in {QUEUED, PAUSED}
    assert both(outcomes)


@pytest.mark.parametrize("action", [release, fail_storage])
def test_a_cancel_is_not_lost_when_the_worker_lets_go(
    sessions: Sessions, times: int, action: Callable[[Session, Lease], Status | None]
) -> None:
    outcomes = set[bool]()
    for job, (answer, left) in race(sessions, times, outcomes, RUNNING, requested("cancel"), action):
        assert isinstance(answer, Job)
        outcomes.add(left is CANCELLED)
        assert left in {CANCELLED, QUEUED}
        assert job.status == CANCELLED
    assert both(outcomes)


@pytest.mark.parametrize("action", [fail_storage, diverge, reap])
def test_cancel_and_failure_race_to_one_end(
    sessions: Sessions, times: int, action: Callable[[Session, Lease], object]
) -> None:
    outcomes = set[bool]()
    spent = {"failures": leases.MAX_FAILURES, "crashes": leases.MAX_CRASHES}
    for job, (answer, left) in race(sessions, times, outcomes, RUNNING, requested("cancel"), action, **spent):
        assert left
        outcomes.add(refused := isinstance(answer, Conflict))
        assert job.status == (FAILED if refused else CANCELLED)
    assert both(outcomes)


@pytest.mark.parametrize(("name", "status"), [("resume", PAUSED), ("pause", QUEUED), ("cancel", QUEUED)])
def test_a_request_and_a_claim_race_to_one_state(
    sessions: Sessions, times: int, name: str, status: Status
) -> None:
    outcomes = set[bool]()
    for job, (answer, taken) in race(sessions, times, outcomes, status, requested(name), claim):
        assert isinstance(answer, Job)
        outcomes.add(taken is not None)
        assert job.attempt == (taken is not None)
        assert job.status == (STATUS_AFTER[name, status] if taken is None else RUNNING)
        flags = (job.cancel_requested_at is not None, job.pause_requested_at is not None)
        if taken is not None:
            assert flags == (name == "cancel", name == "pause")
    assert both(outcomes)


def test_a_reaper_and_a_result_race_to_one_end(sessions: Sessions, times: int) -> None:
    outcomes = set[bool]()
    for job, (taken, version) in race(sessions, times, outcomes, RUNNING, reap, deliver):
        outcomes.add(taken)
        assert taken == (version is None)
        assert (job.status, job.crashes) == ((QUEUED, 1) if taken else (SUCCEEDED, 0))
    assert both(outcomes)


def test_a_report_after_the_lease_was_lost_is_ignored(sessions: Sessions, times: int) -> None:
    outcomes = set[bool]()
    for job, (taken, answer) in race(sessions, times, outcomes, RUNNING, reap, renew):
        outcomes.add(renewed := answer is not None)
        assert taken
        assert (job.status, job.crashes, job.progress) == (QUEUED, 1, {"fraction": 0.5} if renewed else None)
        assert job.events == (4 if renewed else 3)
    assert both(outcomes)


def test_two_reapers_charge_a_lost_worker_once(sessions: Sessions, times: int) -> None:
    for job, taken in race(sessions, times, set(), RUNNING, reap, reap):
        assert sorted(taken) == [False, True]
        assert (job.status, job.crashes) == (QUEUED, 1)


def test_workers_are_notified_of_a_job_that_was_resumed(sessions: Sessions) -> None:
    """Its notification before the pause has been used up."""
    job_id = job_in_status(sessions, PAUSED)
    with sessions.begin() as session:
        reaper.mark_notified(session, [job_id])
        control.resume(session, job_id)
        assert reaper.unnotified(session, None) == [job_id]
