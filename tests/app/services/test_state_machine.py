"""The job state machine, driven at random against the real SQL and held against a model in plain Python."""

import os
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    get_state_machine_test,
    invariant,
    precondition,
    rule,
)
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.engine import Sessions, db_now, make_engine, make_sessions
from app.database.tables import Job, ModelVersion
from app.errors import Conflict
from app.identifiers import new_id
from app.schemas import JobIn
from app.services.jobs import batch_predictions, control, leases, queries, reaper, submission
from app.services.jobs.leases import ControlFlags, Lease
from app.services.models.versions import TrainingOutcome
from app.states import TERMINAL, Status
from app.typedefs import Json
from tests.app.services.invariants import check, check_change, look
from tests.app.services.lifecycle import MESSAGE, SLOWNESS, JobModel, read_job
from tests.app.services.stage import BASE, BASE_VERSION, STATE, clean, pass_time

# The clock only jumps: what the test itself takes is far from any limit, so that every run is the same.
LEASE = 1000.0
SHORT, LONG = 400.0, 1100.0
SLACK = 90.0
OVERDUE = 300.0  # seconds until a wake-up is sent again
MAX_LIVE_JOBS = 3  # live jobs at once: few, so that much happens to each
PICK = st.integers(0, 255)
Report = tuple[Json | None, Json | None, list[tuple[str, Json]]]
REPORTS: st.SearchStrategy[Report] = st.tuples(
    st.sampled_from([None, {"fraction": 0.25}, {"fraction": 0.5, "eta_seconds": 3.0}]),
    st.sampled_from([None, {"train_loss": 1.0}, {"train_loss": 0.5, "valid_loss": 0.7}]),
    st.lists(
        st.sampled_from([("epoch", {"epoch": 1}), ("checkpoint", {"step": 3}), ("checkpoint", {"step": 5})]),
        max_size=2,
    ),
)


def deliver(session: Session, lease: Lease) -> int | bool | None:
    """What the supervisor does with a result, by the kind of the job."""
    job = session.get(Job, lease.job_id)
    if job is not None and job.kind == batch_predictions.BATCH_PREDICT:
        return leases.complete(session, lease, METRICS[batch_predictions.BATCH_PREDICT])
    outcome = TrainingOutcome(f"artifacts/{lease.job_id}/{lease.attempt}", 1, 1, "00", {"smape": 1.0}, {})
    if job is not None and job.sweep_id is not None:
        return leases.complete(session, lease, outcome.metrics, outcome)
    return leases.succeed(session, lease, outcome)


METRICS: dict[str, Json] = {batch_predictions.BATCH_PREDICT: {"instances": 4}, "train": {"smape": 1.0}}


ACTIONS: dict[str, Callable[[Session, Lease], object]] = {
    "renew": lambda session, lease: leases.renew(
        session, lease, LEASE, {"fraction": 0.9}, {"train_loss": 9.0}, [("log", {"from": lease.attempt})]
    ),
    "finish": deliver,
    "fail": lambda session, lease: leases.end(session, lease, Status.FAILED, code="diverged", message="NaN"),
    "stop": lambda session, lease: leases.end(session, lease, Status.CANCELLED),
    "retry": lambda session, lease: leases.retry(session, lease, "storage", MESSAGE),
    "release": lambda session, lease: leases.release(session, lease, crashed=False),
    "crash": lambda session, lease: leases.release(session, lease, crashed=True),
}
REQUESTS = {"cancel": control.cancel, "pause": control.pause, "resume": control.resume}
REQUEST_NAMES = st.sampled_from(["pause", "resume", "pause", "resume", "cancel"])


class Machine(RuleBasedStateMachine):
    """Workers, owners, dispatchers and time; after each step the database says what the model says."""

    steps = 0  # of all examples

    def __init__(self, sessions: Sessions) -> None:
        super().__init__()
        self.sessions = sessions
        self.lives: dict[str, JobModel] = {}  # by id, which sorts by the time of the submission
        self.leases: list[Lease] = []  # every one that was ever given
        self.made = 0  # versions
        self.sound = True
        with sessions.begin() as session:
            clean(session)
            self.before = look(session)

    # Owners

    @precondition(lambda self: len(self.alive()) < MAX_LIVE_JOBS and len(self.lives) < 2 * MAX_LIVE_JOBS)
    @rule(kind=st.sampled_from(["train", "run", batch_predictions.BATCH_PREDICT]))
    def submit(self, kind: str) -> None:
        body = {"task": "forecasting", "dataset": "ds_1", "model": "m", "options": {"horizon": 6}}
        with self.sessions.begin() as session:
            if kind == batch_predictions.BATCH_PREDICT:
                version = session.get_one(ModelVersion, ("default", BASE, BASE_VERSION))
                job = batch_predictions.submit(session, version, STATE, "ds_1", {})
                life = JobModel(batch_predictions.BATCH_PREDICT, BASE, BASE_VERSION)
            elif kind == "run":  # of a sweep's trial
                request, trial = JobIn.model_validate(body), {"number": 0, "seed": 7, "parameters": {}}
                parts: Json = {"network": {}, "training": {}, "options": {}}
                job = submission.add_job(
                    session, request, "train", sweep_id="job_sweep", trial=trial, **parts
                )
                life = JobModel("train", "m", run=True)
            else:
                job = submission.submit(session, JobIn.model_validate(body))
                life = JobModel("train", "m")
        self.lives[job.id] = life
        while new_id("job")[:14] <= job.id[:14]:
            pass  # ids of one millisecond are in no order

    @precondition(lambda self: self.lives)
    @rule(pick=PICK, ended=st.sampled_from([False, False, False, True]), name=REQUEST_NAMES)
    def request(self, pick: int, ended: bool, name: str) -> None:
        self._request(
            self._choose(list(self.lives) if ended else self.alive() or list(self.lives), pick), name
        )

    def _request(self, job_id: str, name: str) -> None:
        life = self.lives[job_id]
        with self.sessions.begin() as session:
            if life.forbids(name):
                with pytest.raises(Conflict):
                    REQUESTS[name](session, job_id)
                return
            job = REQUESTS[name](session, job_id)
        getattr(life, f"request_{name}")()
        flags = (job.cancel_requested_at is not None, job.pause_requested_at is not None)
        assert (job.status, *flags) == (life.status, life.cancel, life.pause)

    @precondition(lambda self: any(not life.live for life in self.lives.values()))
    @rule(pick=PICK)
    def remove(self, pick: int) -> None:
        ended = self._choose([one for one, life in self.lives.items() if not life.live], pick)
        with self.sessions.begin() as session:
            for job_id in self.alive():
                with pytest.raises(Conflict):
                    queries.delete_job(session, job_id)
            if self.lives[ended].run:  # goes with its sweep
                with pytest.raises(Conflict):
                    queries.delete_job(session, ended)
                return
            queries.delete_job(session, ended)
        del self.lives[ended]

    # Workers

    @precondition(lambda self: self.held() or self.queued())
    @rule(
        pick=PICK,
        requests=st.sampled_from([(), (), ("cancel",), ("pause",), ("pause", "resume"), ("pause", "cancel")]),
        action=st.sampled_from(["claim", "finish", *ACTIONS]),
        report=REPORTS,
    )
    def work(self, pick: int, requests: tuple[str, ...], action: str, report: Report) -> None:
        if action == "claim" or not self.held():
            self._claim()
            return
        lease = self._choose(self.held(), pick)
        for name in requests:  # before the worker looks again
            self._request(lease.job_id, name)
        if action == "renew":
            self._renew(lease, report)
        elif action == "finish":
            self._finish(lease)
        elif action != "stop" or self.lives[lease.job_id].cancel:  # it stops for nothing but a cancel
            self._end_attempt(lease, action)

    @precondition(lambda self: self.queued())
    @rule(
        action=st.sampled_from(["crash", "retry", "release"]),
        times=st.sampled_from([1, 2, 1, 4, 1, 3]),
        seconds=st.sampled_from([SHORT, LONG]),
        well=st.booleans(),
    )
    def work_that_fails(self, action: str, times: int, seconds: float, well: bool) -> None:
        """Bad luck comes in series, which use a budget up; then all may be well."""
        for _ in range(times):
            if (lease := self._claim()) is not None:
                self._end_attempt(lease, action)
            self._wait(seconds)
        if well and (lease := self._claim()) is not None:
            self._finish(lease)

    def _claim(self) -> Lease | None:
        with self.sessions.begin() as session:
            job_id = leases.next_queued(session, ["cpu"])
            assert job_id == min((one for one in self.queued() if self.lives[one].due), default=None)
            if job_id is None:
                return None
            job = leases.claim(session, job_id, f"worker_{len(self.leases)}", LEASE)
            assert job is not None
        life = self.lives[job_id]
        life.claim(LEASE)
        assert (job.status, job.attempt) == (Status.RUNNING, life.attempt)
        self.leases.append(Lease(job_id, job.attempt))
        return self.leases[-1]

    def _renew(self, lease: Lease, report: Report) -> None:
        life = self.lives[lease.job_id]
        with self.sessions.begin() as session:
            flags = leases.renew(session, lease, LEASE, *report)
        assert flags == ControlFlags(cancel=life.cancel, pause=life.pause)
        life.renew(LEASE, *report)

    def _finish(self, lease: Lease) -> None:
        life = self.lives[lease.job_id]
        result = self._do("finish", lease)
        if life.cancel:
            assert not result
        elif life.versionless:
            assert result is True
            life.succeed(life.version, METRICS[life.kind])
        else:
            self.made += 1
            assert result == self.made
            life.succeed(self.made, {"smape": 1.0})

    def _end_attempt(self, lease: Lease, action: str) -> None:
        life = self.lives[lease.job_id]
        result = self._do(action, lease)
        getattr(life, action)()
        assert result == (True if action in {"fail", "stop"} else life.status)

    # What changes nothing

    @precondition(lambda self: self.leases)
    @rule(pick=PICK, actions=st.permutations(sorted(ACTIONS)))
    def come_too_late(self, pick: int, actions: list[str]) -> None:
        """Second wake-ups, workers that were frozen, results sent twice, and a commit that never came."""
        with self.sessions.begin() as session:
            for job_id in self.lives.keys() - self.queued():
                assert leases.claim(session, job_id, "another", LEASE) is None
            for lease in self.stale():
                for action in actions[:3]:
                    assert not ACTIONS[action](session, lease), action
            for lease in self.ended_well():
                life = self.lives[lease.job_id]
                assert deliver(session, lease) == (True if life.versionless else life.version)
                assert not ACTIONS["stop"](session, lease)
        if self.held():
            with self.sessions() as session:
                ACTIONS[actions[0]](session, self._choose(self.held(), pick))
                session.rollback()

    # Time and dispatchers

    @precondition(lambda self: self.alive())
    @rule(seconds=st.sampled_from([0.0, SHORT, LONG]), reaped=st.booleans(), again=st.booleans())
    def dispatch_pass(self, seconds: float, reaped: bool, again: bool) -> None:
        self._wait(seconds)
        if reaped:
            self._reap()
        self._notify(again)

    def _wait(self, seconds: float) -> None:
        with self.sessions.begin() as session:
            pass_time(session, seconds)
        for life in self.lives.values():
            life.age(seconds)

    def _reap(self) -> None:
        running = {one: life for one, life in self.lives.items() if life.status is Status.RUNNING}
        expired = [one for one, life in running.items() if life.lease < 0]
        with self.sessions.begin() as session:
            assert reaper.reap(session) == sorted(expired)
        for job_id in expired:
            self.lives[job_id].crash()

    def _notify(self, again: bool) -> None:
        due = {one: self.lives[one].notified for one in self.queued() if self.lives[one].due}
        expected = [one for one, seconds in due.items() if seconds is None or (again and seconds > OVERDUE)]
        with self.sessions.begin() as session:
            ids = reaper.unnotified(session, OVERDUE if again else None)
            assert ids == sorted(expected)
            reaper.mark_notified(session, ids)
        for job_id in ids:
            self.lives[job_id].notified = 0.0

    # What holds

    @invariant()
    def agrees(self) -> None:
        Machine.steps += 1
        self.sound = False
        with self.sessions() as session:
            now = look(session)
            clock = session.scalars(select(db_now())).one()
        check(now)
        check_change(self.before, now)
        assert now.jobs.keys() == self.lives.keys()
        for job_id, life in self.lives.items():
            assert read_job(now, job_id) == life.stored
            row = now.jobs[job_id]
            if life.status is Status.RUNNING:
                assert row.lease_until - clock == pytest.approx(life.lease, abs=SLACK)
            elif life.status is Status.QUEUED:
                assert ((row.due_at or 0.0) > clock) == (life.wait > 0)
                assert (row.dispatched_at is None) == (life.notified is None)
        self.before, self.sound = now, True

    def teardown(self) -> None:
        """Whatever state a job was left in, workers and owners can bring it to its end."""
        if not self.sound:
            return
        for _ in range(len(self.alive()) + 2):
            with self.sessions.begin() as session:
                pass_time(session, LONG)
                reaper.reap(session)
                for job_id, row in look(session).jobs.items():
                    if row.status == Status.PAUSED:
                        control.resume(session, job_id)
                if (next_id := leases.next_queued(session, ["cpu"])) is not None:
                    job = leases.claim(session, next_id, "last", LEASE)
                    assert job is not None
                    assert deliver(session, Lease(job.id, job.attempt))
        with self.sessions() as session:
            now = look(session)
        check(now)
        check_change(self.before, now)
        assert all(row.status in TERMINAL for row in now.jobs.values())

    def alive(self) -> list[str]:
        """Jobs that have not ended."""
        return [one for one, life in self.lives.items() if life.live]

    def queued(self) -> list[str]:
        """Jobs that wait for a worker."""
        return [one for one, life in self.lives.items() if life.status is Status.QUEUED]

    def held(self) -> list[Lease]:
        """Leases that count."""
        return [one for one in self.leases if self._is_held(one)]

    def stale(self) -> list[Lease]:
        """Leases of workers that lost their job, or ended it otherwise than well."""
        good = {*self.held(), *self.ended_well()}
        return [one for one in self.leases if one not in good]

    def ended_well(self) -> list[Lease]:
        """Leases whose attempt has brought the result."""
        return [one for one in self.leases if self._is_held(one, Status.SUCCEEDED)]

    def _is_held(self, lease: Lease, status: Status = Status.RUNNING) -> bool:
        life = self.lives.get(lease.job_id)
        return life is not None and (life.status, life.attempt) == (status, lease.attempt)

    def _do(self, action: str, lease: Lease) -> object:
        with self.sessions.begin() as session:
            return ACTIONS[action](session, lease)

    @staticmethod
    def _choose(among: list[Any], pick: int) -> Any:
        return among[pick % len(among)]


@pytest.fixture
def quick(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sessions]:
    """A database in a time that only jumps."""
    monkeypatch.setattr(leases, "BACKOFF_SECONDS", SLOWNESS * leases.BACKOFF_SECONDS)
    engine = make_engine(database_url)
    yield make_sessions(engine)
    engine.dispose()


def run(sessions: Sessions, examples: int, length: int, seed: int | None) -> int:
    """Drive machines; the number of steps that were taken."""
    before = Machine.steps
    test = get_state_machine_test(
        lambda: Machine(sessions),  # type: ignore[arg-type]  # as good as a class
        settings=settings(
            max_examples=examples,
            stateful_step_count=length,
            derandomize=seed is None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    (test if seed is None else hypothesis.seed(seed)(test))()
    return Machine.steps - before


@pytest.mark.timeout(600)  # a program that breaks it is made as short as possible
def test_the_database_agrees_with_the_model_at_every_step(quick: Sessions) -> None:
    assert run(quick, 5, 50, None) >= 150


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_database_agrees_with_the_model_for_a_long_time(quick: Sessions) -> None:
    seed = int(os.environ.get("RECURRA_TEST_SEED") or secrets.randbits(32))
    print(f"RECURRA_TEST_SEED={seed}")  # noqa: T201 - to see it again
    assert run(quick, 500, 100, seed) >= 20_000
