"""How a sweep stands: its trials and their runs, told by the database alone, and who leads."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, stdev
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.engine import db_now
from app.database.tables import Job
from app.errors import NotFound
from app.services.sweeps.search import MAXIMIZE
from app.states import LIVE, SWEEP, Status
from app.tasks.shared.validation_metrics import of_validation
from app.typedefs import Json

PRUNED, LATE = "pruned", "late"  # why the sweep itself ended a run

COLUMNS = (
    Job.id, Job.trial, Job.status, Job.metrics, Job.cancel_requested_at,
    Job.started_at, Job.finished_at, Job.error_code, Job.error_message,
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One job of a sweep: a trial with one seed."""

    job_id: str
    number: int  # of the trial
    parameters: Json
    seed: int
    status: str
    stopped: str | None  # by the sweep, and why
    leaving: bool  # is being cancelled
    value: float | None
    seconds: float | None
    error: str | None

    @classmethod
    def of(cls, row: Any, metric: str) -> "Run":
        """From its job's row, and the metric that runs are compared by."""
        done = row.status == Status.SUCCEEDED
        value = (row.metrics or {}).get(of_validation(metric)) if done else None
        return cls(
            job_id=row.id,
            number=row.trial["number"],
            parameters=row.trial["parameters"],
            seed=row.trial["seed"],
            status=row.status,
            stopped=row.trial.get("stopped"),
            leaving=row.status in LIVE and row.cancel_requested_at is not None,
            value=value if isinstance(value, float | int) and math.isfinite(value) else None,
            seconds=row.finished_at - row.started_at if done else None,
            error=f"{row.error_message} ({row.error_code})" if row.error_code else None,
        )

    @property
    def live(self) -> bool:
        """Whether it has not ended."""
        return self.status in LIVE


@dataclass(frozen=True)
class Trial:
    """A setting of what is searched, and its runs, the first seed first."""

    number: int
    parameters: Json
    runs: Sequence[Run]
    wanted: int  # runs
    rising: bool  # whether more of the metric is better

    @cached_property
    def values(self) -> list[float]:
        """What its runs reached."""
        return [run.value for run in self.runs if run.value is not None]

    @property
    def mean(self) -> float | None:
        """What it is compared by."""
        return fmean(self.values) if self.values else None

    @property
    def cost(self) -> float | None:
        """The same, so that less is better."""
        return -self.mean if self.rising and self.mean is not None else self.mean

    @property
    def spread(self) -> float | None:
        """The standard deviation over seeds, from two on."""
        return stdev(self.values) if len(self.values) > 1 else None

    @property
    def seconds(self) -> float | None:
        """What a run takes on average."""
        took = [run.seconds for run in self.runs if run.seconds is not None]
        return fmean(took) if took else None

    @property
    def pruned(self) -> bool:
        """Whether it was given up."""
        return any(run.stopped == PRUNED for run in self.runs)

    @property
    def spoilt(self) -> bool:
        """Whether one of its runs ended without a value, so that no other one is begun."""
        return any(not run.live and run.value is None for run in self.runs)

    @property
    def live(self) -> bool:
        """Whether a run has not ended."""
        return any(run.live for run in self.runs)

    @property
    def open(self) -> bool:
        """Whether its place can still change."""
        return self.live or not (self.spoilt or len(self.runs) >= self.wanted)

    @property
    def best(self) -> Run | None:
        """The run whose network is the trial's."""
        good = [run for run in self.runs if run.value is not None]
        return (max if self.rising else min)(good, key=lambda run: run.value or 0.0) if good else None

    @property
    def status(self) -> str:
        """In one word."""
        if self.pruned:
            return PRUNED
        if self.live:
            begun = any(run.status != Status.QUEUED for run in self.runs)
            return Status.RUNNING if begun else Status.QUEUED
        if len(self.values) == self.wanted:
            return Status.SUCCEEDED
        failed = any(run.status == Status.FAILED for run in self.runs)
        spoilt = self.spoilt and not any(run.stopped == LATE for run in self.runs)
        return Status.FAILED if failed else Status.CANCELLED if spoilt else "incomplete"


@dataclass(frozen=True)
class Standing:
    """A sweep at one moment."""

    sweep: Job
    trials: Sequence[Trial]
    clock: float

    @property
    def runs(self) -> list[Run]:
        """Of all trials."""
        return [run for trial in self.trials for run in trial.runs]

    @property
    def live(self) -> list[Run]:
        """Those that have not ended."""
        return [run for run in self.runs if run.live]

    @property
    def late(self) -> bool:
        """Whether the sweep's time is over."""
        most, began = self.search["max_seconds"], self.sweep.started_at
        return most is not None and began is not None and self.clock - began > most

    @property
    def search(self) -> Json:
        """What is searched, and how."""
        return self.sweep.search or {}

    @cached_property
    def ranked(self) -> list[Trial]:
        """Trials with a value, the best first: a run that is missing is worse than any value."""
        good = [trial for trial in self.trials if trial.values and not trial.pruned]
        wanted = self.search["seeds"]
        return sorted(good, key=lambda trial: (wanted - len(trial.values), trial.cost, trial.number))

    def spent(self, *, ended: bool) -> list[str]:
        """Runs that have ended and whose network nobody can want any more."""
        closed = [trial for trial in self.ranked if ended or not trial.open]
        kept = [*closed[:1], *(trial for trial in self.trials if trial.open and not ended)]
        keep = {trial.best.job_id for trial in kept if trial.best is not None}
        return [run.job_id for run in self.runs if not run.live and run.job_id not in keep]


def read(session: Session, sweep_id: str) -> Standing:
    """The sweep as it stands; raises `NotFound`."""
    sweep = session.get(Job, sweep_id)
    if sweep is None or sweep.kind != SWEEP:
        raise NotFound(f"There is no sweep {sweep_id}")
    rows = session.execute(select(*COLUMNS).where(Job.sweep_id == sweep_id).order_by(Job.id))
    clock = session.scalars(select(db_now())).one()
    search = sweep.search or {}
    runs = [Run.of(row, search["metric"]) for row in rows]
    return Standing(sweep, _trials(runs, search["seeds"], rising=search["direction"] == MAXIMIZE), clock)


def _trials(runs: Iterable[Run], seeds: int, *, rising: bool) -> list[Trial]:
    found: dict[int, list[Run]] = defaultdict(list)
    for run in runs:
        found[run.number].append(run)
    return [
        Trial(number, of[0].parameters, sorted(of, key=lambda run: run.seed), seeds, rising)
        for number, of in sorted(found.items())
    ]


def leaderboard(standing: Standing) -> list[Json]:
    """All trials, the best first, then those without a value."""
    ranks = {trial.number: rank for rank, trial in enumerate(standing.ranked, 1)}
    rest = [trial for trial in standing.trials if trial.number not in ranks]
    return [_row(trial, ranks.get(trial.number)) for trial in (*standing.ranked, *rest)]


def _row(trial: Trial, rank: int | None) -> Json:
    runs = [
        {"job": run.job_id, "seed": run.seed, "status": run.status, "value": run.value} for run in trial.runs
    ]
    return {
        "rank": rank,
        "number": trial.number,
        "parameters": trial.parameters,
        "metric": trial.mean,
        "spread": trial.spread,
        "seconds": trial.seconds,
        "status": trial.status,
        "pruned": trial.pruned,
        "seeds": runs,
    }
