"""Backtesting: which points of each series train, validate and test, and the histories before each origin."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from app.arrays import Array
from app.tasks.forecasting.panels.histories import Histories, Points, make_points
from app.tasks.forecasting.series import TEST_MARK, VALID_MARK, SeriesSet
from app.typedefs import Json

MIN_EXTRA_POINTS = 3  # points of history that a held-out horizon needs before it, beside one more horizon
MIN_FORECASTS = 64  # forecasts for a stable metric: with fewer series each has several origins
MAX_BACKTEST_SHARE = 0.1  # of a series, spent on its second and further origins
MIN_VALID_HISTORY = 8  # points before the first validation origin


@dataclass(frozen=True)
class SplitPoints:
    """Where one series is divided; all positions count from its first point.

    The network trains on the points before `train_end`; a refit uses those before `refit_end`.
    """

    series: int  # index in the data set
    train_end: int
    refit_end: int
    valid: tuple[int, ...]  # origins: position of the first point to forecast
    test: tuple[int, ...]


def min_length(horizon: int) -> int:
    """Points a series needs so that one horizon can be held out."""
    return 2 * horizon + MIN_EXTRA_POINTS


def find_split_points(series: SeriesSet, horizon: int, season: int) -> list[SplitPoints]:
    """Divide each series at its marked rows; without marks its last horizons are for validation and test.

    A series ends with its last observed value; its covariates may continue.
    """
    lengths = observed_lengths(series)
    per_series = -(-MIN_FORECASTS // max(len(lengths), 1))
    test_mark = TEST_MARK if (series.splits == TEST_MARK).any() else VALID_MARK
    marked = bool((series.splits == test_mark).any())
    points = []
    for index, length in enumerate(lengths.tolist()):
        count = max(1, min(per_series, int(MAX_BACKTEST_SHARE * length) // horizon))
        if marked:
            marks = series.splits[series.offsets[index] :][:length]
            points.append(_split_by_marks(index, marks, test_mark, horizon, season, count))
        else:
            points.append(_split_by_length(index, length, horizon, season, count))
    return points


def observed_lengths(series: SeriesSet) -> Array:
    """Points of each series up to its last observed value, (n,); 0 if it has none."""
    observed = np.concatenate([[-1], np.flatnonzero(np.isfinite(series.values))])
    last = observed[np.searchsorted(observed, series.offsets[1:]) - 1]  # before the end of each series
    return np.asarray(np.maximum(last - series.offsets[:-1] + 1, 0))


def _last_origins(end: int, horizon: int, count: int, min_history: int) -> tuple[int, ...]:
    """Up to `count` origins, a horizon apart; the last horizon ends at `end`.

    At least `min_history` points precede the first origin.
    """
    count = min(count, (end - min_history) // horizon)
    return tuple(end - horizon * k for k in range(count, 0, -1))


def _valid_origins(end: int, horizon: int, season: int, count: int) -> tuple[int, ...]:
    """Validation origins in the last horizons before `end`, if two seasons and a horizon precede them."""
    return _last_origins(end, horizon, count, max(2 * season, horizon, MIN_VALID_HISTORY))


def _split_by_length(index: int, length: int, horizon: int, season: int, count: int) -> SplitPoints:
    """Hold out the last horizons for testing, and those before them for validation."""
    test = _last_origins(length, horizon, count, horizon + MIN_EXTRA_POINTS)
    train_end = test[0] if test else length
    valid = _valid_origins(train_end, horizon, season, count) if test else ()
    return SplitPoints(index, valid[0] if valid else train_end, length, valid, test)


def _split_by_marks(
    index: int, marks: Array, test_mark: int, horizon: int, season: int, count: int
) -> SplitPoints:
    """Roll the origin over the marked rows.

    Without rows for validation, the last horizons before the test rows validate.
    """
    length = len(marks)
    test_rows = np.flatnonzero(marks == test_mark)
    valid_rows = np.flatnonzero((marks == VALID_MARK) & (test_mark != VALID_MARK))
    refit_end = int(test_rows[0]) if len(test_rows) else length
    valid_rows = valid_rows[valid_rows < refit_end]
    test = tuple(range(max(refit_end, 1), int(test_rows[-1]) + 1, horizon)) if len(test_rows) else ()
    if len(valid_rows):
        train_end = int(valid_rows[0])
        valid = tuple(range(max(train_end, 1), int(valid_rows[-1]) + 1, horizon))
        return SplitPoints(index, train_end, refit_end, valid, test)
    valid = _valid_origins(refit_end, horizon, season, count)
    return SplitPoints(index, valid[0] if valid else refit_end, refit_end, valid, test)


class HistorySlicer:
    """Takes histories out of a data set, with the covariates that the model's state names."""

    def __init__(self, series: SeriesSet, state: Json) -> None:
        self._series, self._state = series, state
        self._horizon: int = state["horizon"]
        self._max_points: int = state["history"]

    @cached_property
    def _points(self) -> Points:
        series, state = self._series, self._state
        past, future = (
            series.covariates[:, [series.covariate_names.index(spec["name"]) for spec in state[kind]]]
            for kind in ("past", "future")
        )
        return make_points(series.values, past, future, state)

    @cached_property
    def _observed(self) -> Array:
        """How many values are observed before each point, (points + 1,)."""
        counts = np.zeros(len(self._series.values) + 1, np.int32)
        np.cumsum(np.isfinite(self._series.values), out=counts[1:])
        return counts

    def usable_origins(self, origins: Iterable[tuple[int, int, int | None]]) -> Array:
        """The triples (series, origin, limit) whose history has an observed value, (n, 3) int64.

        Targets are known before `limit`; None stands for the end of the series.
        """
        lengths = np.diff(self._series.offsets).tolist()
        triples = [
            (index, origin, lengths[index] if limit is None else limit) for index, origin, limit in origins
        ]
        table = np.array(triples, np.int64).reshape(-1, 3)
        return table[self.count_observed(table) > 0]

    def values_before(self, index: int, end: int) -> Array:
        """All values of series `index` before position `end`, (end,)."""
        start = int(self._series.offsets[index])
        return self._series.values[start : start + end]

    def series_name(self, index: int) -> str:
        """The id of a series."""
        return str(self._series.ids[index])

    def histories(self, origins: Array) -> Histories:
        """The last points before each of the origins (n, 3), with the targets between origin and limit."""
        series = self._series
        index, origin, limit = origins.T
        begin, stop = series.offsets[index], series.offsets[index + 1]
        skipped = np.maximum(0, origin - self._max_points)
        names = [series.static_names.index(spec["name"]) for spec in self._state["static"]]
        return Histories(
            points=self._points,
            first=begin + skipped,
            origin=begin + origin,
            target_end=np.minimum(begin + limit, stop),
            known_end=np.minimum(begin + origin + self._horizon, stop),
            start=series.starts[index] + skipped,
            dated=np.ones(len(index), bool),
            static=series.static_codes[index][:, names] if names else np.zeros((len(index), 0), np.int64),
        )

    def training_origins(self, parts: Iterable[tuple[int, int]]) -> Array:
        """Origins (n, 3) of the histories that cover each part (series, end), the parts in order.

        Each history is as long as a request would have it, and they overlap by half; those with fewer than
        two observed values are left out.
        """
        triples = [(index, origin, end) for index, end in parts for origin in self._covering_origins(end)]
        table = np.array(triples, np.int64).reshape(-1, 3)
        return table[self.count_observed(table) > 1]

    def _covering_origins(self, end: int) -> list[int]:
        """Origins of the histories that cover a series before `end`, the last one first."""
        origins = [end]
        while origins[-1] > self._max_points:
            origins.append(max(origins[-1] - self._max_points // 2, self._max_points))
        return origins

    def count_observed(self, origins: Array) -> Array:
        """Observed values in the history before each of the origins (n, 3), (n,)."""
        begin = self._series.offsets[origins[:, 0]]
        first = begin + np.maximum(0, origins[:, 1] - self._max_points)
        counts: Array = self._observed[begin + origins[:, 1]] - self._observed[first]
        return counts
