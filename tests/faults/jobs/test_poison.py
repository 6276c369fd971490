"""Trainings that take their process down, hang, or find a damaged checkpoint: the queue moves on."""

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from app.services.jobs import checkpoints
from app.states import Status
from tests.faults.jobs.afflicted import DIES, HANGS, STOPS
from tests.faults.jobs.conftest import MakeStack
from tests.faults.jobs.harness import ENDLESS, LEASE, QUICK, Stack
from tests.faults.jobs.invariants import check
from tests.faults.jobs.parts import Part
from tests.faults.jobs.twins import Twins
from tests.support.fixtures.processes import has_ended
from tests.support.fixtures.servers import until

pytestmark = pytest.mark.faults

Scenario = Callable[[Stack, Twins], None]
STALL = 5 * LEASE  # seconds without a word: longer than a lease, so that beats must go on meanwhile
FIRST = 150  # step of a checkpoint within the second epoch


def afflicted(stack: Stack, stall: float = 600) -> Part:
    """An API and a worker whose trainings misbehave when their seed says so."""
    stack.api(wait=False)
    worker = stack.worker(RECURRA_FAULTS_AFFLICTED="1", RECURRA_STALL_SECONDS=str(stall))
    until(stack.ready, 60, "the API", every=0.05)
    return worker


def poison(stack: Stack, twins: Twins) -> None:
    """F17: a job kills its process each time; the job behind it waits no longer than that takes."""
    afflicted(stack)
    job_id = stack.submit(ENDLESS, seed=DIES)
    behind = stack.submit(QUICK)
    job = stack.wait(job_id, Status.FAILED, seconds=60)
    assert job.error_code == "worker_lost"
    stack.charged(job_id, attempts=4, crashes=3)  # the fourth is the end, charged to nothing
    stack.wait(behind)
    stack.charged(behind, attempts=1)
    twins.check(stack, behind, QUICK)
    check(stack)


def hung(stack: Stack, twins: Twins, *, seed: int) -> None:
    """F18: a training hangs in C while it holds the GIL, or is stopped; beats go on, the watchdog ends it."""
    afflicted(stack, STALL)
    job_id = stack.submit(ENDLESS, seed=seed)
    behind = stack.submit(QUICK)
    stack.until(job_id, lambda job: bool(stack.events(job_id, "epoch")), "the first epoch", 40)
    child = stack.another_training()
    heard, until_when = time.monotonic(), stack.job(job_id).lease_until or 0.0

    def beaten_on() -> bool:
        job = stack.job(job_id)
        assert (job.attempt, job.status) == (1, Status.RUNNING), "the hung training's lease was lost"
        return (job.lease_until or 0.0) > until_when + LEASE

    until(beaten_on, STALL, "beats while the training hangs", every=0.1)
    job = stack.wait(job_id, Status.FAILED, seconds=STALL + 10)
    assert job.error_code == "stalled"
    assert time.monotonic() - heard > STALL / 2
    stack.charged(job_id, attempts=1)
    until(lambda: has_ended(child), 5, "the end of the hung training", every=0.05)
    stack.wait(behind)
    twins.check(stack, behind, QUICK)
    check(stack)


def hung_orphan(stack: Stack, twins: Twins) -> None:
    """F2 and F15: a worker is killed above a hung training that cannot notice; the next is cancelled."""
    worker = afflicted(stack)
    job_id = stack.submit(ENDLESS, seed=HANGS)
    stack.until(job_id, lambda job: bool(stack.events(job_id, "epoch")), "the first epoch")
    below = worker.kill()
    until(lambda: all(map(has_ended, below)), 10, "the end of the hung training", every=0.05)
    afflicted(stack)
    stack.until_attempt(job_id, 2, LEASE + 20)
    assert stack.order(job_id, "cancel").status_code == 202
    stack.wait(job_id, Status.CANCELLED, seconds=10)
    check(stack, lost=[(job_id, 1)])


def damaged(stack: Stack, twins: Twins, *, damage: Callable[[Path], object]) -> None:
    """F19: the newest checkpoint is not what was written; the one before it is."""
    stack.api()
    stack.worker()
    job_id = stack.submit()
    stack.until_checkpoint(job_id, FIRST)
    stack.parts[-1].stop()
    steps = stack.checkpoint_steps(job_id)
    damage(stack.directory / "storage" / next(checkpoints.newest_first(stack.storage, job_id)))
    stack.worker()
    stack.wait(job_id)
    assert len(steps) == 2, f"there was no other checkpoint than {steps}"
    stack.charged(job_id, attempts=2)
    assert stack.resumed_at(job_id) == [steps[1]]
    told = [str(event.data["message"]) for event in stack.events(job_id, "warning")]
    assert any("Skipped a checkpoint" in text for text in told), told
    twins.check(stack, job_id)
    check(stack)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    """One bit, among the numbers."""
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


def named(one: Scenario | str) -> str:
    if isinstance(one, partial):
        return "-".join([one.func.__name__, *(getattr(v, "__name__", str(v)) for v in one.keywords.values())])
    return one if isinstance(one, str) else one.__name__


SCENARIOS: list[Scenario] = [
    poison,
    partial(hung, seed=HANGS),
    partial(hung, seed=STOPS),
    hung_orphan,
    partial(damaged, damage=cut),
    partial(damaged, damage=flip),
]
OFF: list[tuple[Scenario, str, str]] = [
    (poison, "crash_budget", "failed .* did not come true"),
    (partial(hung, seed=HANGS), "watchdog", "failed .* did not come true"),
    (partial(hung, seed=HANGS), "own_heart", "lease was lost|beats while|first epoch .* did not come true"),
    (hung_orphan, "parent_death", "the hung training did not come true"),
    (partial(damaged, damage=flip), "proof", "attempts|queued|failed|assert"),
    (partial(damaged, damage=cut), "second_checkpoint", "no other checkpoint"),
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=named)
def test_the_queue_moves_on(scenario: Scenario, make_embedded: MakeStack, twins: Twins) -> None:
    with make_embedded() as stack:
        scenario(stack, twins)


@pytest.mark.parametrize(("scenario", "safeguard", "complaint"), OFF, ids=named)
def test_it_does_not_without(
    scenario: Scenario, safeguard: str, complaint: str, make_embedded: MakeStack, twins: Twins
) -> None:
    with make_embedded(safeguard) as stack, pytest.raises(AssertionError, match=complaint):
        scenario(stack, twins)
