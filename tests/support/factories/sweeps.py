"""Sweeps in tests: submitted, advanced step by step, and their runs played instead of trained."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

from sqlalchemy import select

from app.database.engine import Sessions
from app.database.tables import Dataset, Job
from app.hyperparameters.space import Space
from app.services.jobs import control, leases, queries
from app.services.jobs.leases import Lease
from app.services.models.versions import TrainingOutcome
from app.services.sweeps import advance, state, submission
from app.services.sweeps.advance import AppliedPlan
from app.services.sweeps.policy import LossCurve, TrialResult, decide
from app.services.sweeps.search import SweepIn
from app.services.sweeps.state import Run, SweepState
from app.states import Status
from app.tasks.shared.validation_metrics import VALIDATION_LOSS, validation_metric
from app.typedefs import Json
from tests.app.services.stage import SUMMARY

CELLS = ("rnn", "lstm", "gru")
BASE: Json = {"task": "forecasting", "dataset": "ds_1", "model": "m", "options": {"horizon": 4}}
Value = float | None


def sweep_request(**fields: Any) -> SweepIn:
    """A sweep over cells, unless the fields say something else."""
    return SweepIn.model_validate({**BASE, "search": {"network.cell": list(CELLS)}, **fields})


class Scripted:
    """A sampler that follows a list, or the grid in order, and a pruner that stops what `prune` says."""

    def __init__(
        self, points: Sequence[Json] | None = None, prune: Callable[[LossCurve], bool] | None = None
    ):
        self._points, self._prune = points, prune
        self.results: list[TrialResult] = []
        self.warmups: set[int] = set()

    def suggest(
        self, search: Json, space: Space, seed: int, results: Sequence[TrialResult]
    ) -> Iterator[Json]:
        """See `TrialSampler`."""
        self.results = list(results)
        if self._points is not None:
            yield from self._points
            return
        axes = [
            [axis.value_at(index) for index in range(axis.count)]
            for axis in space.values()
            if axis.count is not None
        ]
        for values in product(*axes):
            yield dict(zip(space, values, strict=True))

    def should_prune(self, curve: LossCurve, ended: Sequence[LossCurve], warmup: int) -> bool:
        """See `TrialPruner`."""
        self.warmups.add(warmup)
        return self._prune is not None and self._prune(curve)


def stage(sessions: Sessions) -> None:
    """The data sets that sweeps of tests are over: of series, and `ds_2` of tagged words."""
    facts: Json = {"name": "n", "format": "csv", "bytes": 1, "sha256": "0", "filename": "f", "warnings": []}
    with sessions.begin() as session:
        session.add(Dataset(id="ds_1", task="forecasting", summary=SUMMARY, **facts))
        words = {"scheme": "bio", "train_tokens": 1_000}
        session.add(Dataset(id="ds_2", task="tagging", summary=words, **facts))


class Played:
    """A sweep over the data set of `stage`."""

    def __init__(self, sessions: Sessions, script: Scripted | None = None, **fields: Any) -> None:
        self.sessions, self.script, self.cache = sessions, script or Scripted(), dict[str, LossCurve]()
        self.metric = validation_metric(fields.get("metric", VALIDATION_LOSS))
        with sessions.begin() as session:
            self.id = submission.submit(session, sweep_request(**fields)).id

    def step(self) -> AppliedPlan:
        """Advance the sweep once, as a worker does."""
        with self.sessions() as session:
            context = advance.load(session, self.id, self.cache)
        plan = decide(context, self.script, self.script)
        with self.sessions.begin() as session:
            return advance.apply(session, context, plan)

    def state(self) -> SweepState:
        """Its state in the database."""
        with self.sessions() as session:
            return state.load(session, self.id)

    def runs(self, *statuses: Status) -> list[Run]:
        """Its runs, or those in one of the states."""
        return [run for run in self.state().runs if not statuses or run.status in statuses]

    def job(self, job_id: str = "") -> Job:
        """The sweep's row, or one of a run."""
        with self.sessions() as session:
            return session.get_one(Job, job_id or self.id)

    def claim(self, job_id: str) -> Lease:
        """Begin a run, as a worker does."""
        with self.sessions.begin() as session:
            job = leases.claim(session, job_id, "w1", 60)
            assert job is not None
            return Lease(job.id, job.attempt)

    def report(self, lease: Lease, *losses: float, **more: Any) -> None:
        """Report these losses, epoch by epoch."""
        events = [("epoch", {"epoch": at, "valid_loss": loss, **more}) for at, loss in enumerate(losses, 1)]
        with self.sessions.begin() as session:
            leases.renew(session, lease, 60, None, None, events)

    def finish(self, lease: Lease, value: Value) -> bool:
        """End a run with what it is compared by; infinite, it failed."""
        with self.sessions.begin() as session:
            if value is not None and math.isinf(value):
                return leases.end(session, lease, Status.FAILED, code="diverged", message="The loss is NaN.")
            made = outcome(lease, value, self.metric)
            return leases.complete(session, lease, made.metrics, made)

    def play(self, value: Callable[[Run], Value], *losses: float) -> None:
        """Run whatever is queued to its end."""
        for run in self.runs(Status.QUEUED):
            lease = self.claim(run.job_id)
            self.report(lease, *losses)
            assert self.finish(lease, value(run))

    def to_the_end(self, value: Callable[[Run], Value]) -> Job:
        """Step and play until it has ended."""
        while not self.step().ended:
            self.play(value)
        return self.job()

    def events(self, kind: str) -> list[Json]:
        """The data of the sweep's events of one type."""
        with self.sessions() as session:
            return [
                event.data for event in queries.list_events(session, self.id, 0, 500) if event.type == kind
            ]

    def cancel(self, job_id: str = "") -> None:
        """Cancel the sweep, or a run."""
        with self.sessions.begin() as session:
            control.cancel(session, job_id or self.id)


def outcome(lease: Lease, value: Value, metric: str = VALIDATION_LOSS) -> TrainingOutcome:
    """The outcome of a run."""
    artifact = f"artifacts/{lease.job_id}/{lease.attempt}"
    return TrainingOutcome(artifact, 7, 70, "00", {"smape": 1.0, metric: value}, {"smape": 2.0})


def by_cell(**values: float) -> Callable[[Run], Value]:
    """Losses by the trial's cell; a little more with each seed."""
    return lambda run: values[run.parameters["network.cell"]] + (run.seed - 7) / 100


def all_jobs(sessions: Sessions) -> list[Job]:
    """Every row."""
    with sessions() as session:
        return list(session.scalars(select(Job).order_by(Job.id)))
