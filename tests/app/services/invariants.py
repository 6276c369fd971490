"""Invariants of all jobs at any moment, checked on the database alone."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from app.database.tables import Job, JobEvent, ModelVersion
from app.services.jobs.leases import MAX_CRASHES, MAX_FAILURES
from app.states import SWEEP, TERMINAL, Status

QUEUED, RUNNING, PAUSED = Status.QUEUED, Status.RUNNING, Status.PAUSED
TRANSITIONS: dict[str | None, set[Status]] = {
    None: {QUEUED},
    QUEUED: {RUNNING, PAUSED, Status.CANCELLED},
    RUNNING: {QUEUED, PAUSED, *TERMINAL},
    PAUSED: {QUEUED, Status.CANCELLED},
}
COLUMNS = tuple(Job.__table__.columns)
INTERNAL = {"dispatched_at", "due_at", "lease_until"}  # columns that change without a visible change


@dataclass(frozen=True)
class Snapshot:
    """All jobs, their histories and what they made."""

    jobs: dict[str, Row[Any]]
    events: dict[str, list[Any]]
    versions: Sequence[Any]

    def visible(self, job_id: str) -> dict[str, Any]:
        """The columns of a job that users see."""
        row = self.jobs[job_id]._mapping
        return {name: value for name, value in row.items() if name not in INTERNAL}


def look(session: Session) -> Snapshot:
    """The database as it is."""
    events: dict[str, list[Any]] = defaultdict(list)
    lines = select(JobEvent.job_id, JobEvent.seq, JobEvent.type, JobEvent.data)
    for line in session.execute(lines.order_by(JobEvent.job_id, JobEvent.seq)):
        events[line.job_id].append(line)
    versions = select(ModelVersion.job_id, ModelVersion.model, ModelVersion.version, ModelVersion.artifact)
    rows = session.execute(select(*COLUMNS).order_by(Job.id))
    return Snapshot({row.id: row for row in rows}, events, session.execute(versions).all())


def check(now: Snapshot) -> None:
    """Every row agrees with itself, with its history and with what the job made."""
    assert now.events.keys() <= now.jobs.keys()
    made = {row.job_id: row for row in now.versions}
    assert len(made) == len(now.versions), "a job made two versions"
    for job_id, job in now.jobs.items():
        _check_row(job)
        _check_history(job, now.events[job_id])
        if job.sweep_id is not None:
            assert job.model_version is None
            assert (job.outcome is not None) == (job.status == Status.SUCCEEDED)
        elif job.kind == "train":
            assert (job_id in made) == (job.status == Status.SUCCEEDED) == (job.model_version is not None)
        if job_id in made:
            artifact = f"artifacts/{job_id}/{job.attempt}"  # of the attempt that held the lease at the end
            version = made[job_id]
            number = job.model_version if job.sweep_id is None else now.jobs[job.sweep_id].model_version
            assert (version.model, version.version, version.artifact) == (job.model, number, artifact)


def check_change(before: Snapshot, now: Snapshot) -> None:
    """What has ended stays as it is; what lives only goes forward."""
    for job_id in before.jobs.keys() & now.jobs.keys():
        old, new = before.jobs[job_id], now.jobs[job_id]
        lines = before.events[job_id]
        assert now.events[job_id][: len(lines)] == lines, "history was rewritten"
        assert new.revision - old.revision >= int(before.visible(job_id) != now.visible(job_id))
        if old.status in TERMINAL:
            assert before.visible(job_id) == now.visible(job_id), "a job changed after its end"
        claims = Counter(_statuses(now.events[job_id]))[RUNNING] - Counter(_statuses(lines))[RUNNING]
        assert new.attempt == old.attempt + claims
        assert new.crashes >= old.crashes
        assert new.failures >= old.failures or new.stored_steps > old.stored_steps
        assert new.stored_steps >= old.stored_steps
        assert old.started_at in {None, new.started_at}
        assert old.cancel_requested_at in {None, new.cancel_requested_at}
    for job_id in before.jobs.keys() - now.jobs.keys():
        assert before.jobs[job_id].status in TERMINAL, "a live job was deleted"


def _check_row(job: Row[Any]) -> None:
    runs, ended = job.status == RUNNING and job.kind != SWEEP, job.status in TERMINAL
    assert (job.owner is not None) == (job.lease_until is not None) == runs
    assert (job.started_at is not None) == (job.attempt > 0)
    assert (job.finished_at is not None) == ended
    if ended and job.attempt:
        assert job.finished_at >= job.started_at
    assert job.pause_requested_at is None or runs
    assert job.cancel_requested_at is None or job.status in {RUNNING, Status.CANCELLED}
    assert job.due_at is None or not runs
    assert (job.error_code is not None) == (job.error_message is not None) == (job.status == Status.FAILED)
    assert 0 <= job.crashes - job.excused_crashes <= MAX_CRASHES
    assert 0 <= job.failures <= MAX_FAILURES


def _check_history(job: Row[Any], events: Sequence[Any]) -> None:
    assert [line.seq for line in events] == list(range(1, job.events + 1))
    before: str | None = None
    for status in _statuses(events):
        assert status in TRANSITIONS.get(before, set()), f"{before} -> {status}"
        before = status
    assert before == job.status
    changes = [line.data for line in events if line.type == "status"]
    attempts = [data["attempt"] for data in changes if data["status"] == RUNNING]
    assert attempts == list(range(1, job.attempt + 1))
    assert changes[-1].get("model_version") == (job.model_version if job.status == Status.SUCCEEDED else None)
    assert changes[-1].get("error", {}).get("code") == job.error_code


def _statuses(events: Sequence[Any]) -> list[str]:
    return [line.data["status"] for line in events if line.type == "status"]
