"""What must hold after any fault: told by the database, the process table and the file system."""

from collections.abc import Iterable
from itertools import pairwise

from sqlalchemy import select

from app.database.tables import Job, ModelVersion
from app.services.jobs import batch_predictions
from app.services.maintenance import cleanup
from app.states import TERMINAL, Status
from app.typedefs import Json
from tests.faults.jobs.harness import PATIENCE, Stack
from tests.support.fixtures.servers import until

NEXT = {
    "queued": {"running", "paused", "cancelled"},
    "running": {"queued", "paused", "succeeded", "failed", "cancelled"},
    "paused": {"queued", "cancelled"},
    "succeeded": set[str](),
    "failed": set[str](),
    "cancelled": set[str](),
}


def check(stack: Stack, lost: Iterable[tuple[str, int]] = (), seconds: float = PATIENCE) -> None:
    """Wait until every job has ended, then check the invariants.

    `lost` are attempts of jobs whose worker was killed, and which may have left files for the sweep.
    """
    until(lambda: all(job.status in TERMINAL for job in _jobs(stack)), seconds, "the end of all jobs", 0.05)
    for job in _jobs(stack):
        check_history(stack, job)
    check_versions(stack)
    check_processes(stack)
    check_files(stack, {f"{job_id}-{attempt}" for job_id, attempt in lost})


def _jobs(stack: Stack) -> list[Job]:
    with stack.readers() as session:
        return list(session.scalars(select(Job).order_by(Job.id)))


def check_history(stack: Stack, job: Job) -> None:
    """Statuses follow one another as they may, attempts count up by one, no epoch is told twice unlike.

    An epoch that a fenced attempt told after the next one began would go back on what was told since.
    """
    events = stack.events(job.id)
    assert [event.seq for event in events] == list(range(1, job.events + 1)), job.id
    told = [event.data for event in events if event.type == "status"]
    names = [str(data["status"]) for data in told]
    assert names[0] == "queued", names
    for before, after in pairwise(names):
        assert after in NEXT[before], f"{job.id} went from {before} to {after}: {names}"
    assert names[-1] == job.status, f"{job.id} is {job.status}, but was told to be {names}"
    attempts = [data["attempt"] for data in told if data["status"] == "running"]
    assert attempts == list(range(1, job.attempt + 1)), f"{job.id}: attempts {attempts}"
    assert (job.owner, job.lease_until) == (None, None), job.id
    assert (job.finished_at is not None) == (job.status in TERMINAL), job.id
    check_epochs([event.data for event in events if event.type in {"status", "epoch"}])


def check_epochs(events: list[Json]) -> None:
    """Each attempt goes forward from where it began, and every epoch has the same figures each time."""
    figures: dict[tuple[bool, int], Json] = {}
    last = (False, 0)
    running = False
    for event in events:
        if "status" in event:
            running = event["status"] == "running"
            last = (False, 0)
            continue
        assert running, f"epoch {event['epoch']} was told of a job that did not run"
        place = (event["phase"] == "refit", int(event["epoch"]))
        assert place > last, f"epoch {place} was told after {last} in one attempt"
        last = place
        same = {name: value for name, value in event.items() if name != "seconds"}
        assert figures.setdefault(place, same) == same, f"epoch {place} was told with other figures"


def check_versions(stack: Stack) -> None:
    """A job that succeeded has one version, any other has none."""
    with stack.readers() as session:
        owners = list(session.scalars(select(ModelVersion.job_id).order_by(ModelVersion.job_id)))
    made = [
        job.id
        for job in _jobs(stack)
        if job.status == Status.SUCCEEDED and job.kind != batch_predictions.BATCH_PREDICT
    ]
    assert owners == made


def check_processes(stack: Stack) -> None:
    """No training is left once no job runs."""
    until(lambda: not stack.training(), 20, "the end of all training children", 0.05)


def check_files(stack: Stack, lost: set[str]) -> None:
    """In work/ and checkpoints/ nothing, in artifacts/ what versions name; the sweep clears what was lost."""

    def leftovers(lost: set[str]) -> list[str]:
        with stack.readers() as session:
            kept = set(session.scalars(select(ModelVersion.artifact)))
        work = stack.data_dir / "work"
        found = [path.name for path in work.iterdir()] if work.is_dir() else []
        found = [name for name in found if name.rpartition("-")[0] not in lost]
        found += stack.storage.keys("checkpoints")
        for key in stack.storage.keys("artifacts"):
            prefix = key.rpartition("/")[0]
            if prefix not in kept and "-".join(prefix.split("/")[1:3]) not in lost:
                found.append(key)
        return found

    until(lambda: not leftovers(lost), 20, f"the end of {leftovers(lost)}", 0.05)
    cleanup.clean_up(stack.sessions, stack.storage, stack.data_dir, seconds=0.0)
    assert not leftovers(set()), f"the sweep left {leftovers(set())}"
