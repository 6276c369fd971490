"""Sweeps in tests: asked for, advanced step by step, and their runs played instead of trained."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

from sqlalchemy import select

from app.database.engine import Sessions
from app.database.tables import Dataset, Job
from app.hyperparameters.space import Space
from app.services.jobs import control, leases, submission
from app.services.jobs.leases import Lease
from app.services.models.versions import Outcome
from app.services.sweeps import advance, state
from app.services.sweeps import submission as sweep_submission
from app.services.sweeps.advance import Done
from app.services.sweeps.policy import Curve, Told, decide
from app.services.sweeps.search import SweepIn
from app.services.sweeps.state import Run, Standing
from app.states import Status
from app.tasks.shared.validation_metrics import LOSS, of_validation
from app.typedefs import Json
from tests.app.services.stage import SUMMARY

CELLS = ("rnn", "lstm", "gru")
BASE: Json = {"task": "forecasting", "dataset": "ds_1", "model": "m", "options": {"horizon": 4}}
Value = float | None


def asked(**fields: Any) -> SweepIn:
    """A sweep over cells, unless the fields say something else."""
    return SweepIn.model_validate({**BASE, "search": {"network.cell": list(CELLS)}, **fields})


class Scripted:
    """A picker that follows a list, or the grid in order, and gives up what it is told to."""

    def __init__(self, points: Sequence[Json] | None = None, hopeless: Callable[[Curve], bool] | None = None):
        self._points, self._hopeless = points, hopeless
        self.told: list[Told] = []
        self.warmups: set[int] = set()

    def pick(self, search: Json, space: Space, seed: int, told: Sequence[Told]) -> Iterator[Json]:
        """See `Picker`."""
        self.told = list(told)
        if self._points is not None:
            yield from self._points
            return
        axes = [
            [one.at(place) for place in range(one.count)] for one in space.values() if one.count is not None
        ]
        for values in product(*axes):
            yield dict(zip(space, values, strict=True))

    def hopeless(self, curve: Curve, ended: Sequence[Curve], warmup: int) -> bool:
        """See `Picker`."""
        self.warmups.add(warmup)
        return self._hopeless is not None and self._hopeless(curve)


def stage(sessions: Sessions) -> None:
    """The data sets that sweeps of tests are over: of series, and `ds_2` of tagged words."""
    facts: Json = {"name": "n", "format": "csv", "bytes": 1, "sha256": "0", "filename": "f", "warnings": []}
    with sessions.begin() as session:
        session.add(Dataset(id="ds_1", task="forecasting", summary=SUMMARY, **facts))
        words = {"scheme": "bio", "train_tokens": 1_000}
        session.add(Dataset(id="ds_2", task="tagging", summary=words, **facts))


class Played:
    """A sweep over the data set of `stage`."""

    def __init__(self, sessions: Sessions, picker: Scripted | None = None, **fields: Any) -> None:
        self.sessions, self.picker, self.known = sessions, picker or Scripted(), dict[str, Curve]()
        self.metric = of_validation(fields.get("metric", LOSS))
        with sessions.begin() as session:
            self.id = sweep_submission.submit(session, asked(**fields)).id

    def step(self) -> Done:
        """One look, and what comes of it."""
        with self.sessions() as session:
            view = advance.look(session, self.id, self.known)
        decided = decide(view, self.picker)
        with self.sessions.begin() as session:
            return advance.carry_out(session, view, decided)

    def standing(self) -> Standing:
        """How it stands."""
        with self.sessions() as session:
            return state.read(session, self.id)

    def runs(self, *statuses: Status) -> list[Run]:
        """Its runs, or those in one of the states."""
        return [run for run in self.standing().runs if not statuses or run.status in statuses]

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

    def tell(self, lease: Lease, *losses: float, **more: Any) -> None:
        """Report these losses, epoch by epoch."""
        told = [("epoch", {"epoch": at, "valid_loss": loss, **more}) for at, loss in enumerate(losses, 1)]
        with self.sessions.begin() as session:
            leases.beat(session, lease, 60, None, None, told)

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
            self.tell(lease, *losses)
            assert self.finish(lease, value(run))

    def to_the_end(self, value: Callable[[Run], Value]) -> Job:
        """Step and play until it has ended."""
        while not self.step().ended:
            self.play(value)
        return self.job()

    def events(self, kind: str) -> list[Json]:
        """What the sweep told."""
        with self.sessions() as session:
            return [event.data for event in submission.events(session, self.id, 0, 500) if event.type == kind]

    def cancel(self, job_id: str = "") -> None:
        """Order the sweep, or a run, to end."""
        with self.sessions.begin() as session:
            control.cancel(session, job_id or self.id)


def outcome(lease: Lease, value: Value, metric: str = LOSS) -> Outcome:
    """What a run made."""
    artifact = f"artifacts/{lease.job_id}/{lease.attempt}"
    return Outcome(artifact, 7, 70, "00", {"smape": 1.0, metric: value}, {"smape": 2.0})


def by_cell(**values: float) -> Callable[[Run], Value]:
    """Losses by the trial's cell; a little more with each seed."""
    return lambda run: values[run.parameters["network.cell"]] + (run.seed - 7) / 100


def all_jobs(sessions: Sessions) -> list[Job]:
    """Every row."""
    with sessions() as session:
        return list(session.scalars(select(Job).order_by(Job.id)))
