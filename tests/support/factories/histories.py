"""Histories that are told value by value."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.arrays import Array
from app.tasks.forecasting.panels.histories import Histories, make_points
from app.tasks.forecasting.panels.normalization import NormalizedHistories
from app.tasks.forecasting.panels.panel import normalized_chunks
from app.typedefs import Json


@dataclass(frozen=True)
class History:
    """One series up to a forecast origin, with its targets and covariates beyond it."""

    values: Array  # (time,) float64, NaN = missing; ends at the origin
    targets: Array  # (horizon,) float64 after the origin, NaN = unknown; never an input
    start: int | None = None  # ordinal of the first point; None = undated
    static: Array | None = None  # (static,) codes, -1 = unknown
    past: Array | None = None  # (time, past) raw covariates, NaN = missing
    future: Array | None = None  # (time + horizon, future) raw covariates, NaN = unknown


def histories_of(state: Json, entries: Sequence[History]) -> Histories:
    """These histories as slices of points of their own."""
    horizon = state["horizon"]
    lengths = np.array([len(entry.values) for entry in entries])
    ends = np.cumsum(lengths + horizon)
    past = np.full((ends[-1], len(state["past"])), np.nan)
    future = np.full((ends[-1], len(state["future"])), np.nan)
    static = np.full((len(entries), len(state["static"])), -1)
    for row, (entry, end) in enumerate(zip(entries, ends.tolist(), strict=True)):
        begin = end - horizon - len(entry.values)
        if entry.past is not None:
            past[begin : end - horizon] = entry.past
        if entry.future is not None:
            future[begin:end] = entry.future
        if entry.static is not None:
            static[row] = entry.static
    values = np.concatenate([part for entry in entries for part in (entry.values, entry.targets)])
    return Histories(
        points=make_points(values, past, future, state),
        first=ends - horizon - lengths,
        origin=ends - horizon,
        target_end=ends,
        known_end=ends,
        start=np.array([entry.start or 0 for entry in entries]),
        dated=np.array([entry.start is not None for entry in entries]),
        static=static,
    )


def normalized(state: Json, entry: History) -> NormalizedHistories:
    """One history, normalized; its arrays have one row."""
    ((_, _, only),) = normalized_chunks(state, histories_of(state, [entry]))
    return only
