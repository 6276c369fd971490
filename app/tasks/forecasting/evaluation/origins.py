"""Rolling origins: which parts of which series are forecast, and what was known before."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from app.arrays import Array, Arrays, Ints
from app.errors import Invalid, Problem
from app.tasks.contract import Instances
from app.tasks.evaluation.contract import (
    EvaluationSettings,
    Predict,
    TrainedVersion,
    TrainingData,
)
from app.tasks.forecasting.backtest import min_length, observed_lengths
from app.tasks.forecasting.evaluation.baselines import FORECASTS, SEASONAL_NAIVE, forecast_all
from app.tasks.forecasting.evaluation.figures import (
    HIGHER_IS_BETTER,
    ForecastErrors,
    ForecastTally,
    mase_scale,
)
from app.tasks.forecasting.inference import ForecastingParameters, requested_quantiles
from app.tasks.forecasting.instances import ForecastingInstanceView
from app.tasks.forecasting.metrics import naive_scales
from app.tasks.forecasting.series import SeriesSet
from app.typedefs import Json

KNOWN = (
    "A version was trained on this data set: it may have seen what it forecasts. Set refit, or add new data."
)
SERIES, FORECAST = "series", "forecast"  # what is resampled
MIN_SERIES = 10  # with fewer, nothing could be said about the spread between series
NOTHING_OBSERVED = "No series has a value in the windows and one before them."


class ForecastingEvaluation:
    """How forecasting evaluates, see `TaskEvaluation`."""

    baselines: Mapping[str, bool] = dict.fromkeys(FORECASTS, False)
    has_windows = True

    def always(self, summary: Json) -> Sequence[str]:
        """The seasonal naive forecast."""
        del summary
        return (SEASONAL_NAIVE,)

    def check(
        self,
        summary: Json,
        states: Sequence[Json],
        parameters: ForecastingParameters,
        settings: EvaluationSettings,
    ) -> list[Problem]:
        """Refuse series that are too short for the windows."""
        horizon = common_horizon(states, parameters)
        needed = 1 + horizon + (settings.windows - 1) * (settings.step or horizon)
        if settings.refit:  # before the first window a training holds out two horizons
            needed += min_length(max(int(state["horizon"]) for state in states)) - 1
        if summary["longest"] >= needed:
            return []
        detail = f"the longest series has {summary['longest']} values; {settings.windows} windows of horizon"
        detail = f"{detail} {horizon} need {needed}"
        return [Problem("/windows" if settings.windows > 1 else "/dataset", detail)]

    def parameters(self, states: Sequence[Json], parameters: ForecastingParameters) -> ForecastingParameters:
        """The horizon that all versions have, and the quantiles that all of them answer with."""
        levels = requested_quantiles(parameters)
        if levels is None:
            answered = [set[float](state.get("answered") or state["quantiles"]) for state in states]
            levels = sorted(set.intersection(*answered)) or [0.5]
        return ForecastingParameters(common_horizon(states, parameters), sorted(set(levels)))

    def open(
        self,
        arrays: Arrays,
        versions: Sequence[TrainedVersion],
        parameters: ForecastingParameters,
        settings: EvaluationSettings,
    ) -> "ForecastingSet":
        """The last windows of every series."""
        evaluated = ForecastingSet(arrays, versions, parameters, settings)
        if not evaluated.windows[-1].stop:
            raise Invalid(NOTHING_OBSERVED)
        return evaluated


def common_horizon(states: Sequence[Json], parameters: ForecastingParameters) -> int:
    """The horizon that is requested, or else the longest that all versions have."""
    return parameters.horizon or min(int(state["horizon"]) for state in states)


class ForecastingSet:
    """Forecasts of series at origins, window after window, see `EvaluationSet`."""

    higher_is_better: Mapping[str, bool] = HIGHER_IS_BETTER

    def __init__(
        self,
        arrays: Arrays,
        versions: Sequence[TrainedVersion],
        parameters: ForecastingParameters,
        settings: EvaluationSettings,
    ) -> None:
        self._data = SeriesSet.from_arrays(arrays)
        self._season = int(versions[0].state["season"])
        self._horizon = int(parameters.horizon or 0)
        self._errors = ForecastErrors(parameters.quantiles or [0.5], self._horizon)
        step = settings.step or self._horizon
        lengths = observed_lengths(self._data)
        ends = [lengths - step * later for later in range(settings.windows - 1, -1, -1)]
        chosen = [self._usable(end - self._horizon, end) for end in ends]
        self._series = np.concatenate([series for series, _ in chosen])  # (examples,)
        self._origins = np.concatenate([origins for _, origins in chosen])  # (examples,)
        stops = np.cumsum([0, *(len(series) for series, _ in chosen)]).tolist()
        self.windows = [range(first, stop) for first, stop in pairwise(stops)]
        many = len(np.unique(self._series)) >= MIN_SERIES
        self.unit = SERIES if many else FORECAST
        known = any(one.is_known for one in versions)
        self.warnings = [KNOWN] if known and not settings.refit else []

    def _usable(self, origins: Ints, ends: Ints) -> tuple[Ints, Ints]:
        """Series with a value before their origin and one behind it, before the end; and their origins."""
        data = self._data
        counts = np.zeros(len(data.values) + 1, np.int64)
        np.cumsum(np.isfinite(data.values), out=counts[1:])
        inside, begin = np.maximum(origins, 0), data.offsets[:-1]
        before = counts[begin + inside] - counts[begin]
        behind = counts[begin + np.maximum(ends, 0)] - counts[begin + inside]
        rows = np.flatnonzero((origins > 0) & (before > 0) & (behind > 0))
        return rows, origins[rows]

    def window(self, example: int) -> int:
        """The window of an example."""
        return next(number for number, examples in enumerate(self.windows) if example in examples)

    def units(self, examples: Sequence[int]) -> Ints:
        """The series, whose windows are resampled together; of few series each forecast alone."""
        numbers = np.asarray(examples, np.int64)
        return np.asarray(self._series[numbers]) if self.unit == SERIES else numbers

    def identity(self, example: int) -> Json:
        """The number and the id of the series, and the window."""
        series = int(self._series[example])
        return {"example": series, "item_id": str(self._data.ids[series]), "window": self.window(example)}

    def instances(self, state: Json) -> Instances:
        """See `EvaluationSet`."""
        return OriginInstances(self, state)

    def view(self, state: Json, window: int) -> ForecastingInstanceView:
        """All series up to their origins in a window."""
        examples = self.windows[window]
        ends = np.array(self._data.offsets[1:])
        chosen = self._series[examples.start : examples.stop]
        ends[chosen] = self._data.offsets[chosen] + self._origins[examples.start : examples.stop]
        return ForecastingInstanceView(self._data, state, ends)

    def series_of(self, example: int) -> int:
        """The series of an example."""
        return int(self._series[example])

    def actual(self, example: int) -> list[float | None]:
        """The values that came, None where nothing was observed."""
        first = int(self._data.offsets[self._series[example]] + self._origins[example])
        values = self._data.values[first : first + self._horizon].tolist()
        return [value if np.isfinite(value) else None for value in values]

    def _past(self, example: int) -> Array:
        """All values before the origin, (time,)."""
        first = int(self._data.offsets[self._series[example]])
        return np.array(self._data.values[first : first + int(self._origins[example])])

    def baseline(self, name: str, training: TrainingData | None) -> Predict:
        """A method that is fitted to the history of each series."""
        del training
        return partial(self._forecast, name)

    def _forecast(self, name: str, examples: Sequence[int]) -> list[Json]:
        pasts = [self._past(example) for example in examples]
        answers = forecast_all(name, pasts, self._season, self._horizon, self._errors.levels)
        names = (str(self._data.ids[self._series[example]]) for example in examples)
        return [{"item_id": one, **answer} for one, answer in zip(names, answers, strict=True)]

    def errors(self, example: int, prediction: Json) -> Json:
        """Each error in one number, and the scale of MASE: the same for all versions."""
        scale = mase_scale(naive_scales(self._past(example)[None], self._season)[0])
        line = {"prediction": prediction, "actual": self.actual(example), "errors": {"scale": scale}}
        return self._errors.summary(line)

    def tally(self, resamples: int) -> ForecastTally:
        """See `EvaluationSet`."""
        return ForecastTally(resamples, self._errors, len(self.windows), self._data.ids.tolist())

    def training_arrays(self, window: int) -> Arrays:
        """The series of a window up to their origins, without marks of splits."""
        data, examples = self._data, self.windows[window]
        series = self._series[examples.start : examples.stop]
        lengths = self._origins[examples.start : examples.stop]
        starts = data.offsets[series]
        points = np.concatenate(
            [np.arange(first, first + count) for first, count in zip(starts, lengths, strict=True)]
        )
        return SeriesSet(
            ids=data.ids[series],
            freq=data.freq,
            starts=data.starts[series],
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            values=data.values[points],
            splits=np.zeros(len(points), np.int8),
            static_names=data.static_names,
            static_levels=data.static_levels,
            static_codes=data.static_codes[series],
            covariate_names=data.covariate_names,
            covariate_levels=data.covariate_levels,
            covariates=data.covariates[points],
            known_ahead=data.known_ahead,
            phases=data.phases[series] if len(data.phases) else data.phases,
        ).arrays()


class OriginInstances:
    """The histories before the origins as requests, each made when it is read; in order they are fastest."""

    def __init__(self, evaluated: ForecastingSet, state: Json) -> None:
        self._evaluated, self._state = evaluated, state
        self._latest: tuple[int, ForecastingInstanceView | None] = -1, None

    def __len__(self) -> int:
        return self._evaluated.windows[-1].stop

    def __getitem__(self, index: int) -> Any:
        window, view = self._evaluated.window(index), self._latest[1]
        if view is None or window != self._latest[0]:
            view = self._evaluated.view(self._state, window)
            self._latest = window, view
        return view[self._evaluated.series_of(index)]
