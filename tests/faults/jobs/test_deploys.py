"""Deploys: whatever is told to stop gives its job back, and what is replaced under a stream loses nothing."""

import signal
import threading
from collections.abc import Callable
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import func, select

from app.database.tables import Job
from app.states import Status
from app.typedefs import Json
from tests.faults.jobs.conftest import MakeStack
from tests.faults.jobs.harness import QUICK, Stack
from tests.faults.jobs.invariants import check
from tests.faults.jobs.parts import Part
from tests.faults.jobs.twins import Twins
from tests.support.fixtures.processes import has_ended
from tests.support.fixtures.servers import until

pytestmark = pytest.mark.faults

Scenario = Callable[[Stack, Twins], None]
FIRST = 150  # step of a checkpoint within the second epoch
GRACE = 20.0  # seconds in which a worker that is told to stop must have written its checkpoint and ended
STREAM, WAITING = 8, 4  # jobs, and how many of them at a time


class Stream(threading.Thread):
    """Submits small jobs as others end, each until it is accepted, as a client with a key does."""

    def __init__(self, stack: Stack) -> None:
        super().__init__()
        self._stack, self._body = stack, stack.body(QUICK)
        self.accepted: list[str] = []
        self.refused: list[str] = []

    def run(self) -> None:
        for _ in range(STREAM):
            until(lambda: self._stack.unfinished() < WAITING, 90, "the stream's turn", every=0.05)
            key = {"Idempotency-Key": uuid4().hex}
            while (answer := self._ask(key)) is None:
                continue
            if answer.status_code == 202:
                self.accepted.append(str(answer.json()["id"]))
            else:
                self.refused.append(answer.text)

    def _ask(self, key: Json) -> httpx.Response | None:
        try:
            return self._stack.http.post("/v1/jobs", json=self._body, headers=key)
        except httpx.TransportError:  # the API that held the connection is gone: ask another
            return None


def told_to_stop(stack: Stack, twins: Twins) -> None:
    """F4: a worker gets SIGTERM in the middle of an epoch."""
    stack.api()
    worker = stack.worker()
    job_id = stack.submit()
    step = stack.until_checkpoint(job_id, FIRST)
    below = worker.below()
    assert worker.stop(GRACE) == 0
    job = stack.job(job_id)
    assert job.status == Status.QUEUED, f"the job was not given back: {job.status}"
    assert (job.owner, job.lease_until) == (None, None)
    stack.charged(job_id, attempts=1)
    until(lambda: all(map(has_ended, below)), 5, "the end of all processes", every=0.05)
    kept = stack.checkpoint_steps(job_id)[0]
    assert kept > step, f"the checkpoint after step {kept} is no new one"
    stack.worker()
    stack.wait(job_id)
    stack.charged(job_id, attempts=2)
    assert stack.resumed_at(job_id) == [kept]
    twins.check(stack, job_id)
    check(stack)


def rolling_restart(stack: Stack, twins: Twins) -> None:
    """F4: every process is replaced while jobs come in and run."""
    workers = stack.two_workers()
    api = stack.parts[0]
    stream = Stream(stack)
    stream.start()
    replaced = 0
    for old in (workers[0], api, workers[1]):
        if old is api:
            replace(stack.api, api)
            continue
        until(lambda: bool(old.training()), 60, "a training to interrupt", every=0.02)  # noqa: B023
        replace(stack.worker, old)
        replaced += 1
    stream.join(120)
    assert not stream.refused
    assert len(stream.accepted) == STREAM
    check(stack, seconds=40)
    with stack.readers() as session:
        assert session.scalar(select(func.count(Job.id))) == STREAM
    attempts = 0
    for job_id in stream.accepted:
        job = stack.wait(job_id)
        assert (job.crashes, job.failures) == (0, 0)
        attempts += job.attempt
        twins.check(stack, job_id, QUICK)
    assert attempts <= STREAM + replaced


def replace(start: Callable[[], Part], old: Part) -> None:
    """The new one first, then the old one is told to stop."""
    start()
    assert old.stop(GRACE) in {0, -signal.SIGTERM}  # uvicorn ends as the signal would have ended it


def up_ends(stack: Stack, twins: Twins) -> None:
    """F4 and F20: `recurra up` is told to stop, and killed; each time the next one goes on."""
    up = stack.up()
    job_id = stack.submit()
    step = stack.until_checkpoint(job_id, FIRST)
    below = up.below()
    assert up.stop(60) == 0
    until(lambda: all(map(has_ended, below)), 5, "the end of all processes", every=0.05)
    assert stack.job(job_id).status == Status.QUEUED
    stack.charged(job_id, attempts=1)
    up = stack.up()
    stack.until_attempt(job_id, 2)
    stack.another_training()
    below = up.kill()
    until(lambda: all(map(has_ended, below)), 20, "the end of all parts", every=0.05)
    up = stack.up()
    stack.wait(job_id)
    stack.charged(job_id, attempts=3)  # the worker outlived `up` by as much as a deploy takes
    stack.went_on(job_id, step)
    twins.check(stack, job_id)
    check(stack)
    assert up.stop(60) == 0


def named(one: Scenario | str) -> str:
    return one if isinstance(one, str) else one.__name__


OFF: list[tuple[Scenario, str, str]] = [
    (told_to_stop, "release", "not given back"),
    (rolling_restart, "second_ring", "the end of all jobs did not come true"),
    (up_ends, "tie", "the end of all parts did not come true"),
]


@pytest.mark.parametrize("scenario", [told_to_stop, rolling_restart], ids=named)
def test_nothing_is_lost(scenario: Scenario, make_stack: MakeStack, twins: Twins) -> None:
    with make_stack() as stack:
        scenario(stack, twins)


def test_nothing_is_lost_with_the_embedded_service(make_embedded: MakeStack, twins: Twins) -> None:
    with make_embedded() as stack:
        up_ends(stack, twins)


@pytest.mark.parametrize(("scenario", "safeguard", "complaint"), OFF, ids=named)
def test_it_is_without(
    scenario: Scenario, safeguard: str, complaint: str, make_embedded: MakeStack, twins: Twins
) -> None:
    with make_embedded(safeguard) as stack, pytest.raises(AssertionError, match=complaint):
        scenario(stack, twins)
