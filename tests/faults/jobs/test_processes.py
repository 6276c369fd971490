"""Processes die, freeze or are told to look twice: the job goes on where it was, and only once."""

import os
import re
import signal
from collections.abc import Callable

import pytest
from sqlalchemy import update

from app.database.tables import Job
from app.services.jobs import leases
from app.states import Status
from tests.faults.jobs.conftest import MakeStack
from tests.faults.jobs.harness import ENDLESS, LEASE, QUICK, Stack
from tests.faults.jobs.invariants import check
from tests.faults.jobs.parts import Part
from tests.faults.jobs.twins import Twins
from tests.support.fixtures.processes import has_ended
from tests.support.fixtures.servers import until

pytestmark = pytest.mark.faults

Scenario = Callable[[Stack, Twins], None]
TAKEN_OVER = LEASE + 20  # seconds: a lease, two sweeps, and what starting a training costs
FIRST = 150  # step of a checkpoint within the second epoch


def owner_first(workers: tuple[Part, Part]) -> tuple[Part, Part]:
    """The one that trains, and the other."""
    one, other = workers
    return (one, other) if one.training() else (other, one)


def killed_child(stack: Stack, twins: Twins) -> None:
    """F1: the training child is killed in the middle of an epoch."""
    stack.api()
    stack.worker()
    job_id = stack.submit()
    step = stack.until_checkpoint(job_id, FIRST)
    os.kill(stack.another_training(), signal.SIGKILL)
    stack.wait(job_id)
    stack.charged(job_id, attempts=2, crashes=1)
    stack.went_on(job_id, step)
    twins.check(stack, job_id)
    check(stack)


def killed_worker(stack: Stack, twins: Twins) -> None:
    """F2: a worker is killed with all that it knows."""
    workers = stack.two_workers()
    job_id = stack.submit()
    step = stack.until_checkpoint(job_id, FIRST)
    victim, other = owner_first(workers)
    below = victim.kill()
    until(lambda: all(map(has_ended, below)), 10, "the end of the killed worker's processes", every=0.05)
    stack.until_attempt(job_id, 2, TAKEN_OVER)
    assert other.alive
    stack.wait(job_id)
    stack.charged(job_id, attempts=2, crashes=1)
    stack.went_on(job_id, step)
    twins.check(stack, job_id)
    check(stack, lost=[(job_id, 1)])


def frozen_worker(stack: Stack, twins: Twins) -> None:
    """F3: a worker and all below it are frozen for longer than its lease, as a paused machine is."""
    workers = stack.two_workers()
    job_id = stack.submit()
    step = stack.until_checkpoint(job_id, FIRST)
    victim, other = owner_first(workers)
    old = victim.training()
    victim.signal_all(signal.SIGSTOP)
    stack.until_attempt(job_id, 2, TAKEN_OVER)
    until(lambda: bool(other.training()), 20, "the new owner's training", every=0.02)
    new = other.training()
    victim.signal_all(signal.SIGCONT)
    until(lambda: all(map(has_ended, old)), 8, "the end of the frozen worker's child", every=0.05)
    assert not any(map(has_ended, new)), "the new owner's training was ended"
    stack.wait(job_id)
    stack.charged(job_id, attempts=2, crashes=1)
    stack.went_on(job_id, step)
    twins.check(stack, job_id)
    stack.wait(stack.submit(QUICK))
    assert victim.alive
    check(stack)


def many_wake_ups(stack: Stack, twins: Twins) -> None:
    """F5: ten wake-ups more than needed, for two workers."""
    stack.two_workers()
    job_id = stack.submit()
    for _ in range(10):
        assert stack.broker.notify(job_id)
    stack.wait(job_id)
    until(lambda: stack.broker.pending() == 0, 30, "the last wake-up's answer", every=0.05)
    stack.charged(job_id, attempts=1)
    assert stack.statuses(job_id) == ["queued", "running", "succeeded"]
    log = (stack.directory / "train.log").read_text()
    took = sorted(float(seconds) for seconds in re.findall(r"recurra\.train\[.*succeeded in ([\d.]+)s", log))
    assert took[len(took) // 2] < 0.05, took
    twins.check(stack, job_id)
    check(stack)


def died_before_the_first_beat(stack: Stack, twins: Twins) -> None:
    """F14: whoever claimed the job is gone, and left no date on its lease."""
    stack.api()
    job_id = stack.submit(QUICK)
    with stack.sessions.begin() as session:
        assert leases.claim(session, job_id, "worker_gone", LEASE) is not None
        session.execute(update(Job).where(Job.id == job_id).values(lease_until=None))
    stack.worker()
    stack.until_attempt(job_id, 2, TAKEN_OVER)
    stack.wait(job_id)
    stack.charged(job_id, attempts=2, crashes=1)
    twins.check(stack, job_id, QUICK)
    check(stack)


def endless_after_a_kill(stack: Stack, twins: Twins) -> None:
    """What a job that was killed and cancelled then leaves: nothing."""
    stack.api()
    worker = stack.worker()
    job_id = stack.submit(ENDLESS)
    stack.until_checkpoint(job_id, FIRST)
    worker.kill()
    stack.worker()
    stack.until_attempt(job_id, 2, TAKEN_OVER)
    assert stack.order(job_id, "cancel").status_code == 202
    stack.wait(job_id, Status.CANCELLED, seconds=10)
    check(stack, lost=[(job_id, 1)])


def named(one: Scenario | str) -> str:
    return one if isinstance(one, str) else one.__name__


SCENARIOS: list[Scenario] = [
    killed_child,
    killed_worker,
    frozen_worker,
    many_wake_ups,
    died_before_the_first_beat,
    endless_after_a_kill,
]
OFF: list[tuple[Scenario, str, str]] = [
    (killed_child, "resume", "did not go on"),
    (killed_child, "whole_snapshot", "not the twin's|with other figures"),
    (killed_child, "tidy", "the end of .*checkpoints/"),
    (killed_worker, "reaper", "attempt 2 .* did not come true"),
    (frozen_worker, "fence", "frozen worker's child did not come true|attempts|was ended|went from"),
    (many_wake_ups, "claim", "attempts"),
    (died_before_the_first_beat, "never_beaten", "attempt 2 .* did not come true"),
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=named)
def test_the_job_goes_on(scenario: Scenario, make_stack: MakeStack, twins: Twins) -> None:
    with make_stack() as stack:
        scenario(stack, twins)


@pytest.mark.parametrize(("scenario", "safeguard", "complaint"), OFF, ids=named)
def test_it_does_not_without(
    scenario: Scenario, safeguard: str, complaint: str, make_embedded: MakeStack, twins: Twins
) -> None:
    with make_embedded(safeguard) as stack, pytest.raises(AssertionError, match=complaint):
        scenario(stack, twins)
