"""Where the series of a data set are cut: which points are trained on, validated on and held out."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.tasks.contract import Array
from app.tasks.forecasting.normalization import History
from app.tasks.forecasting.series import TEST, VALID, SeriesSet

MARGIN = 3  # points of history beyond one horizon without which nothing is held out
ENOUGH = 64  # forecasts that make a steady figure: fewer series give several origins each
SHARE = 0.1  # of a series, at most, is spent on more than one origin


@dataclass(frozen=True)
class Cut:
    """One series: training ends before `train`, all that may be learnt from before `whole`."""

    series: int
    train: int
    whole: int
    valid: tuple[int, ...]  # origins: index of the first point to forecast
    test: tuple[int, ...]


def needed(horizon: int) -> int:
    """The shortest series of which a horizon can be held out."""
    return 2 * horizon + MARGIN


def cut_series(series: SeriesSet, horizon: int, season: int) -> list[Cut]:
    """Cut each series at its marked rows, or else keep its last horizons for test and validation.

    A series ends with its last observed value; covariates may go on.
    """
    lengths = _ends(series)
    per_series = -(-ENOUGH // max(len(lengths), 1))
    cuts = []
    for index, length in enumerate(lengths.tolist()):
        marks = series.splits[series.offsets[index] :][:length]
        held = TEST if (series.splits == TEST).any() else VALID
        count = max(1, min(per_series, int(SHARE * length) // horizon))
        if series.splits.any() and (series.splits == held).any():
            cuts.append(_marked(index, marks, held, horizon, season, count))
        else:
            cuts.append(_unmarked(index, length, horizon, season, count))
    return cuts


def _ends(series: SeriesSet) -> Array:
    """Points of each series up to its last observed value, (n,)."""
    starts = np.repeat(series.offsets[:-1], np.diff(series.offsets))
    place = np.arange(len(series.values)) - starts + 1  # (N,)
    ends = np.zeros(len(series.ids), np.int64)
    owner = np.repeat(np.arange(len(series.ids)), np.diff(series.offsets))
    np.maximum.at(ends, owner, np.where(np.isfinite(series.values), place, 0))
    return ends


def _last_origins(end: int, horizon: int, count: int, least: int) -> tuple[int, ...]:
    """Up to `count` origins a horizon apart that end at `end` and leave `least` points before the first."""
    count = min(count, (end - least) // horizon)
    return tuple(end - horizon * k for k in range(count, 0, -1))


def _unmarked(index: int, length: int, horizon: int, season: int, count: int) -> Cut:
    test = _last_origins(length, horizon, count, horizon + MARGIN)
    train = test[0] if test else length
    valid = _last_origins(train, horizon, count, max(2 * season, horizon, 8)) if test else ()
    return Cut(index, valid[0] if valid else train, length, valid, test)


def _marked(index: int, marks: Array, held: int, horizon: int, season: int, count: int) -> Cut:
    """Rolling origins over marked rows; without any for validation the last horizons before the others."""
    length = len(marks)
    tested, validated = np.flatnonzero(marks == held), np.flatnonzero((marks == VALID) & (held != VALID))
    whole = int(tested[0]) if len(tested) else length
    validated = validated[validated < whole]
    test = tuple(range(max(whole, 1), int(tested[-1]) + 1, horizon)) if len(tested) else ()
    if len(validated):
        train = int(validated[0])
        return Cut(index, train, whole, tuple(range(max(train, 1), int(validated[-1]) + 1, horizon)), test)
    valid = _last_origins(whole, horizon, count, max(2 * season, horizon, 8))
    return Cut(index, valid[0] if valid else whole, whole, valid, test)


class Slicer:
    """Takes histories out of a data set, with the covariates a model uses."""

    def __init__(self, series: SeriesSet, state: dict[str, Any]) -> None:
        self._series = series
        self._horizon: int = state["horizon"]
        self._memory: int = state["history"]
        self._past = [series.covariate_names.index(spec["name"]) for spec in state["past"]]
        self._future = [series.covariate_names.index(spec["name"]) for spec in state["future"]]
        self._static = [series.static_names.index(spec["name"]) for spec in state["static"]]

    def places(self, wanted: Iterable[tuple[int, int, int | None]]) -> list[tuple[int, int, int]]:
        """Those (series, origin, limit) that have anything to forecast from; no limit is the series' end."""
        lengths = np.diff(self._series.offsets).tolist()
        return [
            (index, origin, lengths[index] if limit is None else limit)
            for index, origin, limit in wanted
            if self.observed(index, origin)
        ]

    def values(self, index: int, end: int) -> Array:
        """All values of a series before `end`."""
        start = int(self._series.offsets[index])
        return self._series.values[start : start + end]

    def history(self, index: int, end: int, limit: int) -> History:
        """The last points of a series before `end`; targets beyond it only before `limit`."""
        start, stop = (int(v) for v in self._series.offsets[index : index + 2])
        first = start + max(0, end - self._memory)
        origin = start + end
        after = np.full(self._horizon, np.nan)
        coming = self._series.values[origin : min(origin + self._horizon, start + limit)]
        after[: len(coming)] = coming
        future = None
        if self._future:
            future = np.full((origin - first + self._horizon, len(self._future)), np.nan)
            given = self._series.covariates[first : min(origin + self._horizon, stop), self._future]
            future[: len(given)] = given
        return History(
            values=self._series.values[first:origin],
            after=after,
            start=int(self._series.starts[index]) + first - start,
            static=self._series.static_codes[index, self._static] if self._static else None,
            past=self._series.covariates[first:origin, self._past] if self._past else None,
            future=future,
            item=index,
        )

    def pieces(self, index: int, end: int) -> list[History]:
        """Histories that overlap by half and cover a series before `end`, as a request would send them."""
        ends = [end]
        while ends[-1] > self._memory:
            ends.append(max(ends[-1] - self._memory // 2, self._memory))
        return [self.history(index, stop, end) for stop in ends if self.observed(index, stop) > 1]

    def observed(self, index: int, end: int) -> int:
        """How many values the history before `end` has."""
        return int(np.isfinite(self.values(index, end)[-self._memory :]).sum())
