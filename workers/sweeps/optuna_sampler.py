"""Optuna picks a sweep's trials and gives hopeless ones up; each time it is told all that is known."""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module  # a worker that runs no sweep never pays the library's memory
from typing import Any

from app.hyperparameters.space import Axis, Choices, Space, Span, Steps, size, spelled
from app.services.sweeps.policy import Curve, Told
from app.services.sweeps.submission import LARGEST_GRID
from app.typedefs import Json

DRAWS = 50  # in vain, before another way is tried
STARTUP = 5  # runs that ended well, before another one is compared with them


@cache
def _optuna() -> Any:
    """The library, which says nothing where nothing is wrong."""
    library = import_module("optuna")
    library.logging.set_verbosity(library.logging.ERROR)
    return library


class Optuna:
    """A `Picker`; it keeps nothing, so that any worker may go on where another one was."""

    def pick(self, search: Json, space: Space, seed: int, told: Sequence[Told]) -> Iterator[Json]:
        """See `Picker`. The same seed gives the same grid and random trials, whatever came out of them."""
        if search["sampler"] == "tpe":
            yield from _tpe(search, space, seed, told)
        if search["sampler"] != "grid":
            yield from _random(space, seed, len(told) + DRAWS)
        count = size(space)
        if count is not None and count <= LARGEST_GRID:  # draws miss what few values are left
            yield from _grid(space, seed, count)

    def hopeless(self, curve: Curve, ended: Sequence[Curve], warmup: int) -> bool:
        """See `Picker`: its best loss so far is worse than the median of the others at the same epoch."""
        if len(ended) < STARTUP or not curve or max(curve) < warmup:
            return False
        library = _optuna()
        pruner = library.pruners.MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=warmup)
        study = library.create_study(pruner=pruner, direction="minimize")
        create, state = library.trial.create_trial, library.trial.TrialState
        for one in ended:
            study.add_trial(create(value=min(one.values(), default=math.inf), intermediate_values=dict(one)))
        running = create(state=state.RUNNING, intermediate_values=dict(curve))
        return bool(pruner.prune(study, running))


def _grid(space: Space, seed: int, count: int) -> Iterator[Json]:
    sampler = _optuna().samplers.GridSampler(
        {name: list(range(_count(one))) for name, one in space.items()}, seed
    )
    yield from _asked(sampler, space, count)


def _random(space: Space, seed: int, draws: int) -> Iterator[Json]:
    yield from _asked(_optuna().samplers.RandomSampler(seed), space, draws)


def _asked(sampler: Any, space: Space, draws: int) -> Iterator[Json]:
    study = _optuna().create_study(sampler=sampler)
    distributions = _distributions(space)
    for _ in range(draws):
        yield _read(space, study.ask(distributions).params)


def _tpe(search: Json, space: Space, seed: int, told: Sequence[Told]) -> Iterator[Json]:
    """Tree-structured Parzen estimators; trials that still run count as the worst so far (constant liar)."""
    library = _optuna()
    startup = min(10, max(3, search["max_trials"] // 3))
    sampler = library.samplers.TPESampler(seed=seed + len(told), n_startup_trials=startup)
    study = library.create_study(sampler=sampler, direction="minimize")
    distributions = _distributions(space)
    worst = max((one.value for one in told if one.value is not None), default=None)
    for one in told:
        if (known := _trial(one, space, distributions, worst)) is not None:
            study.add_trial(known)
    for _ in range(DRAWS):
        trial = study.ask(distributions)
        yield _read(space, trial.params)
        if worst is not None:
            study.tell(trial, worst)


def _trial(told: Told, space: Space, distributions: Json, worst: float | None) -> Any:
    """A trial in Optuna's words: without a value one is pruned, which is worse than any value."""
    library = _optuna()
    facts: Json = {"params": _written(space, told.parameters), "distributions": distributions}
    value = worst if told.running else told.value
    if value is not None:
        return library.trial.create_trial(value=value, **facts)
    if told.running:
        return None
    curve = dict(told.curve or {})
    return library.trial.create_trial(
        state=library.trial.TrialState.PRUNED, intermediate_values=curve, **facts
    )


def _distributions(space: Space) -> Json:
    library = _optuna().distributions
    return {name: _distribution(library, one) for name, one in space.items()}


def _distribution(library: Any, axis: Axis) -> Any:
    """Values go by their places, so that they may be anything."""
    match axis:
        case Choices():
            return library.CategoricalDistribution(tuple(range(axis.count)))
        case Steps():
            return library.IntDistribution(0, axis.count - 1)
        case Span(whole=True):
            return library.IntDistribution(axis.low, axis.high, log=axis.log)
        case Span():
            return library.FloatDistribution(axis.low, axis.high, log=axis.log)


def _read(space: Space, params: Mapping[str, Any]) -> Json:
    return {
        name: params[name] if isinstance(one, Span) else one.at(params[name]) for name, one in space.items()
    }


def _written(space: Space, parameters: Json) -> Json:
    return {name: _place(one, parameters[name]) for name, one in space.items()}


def _place(axis: Axis, value: Any) -> Any:
    match axis:
        case Choices():
            return [spelled(one) for one in axis.values].index(spelled(value))
        case Steps():
            return round((value - axis.low) / axis.step)
        case Span():
            return value


def _count(axis: Axis) -> int:
    assert axis.count is not None  # noqa: S101 - a grid has no others
    return axis.count
