"""The service's own account of the jobs against the ledger, and what is left on the disk."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from sqlalchemy import func, select

from app.database.tables import Job, JobEvent, ModelVersion
from app.services.jobs import checkpoints
from app.services.jobs.leases import MAX_CRASHES
from app.services.maintenance.cleanup import clean_up
from app.states import TERMINAL, Status
from benchmarks.chaos.faults import CHARGED, DISK_FULL, LOCK
from benchmarks.chaos.ledger import Ledger
from benchmarks.chaos.service import LEASE, Service
from benchmarks.chaos.stream import Stream

RETURN = 15.0  # seconds after an outage in which its consequences may still be charged


class Verdict:
    """Everything that is not as it should be."""

    def __init__(self, service: Service, stream: Stream, ledger: Ledger) -> None:
        self._service, self._stream, self._ledger = service, stream, ledger
        with service.readers() as session:
            self.jobs = list(session.scalars(select(Job).where(Job.id.in_(ledger.accepted))))

    def wrong(self) -> list[str]:
        """One sentence each."""
        return [
            *self._ledger.wrong,
            *self._accepted(),
            *(said for job in self.jobs for said in self._job(job)),
        ]

    def _accepted(self) -> Iterator[str]:
        with self._service.readers() as session:
            stored = session.scalar(select(func.count()).select_from(Job).where(Job.model == "weather")) or 0
        expected = len(self._ledger.accepted) + len(self._stream.twins)
        if stored != expected:
            yield f"{expected} jobs were accepted, {stored} are stored"
        if len(self._ledger.numbers) != len(self._ledger.accepted):
            yield f"{len(self._ledger.numbers)} submissions became {len(self._ledger.accepted)} jobs"

    def _job(self, job: Job) -> Iterator[str]:
        weights = self._stream.weights(job.id)
        if job.status not in TERMINAL:
            yield f"{job.id} is {job.status}"
        elif job.status == Status.SUCCEEDED:
            twin = self._stream.twins[self._ledger.accepted[job.id]]
            if len(weights) != 1:
                yield f"{job.id} succeeded with {len(weights)} versions"
            elif weights[0] != twin:
                yield f"{job.id} ({self._ledger.accepted[job.id]}) differs from its twin"
        elif weights:
            yield f"{job.id} is {job.status} and has {len(weights)} versions"
        if job.status == Status.FAILED and not self._may_fail(job):
            yield f"{job.id} failed: {job.error_code}: {job.error_message}"
        if job.id in self._ledger.cancelled and job.status != Status.CANCELLED:
            yield f"{job.id} was cancelled and is {job.status}"
        if job.status == Status.CANCELLED and job.id not in self._ledger.cancelled | self._ledger.doubtful:
            yield f"{job.id} is cancelled and nobody asked for it"
        if job.crashes > self._charges(job):
            yield f"{job.id} was charged {job.crashes} losses and had at most {self._charges(job)}"
        yield from self._history(job)

    def _may_fail(self, job: Job) -> bool:
        """A full disk is told as such; a job that lost its worker too often was given up."""
        if job.error_code == "no_space":
            return self._ledger.struck(job.id, frozenset({DISK_FULL})) > 0
        return job.error_code == "worker_lost" and self._charges(job) > MAX_CRASHES

    def _charges(self, job: Job) -> int:
        """How often a job can have lost its worker: by a hit, or by an outage longer than its lease."""
        begun, ended = job.started_at or 0.0, job.finished_at or float("inf")
        outages = sum(
            fault.kind == LOCK
            and fault.ended - fault.begun > LEASE
            and fault.begun < ended
            and fault.ended + RETURN > begun
            for fault in self._ledger.faults
        )
        return self._ledger.struck(job.id, CHARGED) + outages

    def _history(self, job: Job) -> Iterator[str]:
        """Attempts grow one by one, events are numbered without gaps, and nothing follows the end."""
        with self._service.readers() as session:
            query = select(JobEvent).where(JobEvent.job_id == job.id).order_by(JobEvent.seq)
            events = list(session.scalars(query))
        if [event.seq for event in events] != list(range(1, len(events) + 1)):
            yield f"{job.id} has gaps in its history"
        statuses = [event.data for event in events if event.type == "status"]
        attempts = [data["attempt"] for data in statuses if data["status"] == Status.RUNNING]
        if attempts != list(range(1, job.attempt + 1)):
            yield f"{job.id} had the attempts {attempts} and counts {job.attempt}"
        ends = [data["status"] for data in statuses if data["status"] in TERMINAL]
        if job.status in TERMINAL and (ends != [job.status] or events[-1].data.get("status") != job.status):
            yield f"{job.id} ended as {ends} and is {job.status}; its last event is {events[-1].type}"

    # Figures

    def ends(self) -> Counter[str]:
        """Jobs by status, with the code of those that failed."""
        return Counter(f"failed ({job.error_code})" if job.error_code else job.status for job in self.jobs)

    def attempts(self) -> Counter[int]:
        """Jobs by the number of their attempts."""
        return Counter(job.attempt for job in self.jobs)

    def recoveries(self) -> dict[str, list[float]]:
        """Seconds from a hit until the job runs again, unless it was paused, by the kind of hit."""
        result: dict[str, list[float]] = {}
        with self._service.readers() as session:
            for fault in self._ledger.faults:
                if fault.kind in CHARGED and fault.job_id is not None:
                    query = select(JobEvent.at, JobEvent.data).where(
                        JobEvent.job_id == fault.job_id, JobEvent.type == "status", JobEvent.at > fault.begun
                    )
                    later = session.execute(query.order_by(JobEvent.seq).limit(2)).all()
                    if [data["status"] for _, data in later] == [Status.QUEUED, Status.RUNNING]:
                        result.setdefault(fault.kind, []).append(later[-1][0] - fault.begun)
        return result


def leaks(service: Service) -> tuple[list[str], int]:
    """Files that nothing needs after a final sweep, and how many that removed."""
    removed = clean_up(service.sessions, service.storage, service.data_dir, seconds=0.0)
    with service.readers() as session:
        artifacts = set(session.scalars(select(ModelVersion.artifact)))
    stored = service.storage.keys("artifacts")
    left = [key for key in stored if key.rpartition("/")[0] not in artifacts]
    left += service.storage.keys(checkpoints.CHECKPOINTS_ROOT)
    for name in ("work", "incoming"):
        left += [str(path) for path in _entries(service.data_dir / name)]
    return left, removed.groups + removed.leftovers


def _entries(directory: Path) -> Sequence[Path]:
    return sorted(directory.iterdir()) if directory.is_dir() else []
