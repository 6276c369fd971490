"""Owners cancel at any moment, and pause and resume: one terminal state, the device free, nothing lost."""

import random
import time
from collections.abc import Callable, Iterator

import pytest

from app.states import TERMINAL, Status
from tests.faults.jobs.conftest import MakeStack
from tests.faults.jobs.harness import QUICK, STEADY, Stack
from tests.faults.jobs.invariants import check
from tests.faults.jobs.twins import Twins
from tests.support.fixtures.servers import until

pytestmark = pytest.mark.faults

Scenario = Callable[[Stack, Twins], None]
Moment = Callable[[str], bool]  # whether it has come, for a job
SEED = 20260
CANCEL_SECONDS = 2.5  # two, and what this machine's other work may cost
FINISH = "1.0"  # seconds that the end of a job takes here, so that orders meet it


def moments(stack: Stack) -> Iterator[tuple[str, int, Moment]]:
    """From the submission to after the end, each with the job's epochs; those in the training are drawn."""

    def steps(least: int) -> Moment:
        return lambda job_id: int((stack.job(job_id).progress or {}).get("step") or 0) >= least

    def epochs(least: int) -> Moment:
        return lambda job_id: len(stack.events(job_id, "epoch")) >= least

    draw = random.Random(SEED)  # noqa: S311 - a seed, not a secret
    yield "queued", STEADY, lambda job_id: True
    yield "claimed", STEADY, lambda job_id: stack.job(job_id).status == Status.RUNNING
    yield "starting", STEADY, lambda job_id: bool(stack.training())
    for step in draw.sample(range(1, 100 * STEADY), 4):
        yield f"step {step}", STEADY, steps(step)
    for told in draw.sample(range(1, STEADY), 3):
        yield f"epoch {told}", STEADY, epochs(told)
    for _ in range(3):
        yield "finishing", QUICK, lambda job_id: bool(stack.storage.keys(f"artifacts/{job_id}"))
    yield "succeeded", QUICK, lambda job_id: stack.job(job_id).status in TERMINAL


def cancelled(stack: Stack, twins: Twins) -> None:
    """F15: at each moment a cancel ends the job once, soon, and says truly whether it came in time."""
    stack.api(wait=False)
    stack.worker(RECURRA_FAULTS_SLOW=FINISH)
    until(stack.ready, 60, "the API", every=0.05)
    for name, length, come in moments(stack):
        job_id = stack.submit(length)
        until(lambda: come(job_id) or stack.job(job_id).status in TERMINAL, 60, name, every=0.01)  # noqa: B023
        asked = time.monotonic()
        answer = stack.order(job_id, "cancel")
        job = stack.until(job_id, lambda job: job.status in TERMINAL, f"the end, cancelled when {name},", 20)
        took = time.monotonic() - asked
        wanted = {202: Status.CANCELLED, 409: Status.SUCCEEDED}[answer.status_code]
        assert job.status == wanted, f"{job.status} after {answer.status_code}, cancelled when {name}"
        assert took < CANCEL_SECONDS + float(FINISH), f"cancelled when {name}, ended {took:.1f} s later"
        assert stack.order(job_id, "cancel").status_code == answer.status_code
        until(lambda: not stack.training(), 5, f"the end of the child, cancelled when {name},", every=0.05)
        stack.charged(job_id, attempts=job.attempt)
        assert stack.order(job_id, "resume").status_code == 409
    check(stack)


def paused(stack: Stack, twins: Twins) -> None:
    """F16: paused in the middle of epochs, several times; what comes of it is what its twin is."""
    stack.api()
    worker = stack.worker()
    job_id = stack.submit()
    reached = 0
    for attempt in (1, 2, 3):
        reached = stack.until_checkpoint(job_id, reached + 100)
        assert stack.order(job_id, "pause").status_code == 202
        job = stack.wait(job_id, Status.PAUSED, seconds=15)
        until(lambda: not worker.training(), 2, "the device's release", every=0.02)
        assert (job.owner, job.lease_until, job.pause_requested_at) == (None, None, None)
        other = stack.submit(QUICK)  # a paused job keeps nobody waiting
        stack.wait(other)
        assert stack.job(job_id).status == Status.PAUSED
        assert stack.order(job_id, "resume").status_code == 202
        stack.until_attempt(job_id, attempt + 1)
    stack.wait(job_id)
    stack.charged(job_id, attempts=4)
    stack.went_on(job_id, 100)
    twins.check(stack, job_id, STEADY)
    check(stack)


def named(one: Scenario | str) -> str:
    return one if isinstance(one, str) else one.__name__


SCENARIOS: list[Scenario] = [cancelled, paused]
OFF: list[tuple[Scenario, str, str]] = [
    (cancelled, "cancel", "cancelled when"),
    (cancelled, "cancel_fence", "succeeded after 202, cancelled when finishing"),
    (paused, "pause", "while waiting for paused|paused .* did not come true"),
    (paused, "whole_snapshot", "not the twin's"),
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=named)
def test_orders_are_obeyed(scenario: Scenario, make_stack: MakeStack, twins: Twins) -> None:
    with make_stack() as stack:
        scenario(stack, twins)


@pytest.mark.parametrize(("scenario", "safeguard", "complaint"), OFF, ids=named)
def test_they_are_not_without(
    scenario: Scenario, safeguard: str, complaint: str, make_embedded: MakeStack, twins: Twins
) -> None:
    with make_embedded(safeguard) as stack, pytest.raises(AssertionError, match=complaint):
        scenario(stack, twins)
