"""Histories before forecast origins: slices of flat arrays that many of them share."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from app.arrays import Array
from app.typedefs import Json

MAX_STANDARDIZED = 10.0  # of a standardized covariate


@dataclass(frozen=True)
class Points:
    """Series end to end, with their covariates as a network reads them."""

    values: Array  # (points,) float64, NaN = missing
    past: Array  # (points, past) float32 standardized and one-hot, 0 = missing
    future: Array  # (points, future) float32 standardized and one-hot, 0 = missing
    available: Array  # (points, 2) bool, whether any past, any future covariate is known here


@dataclass(frozen=True)
class Histories:
    """Series up to forecast origins, (n,) each, as indices of points."""

    points: Points
    first: Array  # the first point
    origin: Array  # the first point to forecast
    target_end: Array  # targets are known before this point; never an input
    known_end: Array  # future covariates are known before this point
    start: Array  # ordinal of the first point
    dated: Array  # bool, whether the ordinal means anything
    static: Array  # (n, static) codes, -1 = unknown

    def __len__(self) -> int:
        return len(self.first)

    @cached_property
    def lengths(self) -> Array:
        """Points of each history, (n,)."""
        lengths: Array = self.origin - self.first
        return lengths

    def take(self, rows: Array) -> "Histories":
        """Some of the histories."""
        columns = (getattr(self, field.name)[rows] for field in fields(self)[1:])
        return Histories(self.points, *columns)

    def last_points(self, counts: Array) -> "Histories":
        """The last so many points of each history, with the same targets."""
        first = self.origin - counts
        rest = (self.origin, self.target_end, self.known_end, self.start + first - self.first)
        return Histories(self.points, first, *rest, self.dated, self.static)

    def join(self, others: "Histories") -> "Histories":
        """These histories and others of the same points behind them."""
        names = [field.name for field in fields(self)[1:]]
        columns = (np.concatenate([getattr(self, name), getattr(others, name)]) for name in names)
        return Histories(self.points, *columns)

    def targets(self, horizon: int) -> Array:
        """The values from each origin on, (n, horizon), NaN = missing or unknown."""
        return self._values(self.origin, horizon, self.target_end)

    def values(self, time: int) -> Array:
        """The first `time` values of each history, (n, time), NaN = missing or beyond what is known."""
        return self._values(self.first, time, self.target_end)

    def _values(self, first: Array, width: int, end: Array) -> Array:
        index = first[:, None] + np.arange(width)
        values = self.points.values[np.minimum(index, len(self.points.values) - 1)]
        return np.where(index < end[:, None], values, np.nan)


def expand_covariates(covariates: Array, specs: Sequence[Json]) -> Array:
    """Raw covariates (points, columns) as standardized numbers and one-hot levels (points, width).

    A missing entry is zero.
    """
    expanded = np.empty((len(covariates), expanded_width(specs)), np.float32)
    position = 0
    for column, spec in zip(covariates.T, specs, strict=True):
        levels = len(spec["levels"])
        if levels:
            expanded[:, position : position + levels] = column[:, None] == np.arange(levels)
        else:
            scaled = (column.astype(np.float64) - spec["mean"]) / spec["std"]
            limited = np.minimum(np.maximum(scaled, -MAX_STANDARDIZED), MAX_STANDARDIZED)
            expanded[:, position] = np.where(np.isnan(limited), 0.0, limited)
        position += levels or 1
    return expanded


def expanded_width(specs: Sequence[Json]) -> int:
    """Number of inputs that `expand_covariates` makes of these columns."""
    return sum(len(spec["levels"]) or 1 for spec in specs)


def one_hot_static(codes: Array, specs: Sequence[Json]) -> Array:
    """Codes (n, static) as one-hot (n, levels of all columns); an unknown level is all zero."""
    parts = [np.zeros((len(codes), 0), np.float32)]
    for column, spec in zip(codes.T, specs, strict=True):
        parts.append((column[:, None] == np.arange(len(spec["levels"]))).astype(np.float32))
    return np.concatenate(parts, axis=1)


def make_points(values: Array, past: Array, future: Array, state: Json) -> Points:
    """Points of values (points,) and raw covariates (points, columns), NaN = missing."""
    available = np.zeros((len(values), 2), bool)
    available[:, 0] = np.isfinite(past).any(axis=1)
    available[:, 1] = np.isfinite(future).any(axis=1)
    past, future = expand_covariates(past, state["past"]), expand_covariates(future, state["future"])
    return Points(values, past, future, available)
