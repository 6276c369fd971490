"""Optuna's samplers and its median pruner behind the interfaces of `app.services.sweeps.policy`.

Both are stateless, so that any worker can continue where another one stopped: they are passed everything
that is known each time.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module  # only a worker that advances a sweep pays for Optuna's memory
from typing import Any

from app.hyperparameters.space import (
    Axis,
    ChoiceAxis,
    RangeAxis,
    Space,
    StepAxis,
    canonical_json,
    count_settings,
)
from app.services.sweeps.policy import LossCurve, TrialResult
from app.services.sweeps.submission import MAX_GRID_TRIALS
from app.typedefs import Json

MAX_DRAWS = 50  # without a new trial among them, before the next sampler is tried
MIN_ENDED_RUNS = 5  # that have a value, before another run is compared with them


@cache
def _optuna() -> Any:
    """The `optuna` module, with its informational logs turned off."""
    library = import_module("optuna")
    library.logging.set_verbosity(library.logging.ERROR)
    return library


class OptunaSampler:
    """A `TrialSampler`: grid, random search, or the tree-structured Parzen estimator (TPE)."""

    def suggest(
        self, search: Json, space: Space, seed: int, results: Sequence[TrialResult]
    ) -> Iterator[Json]:
        """See `TrialSampler`. With the same seed, grid and random trials do not depend on `results`.

        When TPE only repeats itself random draws follow, and then, in a small space, the rest of the grid.
        """
        if search["sampler"] == "tpe":
            yield from _tpe(search, space, seed, results)
        if search["sampler"] != "grid":
            yield from _random(space, seed, len(results) + MAX_DRAWS)
        count = count_settings(space)
        if count is not None and count <= MAX_GRID_TRIALS:  # draws may miss the last few values
            yield from _grid(space, seed, count)


class OptunaPruner:
    """A `TrialPruner`: the median rule of Golovin et al. 2017 (Google Vizier)."""

    def should_prune(self, curve: LossCurve, ended: Sequence[LossCurve], warmup: int) -> bool:
        """See `TrialPruner`: whether its best loss is worse than the others' median at the same epoch."""
        if len(ended) < MIN_ENDED_RUNS or not curve or max(curve) < warmup:
            return False
        library = _optuna()
        pruner = library.pruners.MedianPruner(n_startup_trials=MIN_ENDED_RUNS, n_warmup_steps=warmup)
        study = library.create_study(pruner=pruner, direction="minimize")
        create, state = library.trial.create_trial, library.trial.TrialState
        for one in ended:
            study.add_trial(create(value=min(one.values(), default=math.inf), intermediate_values=dict(one)))
        running = create(state=state.RUNNING, intermediate_values=dict(curve))
        return bool(pruner.prune(study, running))


def _grid(space: Space, seed: int, count: int) -> Iterator[Json]:
    indices = {name: list(range(_finite_count(axis))) for name, axis in space.items()}
    yield from _draw(_optuna().samplers.GridSampler(indices, seed), space, count)


def _random(space: Space, seed: int, draws: int) -> Iterator[Json]:
    yield from _draw(_optuna().samplers.RandomSampler(seed), space, draws)


def _draw(sampler: Any, space: Space, draws: int) -> Iterator[Json]:
    """`draws` trials of a sampler that needs no results."""
    study = _optuna().create_study(sampler=sampler)
    distributions = _distributions(space)
    for _ in range(draws):
        yield _to_parameters(space, study.ask(distributions).params)


def _tpe(search: Json, space: Space, seed: int, results: Sequence[TrialResult]) -> Iterator[Json]:
    """Trials by TPE (Bergstra et al. 2011); running ones count as the worst value so far (constant liar)."""
    library = _optuna()
    startup = min(10, max(3, search["max_trials"] // 3))
    sampler = library.samplers.TPESampler(seed=seed + len(results), n_startup_trials=startup)
    study = library.create_study(sampler=sampler, direction="minimize")
    distributions = _distributions(space)
    worst = max((result.value for result in results if result.value is not None), default=None)
    for result in results:
        if (frozen := _frozen_trial(result, space, distributions, worst)) is not None:
            study.add_trial(frozen)
    for _ in range(MAX_DRAWS):
        trial = study.ask(distributions)
        yield _to_parameters(space, trial.params)
        if worst is not None:
            study.tell(trial, worst)


def _frozen_trial(result: TrialResult, space: Space, distributions: Json, worst: float | None) -> Any:
    """A result as a trial of Optuna: one without a value is pruned, which is worse than any value.

    None for a running trial while no value is known.
    """
    library = _optuna()
    facts: Json = {"params": _to_params(space, result.parameters), "distributions": distributions}
    value = worst if result.running else result.value
    if value is not None:
        return library.trial.create_trial(value=value, **facts)
    if result.running:
        return None
    curve = dict(result.curve or {})
    return library.trial.create_trial(
        state=library.trial.TrialState.PRUNED, intermediate_values=curve, **facts
    )


def _distributions(space: Space) -> Json:
    library = _optuna().distributions
    return {name: _distribution(library, axis) for name, axis in space.items()}


def _distribution(library: Any, axis: Axis) -> Any:
    """Choices and steps are searched by their indices, so that values may be any JSON."""
    match axis:
        case ChoiceAxis():
            return library.CategoricalDistribution(tuple(range(axis.count)))
        case StepAxis():
            return library.IntDistribution(0, axis.count - 1)
        case RangeAxis(integer=True):
            return library.IntDistribution(axis.low, axis.high, log=axis.log)
        case RangeAxis():
            return library.FloatDistribution(axis.low, axis.high, log=axis.log)


def _to_parameters(space: Space, params: Mapping[str, Any]) -> Json:
    """Optuna's values as those of the settings."""
    return {
        name: params[name] if isinstance(axis, RangeAxis) else axis.value_at(params[name])
        for name, axis in space.items()
    }


def _to_params(space: Space, parameters: Json) -> Json:
    """Values of the settings as Optuna's; the inverse of `_to_parameters`."""
    return {name: _to_param(axis, parameters[name]) for name, axis in space.items()}


def _to_param(axis: Axis, value: Any) -> Any:
    match axis:
        case ChoiceAxis():
            return [canonical_json(one) for one in axis.values].index(canonical_json(value))
        case StepAxis():
            return round((value - axis.low) / axis.step)
        case RangeAxis():
            return value


def _finite_count(axis: Axis) -> int:
    assert axis.count is not None  # noqa: S101 - `count_settings` was finite, so that every count is
    return axis.count
