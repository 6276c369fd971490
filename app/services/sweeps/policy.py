"""The decision what a sweep does next: which runs start and which are stopped. It changes nothing itself."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Protocol

from app.database.tables import Dataset
from app.errors import Invalid
from app.hyperparameters.space import Space, canonical_json
from app.services.jobs.submission import ResolvedJobConfig
from app.services.sweeps import submission
from app.services.sweeps.state import PRUNED, TIMED_OUT, Run, SweepState, Trial
from app.states import Status
from app.typedefs import Json

LossCurve = Mapping[int, float]  # epoch -> validation loss
WARMUP_SHARE = 0.25  # of its epochs, which a run may train before it is compared with others


@dataclass(frozen=True)
class TrialResult:
    """What a sampler knows of a trial; one with neither value nor curve failed."""

    parameters: Json
    value: float | None = None  # the cost: less is better
    curve: LossCurve | None = None  # of a pruned trial, up to the epoch at which it was stopped
    running: bool = False


class TrialSampler(Protocol):
    """Suggests the parameters of trials."""

    def suggest(
        self, search: Json, space: Space, seed: int, results: Sequence[TrialResult]
    ) -> Iterator[Json]:
        """Parameters to try next, perhaps some of them twice; ends when the space has no others."""
        ...


class TrialPruner(Protocol):
    """Decides which runs are not worth finishing."""

    def should_prune(self, curve: LossCurve, ended: Sequence[LossCurve], warmup: int) -> bool:
        """Whether a run is far behind those that ended; `warmup` epochs it trains in any case."""
        ...


@dataclass(frozen=True)
class SweepContext:
    """A sweep's state with everything else that decides what it does next."""

    state: SweepState
    dataset: Dataset
    parallel: int  # runs at once
    curves: Mapping[str, LossCurve] = field(default_factory=dict)  # by job id, those that pruning needs
    epochs: Mapping[str, int] = field(default_factory=dict)  # by job id of a running run, its epochs at most

    @property
    def seeds(self) -> range:
        """The seeds of each trial's runs; all runs split the data by the first one."""
        search = self.state.search
        return range(search["seed"], search["seed"] + search["seeds"])


@dataclass(frozen=True)
class StartRun:
    """A run to start."""

    number: int  # of the trial
    seed: int
    parameters: Json
    config: ResolvedJobConfig


@dataclass(frozen=True)
class StopRun:
    """A run to stop."""

    job_id: str
    reason: str  # one word, stored with the run
    message: str


@dataclass(frozen=True)
class SweepPlan:
    """The runs to start and to stop now."""

    starts: Sequence[StartRun] = ()
    stops: Sequence[StopRun] = ()


def decide(context: SweepContext, sampler: TrialSampler, pruner: TrialPruner) -> SweepPlan:
    """Stop the runs that are out of time or fell behind, and start as many as there is room for."""
    state = context.state
    if state.timed_out:
        message = f"The sweep has taken its {state.search['max_seconds']:g} seconds"
        stops = [StopRun(run.job_id, TIMED_OUT, message) for run in state.live if not run.cancelling]
        return SweepPlan(stops=stops)
    stops = list(_prune(context, pruner))
    free = max(0, context.parallel - len(state.live))
    stopped = {stop.job_id for stop in stops}
    return SweepPlan(list(islice(_startable(context, sampler, stopped), free)), stops)


def _prune(context: SweepContext, pruner: TrialPruner) -> Iterator[StopRun]:
    """Stop all runs of each trial whose first run fell behind.

    Only first runs are compared: the runs with the other seeds are there to measure the spread.
    """
    if not context.state.search["prune"]:
        return
    ended = [
        context.curves[run.job_id]
        for run in context.state.runs
        if _has_result(run) and run.job_id in context.curves
    ]
    for trial in context.state.trials:
        first = trial.runs[0]
        curve = context.curves.get(first.job_id)
        if first.status != Status.RUNNING or first.cancelling or not curve:
            continue
        warmup = math.ceil(WARMUP_SHARE * context.epochs[first.job_id])
        if pruner.should_prune(curve, ended, warmup):
            reason = f"its validation loss after {max(curve)} epochs is worse than the median of other runs"
            yield from (StopRun(run.job_id, PRUNED, f"Pruned: {reason}") for run in trial.runs if run.live)


def _has_result(run: Run) -> bool:
    return not run.live and run.value is not None


def _startable(context: SweepContext, sampler: TrialSampler, stopped: set[str]) -> Iterator[StartRun]:
    """Runs that may start, the most useful first.

    First come the missing runs of trials that will not be pruned any more, then new trials, then the
    missing runs of all other trials.
    """
    prune = context.state.search["prune"]
    trials = [
        trial
        for trial in context.state.trials
        if trial.open and not trial.failed and not _is_stopping(trial, stopped)
    ]
    safe = [trial for trial in trials if not prune or _has_result(trial.runs[0])]
    unsafe = [trial for trial in trials if trial not in safe]
    yield from chain.from_iterable(_missing_runs(context, trial) for trial in safe)
    later = []
    for start in _new_trials(context, sampler):
        rest = [StartRun(start.number, seed, start.parameters, start.config) for seed in context.seeds[1:]]
        yield start
        if prune:
            later += rest
        else:
            yield from rest
    yield from chain.from_iterable(_missing_runs(context, trial) for trial in unsafe)
    yield from later


def _is_stopping(trial: Trial, stopped: set[str]) -> bool:
    return any(run.cancelling or run.job_id in stopped for run in trial.runs)


def _missing_runs(context: SweepContext, trial: Trial) -> Iterator[StartRun]:
    """A start for each seed that a trial has no run of yet."""
    existing = {run.seed for run in trial.runs}
    config = _resolve(context, trial.parameters)
    if config is not None:
        yield from (
            StartRun(trial.number, seed, trial.parameters, config)
            for seed in context.seeds
            if seed not in existing
        )


def _new_trials(context: SweepContext, sampler: TrialSampler) -> Iterator[StartRun]:
    """The first runs of trials that do not exist yet."""
    state = context.state
    search, number = state.search, len(state.trials)
    if number >= search["max_trials"]:
        return
    space = submission.space_of(submission.task_of(state.sweep), search["space"])
    known = {canonical_json(trial.parameters) for trial in state.trials}
    results = [_result(trial, context.curves) for trial in state.trials]
    for parameters in sampler.suggest(search, space, search["seed"], results):
        if (key := canonical_json(parameters)) in known:
            continue
        known.add(key)
        config = _resolve(context, parameters)
        if config is None:
            continue
        yield StartRun(number, search["seed"], parameters, config)
        number += 1
        if number >= search["max_trials"]:
            return


def _result(trial: Trial, curves: Mapping[str, LossCurve]) -> TrialResult:
    if trial.pruned:
        return TrialResult(trial.parameters, curve=curves.get(trial.runs[0].job_id))
    if trial.open:
        return TrialResult(trial.parameters, running=True)
    return TrialResult(trial.parameters, None if trial.failed else trial.cost)


def _resolve(context: SweepContext, parameters: Json) -> ResolvedJobConfig | None:
    """The configuration of a trial's runs; None where its parameters do not fit together."""
    sweep = context.state.sweep
    try:
        return submission.resolve(
            submission.task_of(sweep), context.dataset, submission.base_of(sweep), parameters
        )
    except Invalid:
        return None
