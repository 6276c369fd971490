"""What a sweep does next: which runs begin, and which are given up. Nothing is changed here."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Protocol

from app.database.tables import Dataset
from app.errors import Invalid
from app.hyperparameters.space import Space, spelled
from app.services.jobs.submission import Settings
from app.services.sweeps import submission
from app.services.sweeps.state import LATE, PRUNED, Run, Standing, Trial
from app.states import Status
from app.typedefs import Json

Curve = Mapping[int, float]  # epoch -> validation loss
WARMUP = 0.25  # of its epochs a run has before it is compared


@dataclass(frozen=True)
class Told:
    """A trial as the sampler is told of it; with neither value nor curve it went wrong."""

    parameters: Json
    value: float | None = None  # the less the better
    curve: Curve | None = None  # as far as it came before it was given up
    running: bool = False


class Picker(Protocol):
    """Picks trials, and gives hopeless ones up."""

    def pick(self, search: Json, space: Space, seed: int, told: Sequence[Told]) -> Iterator[Json]:
        """Settings worth a trial, some perhaps twice; it ends when there are no others."""
        ...

    def hopeless(self, curve: Curve, ended: Sequence[Curve], warmup: int) -> bool:
        """Whether a run is so far behind those that ended that it need not go on."""
        ...


@dataclass(frozen=True)
class View:
    """A sweep and all that decides how it goes on."""

    standing: Standing
    dataset: Dataset
    parallel: int  # runs at once
    curves: Mapping[str, Curve] = field(default_factory=dict)  # by job, as far as they are needed
    epochs: Mapping[str, int] = field(default_factory=dict)  # at most, of those that run

    @property
    def seeds(self) -> range:
        """Of each trial's runs; the first one also splits the data, for all of them alike."""
        search = self.standing.search
        return range(search["seed"], search["seed"] + search["seeds"])


@dataclass(frozen=True)
class Start:
    """A run to begin."""

    number: int
    seed: int
    parameters: Json
    settings: Settings


@dataclass(frozen=True)
class Stop:
    """A run to end."""

    job_id: str
    why: str  # in a word
    message: str


@dataclass(frozen=True)
class Step:
    """What to do now."""

    starts: Sequence[Start] = ()
    stops: Sequence[Stop] = ()


def decide(view: View, picker: Picker) -> Step:
    """Give up what is too late or hopeless, and fill the free places."""
    standing = view.standing
    if standing.late:
        message = f"The sweep has taken its {standing.search['max_seconds']:g} seconds"
        return Step(stops=[Stop(run.job_id, LATE, message) for run in standing.live if not run.leaving])
    stops = list(_hopeless(view, picker))
    free = max(0, view.parallel - len(standing.live))
    given_up = {stop.job_id for stop in stops}
    return Step(list(islice(_runs(view, picker, given_up), free)), stops)


def _hopeless(view: View, picker: Picker) -> Iterator[Stop]:
    """All runs of each trial whose first run fell behind; only that one, for the others tell the spread."""
    if not view.standing.search["prune"]:
        return
    ended = [
        view.curves[run.job_id] for run in view.standing.runs if _good(run) and run.job_id in view.curves
    ]
    for trial in view.standing.trials:
        first = trial.runs[0]
        curve = view.curves.get(first.job_id)
        if first.status != Status.RUNNING or first.leaving or not curve:
            continue
        if picker.hopeless(curve, ended, math.ceil(WARMUP * view.epochs[first.job_id])):
            at = max(curve)
            message = (
                f"Given up: its validation loss after {at} epochs is worse than the median of other runs"
            )
            yield from (Stop(run.job_id, PRUNED, message) for run in trial.runs if run.live)


def _good(run: Run) -> bool:
    return not run.live and run.value is not None


def _runs(view: View, picker: Picker, given_up: set[str]) -> Iterator[Start]:
    """Runs that may begin, in this order: of trials that hold their own, of new trials, of any trial."""
    prune = view.standing.search["prune"]
    trials = [
        one for one in view.standing.trials if one.open and not one.spoilt and not _leaves(one, given_up)
    ]
    sure = [trial for trial in trials if not prune or _good(trial.runs[0])]
    unsure = [trial for trial in trials if trial not in sure]
    yield from chain.from_iterable(_rest(view, trial) for trial in sure)
    later = []
    for start in _new(view, picker):
        rest = [Start(start.number, seed, start.parameters, start.settings) for seed in view.seeds[1:]]
        yield start
        if prune:
            later += rest
        else:
            yield from rest
    yield from chain.from_iterable(_rest(view, trial) for trial in unsure)
    yield from later


def _leaves(trial: Trial, given_up: set[str]) -> bool:
    return any(run.leaving or run.job_id in given_up for run in trial.runs)


def _rest(view: View, trial: Trial) -> Iterator[Start]:
    """Runs that a trial lacks."""
    there = {run.seed for run in trial.runs}
    settings = _settings(view, trial.parameters)
    if settings is not None:
        yield from (
            Start(trial.number, seed, trial.parameters, settings) for seed in view.seeds if seed not in there
        )


def _new(view: View, picker: Picker) -> Iterator[Start]:
    """First runs of trials that nobody has begun."""
    standing = view.standing
    search, number = standing.search, len(standing.trials)
    if number >= search["max_trials"]:
        return
    space = submission.space_of(submission.task_of(standing.sweep), search["space"])
    seen = {spelled(trial.parameters) for trial in standing.trials}
    told = [_told(trial, view.curves) for trial in standing.trials]
    for parameters in picker.pick(search, space, search["seed"], told):
        if (name := spelled(parameters)) in seen:
            continue
        seen.add(name)
        settings = _settings(view, parameters)
        if settings is None:
            continue
        yield Start(number, search["seed"], parameters, settings)
        number += 1
        if number >= search["max_trials"]:
            return


def _told(trial: Trial, curves: Mapping[str, Curve]) -> Told:
    if trial.pruned:
        return Told(trial.parameters, curve=curves.get(trial.runs[0].job_id))
    if trial.open:
        return Told(trial.parameters, running=True)
    return Told(trial.parameters, None if trial.spoilt else trial.cost)


def _settings(view: View, parameters: Json) -> Settings | None:
    """What a trial runs with; None if its settings do not fit together."""
    sweep = view.standing.sweep
    try:
        return submission.settle(
            submission.task_of(sweep), view.dataset, submission.base_of(sweep), parameters
        )
    except Invalid:
        return None
