"""Runs a part of the service with one of its safeguards switched off: what a fault test must notice.

The environment says which program to run and which safeguard to switch off. A worker's pool imports this
module again in its children, so what is switched off is so in all of them.
"""

import importlib
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.tables import Job
from app.infrastructure.processes import managed
from app.services.jobs import checkpoints, leases
from app.services.jobs import reaper as rounds
from app.states import Status
from tests.faults.jobs.switches import AFFLICTED, OFF, PROGRAM, SLOW, put
from workers.jobs import celery_task, heartbeat, kinds, supervisor

CHILD = "tests.faults.jobs.afflicted"
OF_THE_CHILD = {"parent_death", "whole_snapshot"}  # safeguards that the child itself has


def fence() -> None:
    """Whoever once ran a job may write to it."""
    put(leases, _holds_lease=lambda lease: (Job.id == lease.job_id, Job.status == Status.RUNNING))


def claim() -> None:
    """A job is taken whoever runs it: the oldest that has not ended."""
    original = leases.claim

    def taken(session: Session, job_id: str, owner: str, seconds: float) -> Job | None:
        job = session.get(Job, job_id)
        if job is not None and job.status == Status.RUNNING:
            job.status = Status.QUEUED
            session.flush()
        return original(session, job_id, owner, seconds)

    put(leases, claim=taken, next_queued=_oldest_alive)


def _oldest_alive(session: Session, _devices: Sequence[str]) -> str | None:
    alive = Job.status.in_([Status.QUEUED, Status.RUNNING])
    return session.scalar(select(Job.id).where(alive).order_by(Job.id).limit(1))


def reaper() -> None:
    """Expired leases are nobody's business."""
    put(rounds, reap=lambda *_: [])


def never_beaten() -> None:
    """A lease without a date never expires."""
    put(rounds, func=_Plain())


class _Plain:
    def coalesce(self, column: Any, _: float) -> Any:
        return column


def resume() -> None:
    """Every attempt begins at the beginning."""
    put(checkpoints, newest_first=_nothing)


def _nothing(*_: object) -> Iterator[str]:
    return iter(())


def second_checkpoint() -> None:
    """Only the newest checkpoint is kept."""
    put(checkpoints, CHECKPOINTS_PER_JOB=1)


def proof() -> None:
    """A checkpoint is believed whatever is in it."""
    put(kinds, verify_checkpoint=lambda path: None)


def watchdog() -> None:
    """A training may say nothing for ever."""
    original = supervisor.Timeouts
    put(supervisor, Timeouts=lambda lease, stall, checkpoint: original(lease, math.inf, checkpoint))


def own_heart() -> None:
    """A job's heart beats when its training says something."""
    original = heartbeat.Heartbeat.record

    def record(self: heartbeat.Heartbeat, message: dict[str, Any]) -> None:
        original(self, message)
        self.renew()

    put(heartbeat.Heartbeat, record=record, _run=lambda self: None)


def self_fence() -> None:
    """Who cannot beat goes on."""
    put(heartbeat, MAX_SILENCE=math.inf)


def crash_budget() -> None:
    """A job may take any number of workers down."""
    put(leases, MAX_CRASHES=1_000_000)


def release() -> None:
    """A worker that stops does not tell its pool."""
    put(celery_task, release_children=lambda: None)


def cancel() -> None:
    """Nobody looks for what the owner asked while a job runs."""
    _deaf(cancel=True, pause=False)


def pause() -> None:
    """Nor for a pause."""
    _deaf(cancel=False, pause=True)


def _deaf(*, cancel: bool, pause: bool) -> None:
    original = leases.renew

    def renew(*args: Any) -> leases.ControlFlags | None:
        found = original(*args)
        if found is None:
            return None
        return leases.ControlFlags(found.cancel and not cancel, found.pause and not pause)

    put(leases, renew=renew)


def cancel_fence() -> None:
    """A job that is cancelled while it ends succeeds."""
    original = leases._mark_succeeded

    def finished(session: Session, lease: leases.Lease) -> Job | None:
        job = session.get(Job, lease.job_id)
        if job is not None:
            job.cancel_requested_at = None
            session.flush()
        return original(session, lease)

    put(leases, _mark_succeeded=finished)


def second_ring() -> None:
    """A wake-up is sent once, when the job is submitted."""
    put(rounds, unnotified=lambda *_: [])


def tie() -> None:
    """What `recurra up` starts may outlive it."""
    put(managed, dying_with=lambda *_: None)


def tidy() -> None:
    """Nobody deletes what ended jobs leave."""
    put(supervisor.Supervisor, _clean_up=lambda *_: None)


SAFEGUARDS: dict[str, Callable[[], None]] = {
    made.__name__: made
    for made in (
        fence, claim, reaper, never_beaten, resume, second_checkpoint, proof, watchdog, own_heart,
        self_fence, crash_budget, release, cancel, pause, cancel_fence, second_ring, tie, tidy,
    )
}  # fmt: skip


def slow_finish(seconds: float) -> None:
    """Nothing is switched off, but there is time between the last file's storing and the version."""
    original = kinds.TrainingJob.finish

    def finish(self: Any, lease: leases.Lease, message: dict[str, Any]) -> Any:
        publish = original(self, lease, message)
        time.sleep(seconds)
        return publish

    put(kinds.TrainingJob, finish=finish)


def program() -> Any:
    """The program's module, without the safeguard."""
    off = os.environ[OFF]
    if SLOW in os.environ:
        slow_finish(float(os.environ[SLOW]))
    if off in OF_THE_CHILD or AFFLICTED in os.environ:
        put(kinds.TrainingJob, module=CHILD)
    if off and off not in OF_THE_CHILD:
        SAFEGUARDS[off]()
    return importlib.import_module(os.environ[PROGRAM])


# Also when the pool's spawned children import it.
LAUNCHED: Any = program() if __name__ in {"__main__", "__mp_main__"} else None

if __name__ == "__main__":
    LAUNCHED.main()
