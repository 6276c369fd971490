"""The state of a sweep: its trials and their runs, read from the database alone, and the leaderboard."""

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
from app.tasks.shared.validation_metrics import validation_metric
from app.typedefs import Json

PRUNED, TIMED_OUT = "pruned", "late"  # why the sweep itself ended a run, as stored in the run's `trial`

RUN_COLUMNS = (
    Job.id, Job.trial, Job.status, Job.metrics, Job.cancel_requested_at,
    Job.started_at, Job.finished_at, Job.error_code, Job.error_message,
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One job of a sweep: a trial trained with one seed."""

    job_id: str
    number: int  # of the trial
    parameters: Json
    seed: int
    status: str
    stopped: str | None  # why the sweep ended this run, if it did
    cancelling: bool  # a cancellation was requested and the run has not ended yet
    value: float | None  # of the metric; None without a finite one
    seconds: float | None
    error: str | None

    @classmethod
    def of(cls, row: Any, metric: str) -> "Run":
        """The run of a job's row; `metric` is the one that trials are compared by."""
        done = row.status == Status.SUCCEEDED
        value = (row.metrics or {}).get(validation_metric(metric)) if done else None
        return cls(
            job_id=row.id,
            number=row.trial["number"],
            parameters=row.trial["parameters"],
            seed=row.trial["seed"],
            status=row.status,
            stopped=row.trial.get("stopped"),
            cancelling=row.status in LIVE and row.cancel_requested_at is not None,
            value=value if isinstance(value, float | int) and math.isfinite(value) else None,
            seconds=row.finished_at - row.started_at if done else None,
            error=f"{row.error_message} ({row.error_code})" if row.error_code else None,
        )

    @property
    def live(self) -> bool:
        """Whether the run has not ended."""
        return self.status in LIVE


@dataclass(frozen=True)
class Trial:
    """One assignment of values to the searched settings, and its runs, the first seed first."""

    number: int
    parameters: Json
    runs: Sequence[Run]
    seeds: int  # runs that a complete trial has
    maximize: bool  # whether more of the metric is better

    @cached_property
    def values(self) -> list[float]:
        """The metric of each run that has one."""
        return [run.value for run in self.runs if run.value is not None]

    @property
    def mean(self) -> float | None:
        """The mean of the metric over the runs, by which trials are compared."""
        return fmean(self.values) if self.values else None

    @property
    def cost(self) -> float | None:
        """The mean with its sign turned where more is better, so that less always is."""
        return -self.mean if self.maximize and self.mean is not None else self.mean

    @property
    def spread(self) -> float | None:
        """The standard deviation of the metric over seeds; None for fewer than two values."""
        return stdev(self.values) if len(self.values) > 1 else None

    @property
    def seconds(self) -> float | None:
        """The mean duration of the runs that succeeded."""
        seconds = [run.seconds for run in self.runs if run.seconds is not None]
        return fmean(seconds) if seconds else None

    @property
    def pruned(self) -> bool:
        """Whether the sweep gave the trial up."""
        return any(run.stopped == PRUNED for run in self.runs)

    @property
    def failed(self) -> bool:
        """Whether a run ended without a value, so that no further run of the trial starts."""
        return any(not run.live and run.value is None for run in self.runs)

    @property
    def live(self) -> bool:
        """Whether a run has not ended."""
        return any(run.live for run in self.runs)

    @property
    def open(self) -> bool:
        """Whether the trial's mean can still change."""
        return self.live or not (self.failed or len(self.runs) >= self.seeds)

    @property
    def best(self) -> Run | None:
        """The run with the best value; its network represents the trial."""
        with_value = [run for run in self.runs if run.value is not None]
        best = max if self.maximize else min
        return best(with_value, key=lambda run: run.value or 0.0) if with_value else None

    @property
    def status(self) -> str:
        """The trial's status as the leaderboard shows it."""
        if self.pruned:
            return PRUNED
        if self.live:
            begun = any(run.status != Status.QUEUED for run in self.runs)
            return Status.RUNNING if begun else Status.QUEUED
        if len(self.values) == self.seeds:
            return Status.SUCCEEDED
        if any(run.status == Status.FAILED for run in self.runs):
            return Status.FAILED
        cancelled = self.failed and not any(run.stopped == TIMED_OUT for run in self.runs)
        return Status.CANCELLED if cancelled else "incomplete"


@dataclass(frozen=True)
class SweepState:
    """A sweep with all its trials, as the database had them at one moment."""

    sweep: Job
    trials: Sequence[Trial]
    now: float  # the database's clock, in epoch seconds

    @property
    def runs(self) -> list[Run]:
        """The runs of all trials."""
        return [run for trial in self.trials for run in trial.runs]

    @property
    def live(self) -> list[Run]:
        """The runs that have not ended."""
        return [run for run in self.runs if run.live]

    @property
    def timed_out(self) -> bool:
        """Whether the sweep has run for longer than its `max_seconds`."""
        max_seconds, started_at = self.search["max_seconds"], self.sweep.started_at
        return max_seconds is not None and started_at is not None and self.now - started_at > max_seconds

    @property
    def search(self) -> Json:
        """The search as it was submitted, with its defaults filled in."""
        return self.sweep.search or {}

    @cached_property
    def ranked(self) -> list[Trial]:
        """Trials with a value, the best first; trials that miss runs come after all that miss fewer."""
        with_value = [trial for trial in self.trials if trial.values and not trial.pruned]
        seeds = self.search["seeds"]
        return sorted(with_value, key=lambda trial: (seeds - len(trial.values), trial.cost, trial.number))

    def discardable(self, *, ended: bool) -> list[str]:
        """Ids of ended runs whose files can be deleted: they can no longer become the model's version.

        `ended` says whether the sweep has ended, so that open trials no longer count.
        """
        closed = [trial for trial in self.ranked if ended or not trial.open]
        candidates = [*closed[:1], *(trial for trial in self.trials if trial.open and not ended)]
        retained = {trial.best.job_id for trial in candidates if trial.best is not None}
        return [run.job_id for run in self.runs if not run.live and run.job_id not in retained]


def load(session: Session, sweep_id: str) -> SweepState:
    """The current state of a sweep; raises `NotFound`."""
    sweep = session.get(Job, sweep_id)
    if sweep is None or sweep.kind != SWEEP:
        raise NotFound(f"There is no sweep {sweep_id}")
    rows = session.execute(select(*RUN_COLUMNS).where(Job.sweep_id == sweep_id).order_by(Job.id))
    now = session.scalars(select(db_now())).one()
    search = sweep.search or {}
    runs = [Run.of(row, search["metric"]) for row in rows]
    return SweepState(sweep, _trials(runs, search["seeds"], maximize=search["direction"] == MAXIMIZE), now)


def _trials(runs: Iterable[Run], seeds: int, *, maximize: bool) -> list[Trial]:
    by_number: dict[int, list[Run]] = defaultdict(list)
    for run in runs:
        by_number[run.number].append(run)
    return [
        Trial(number, group[0].parameters, sorted(group, key=lambda run: run.seed), seeds, maximize)
        for number, group in sorted(by_number.items())
    ]


def leaderboard(state: SweepState) -> list[Json]:
    """All trials as JSON, the ranked ones first, then those without a value."""
    ranks = {trial.number: rank for rank, trial in enumerate(state.ranked, 1)}
    unranked = [trial for trial in state.trials if trial.number not in ranks]
    return [_trial_json(trial, ranks.get(trial.number)) for trial in (*state.ranked, *unranked)]


def _trial_json(trial: Trial, rank: int | None) -> Json:
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
