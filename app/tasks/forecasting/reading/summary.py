"""Parsed series and the summary of a data set."""

from dataclasses import dataclass

import numpy as np

from app.arrays import Array
from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.reading.covariates import last_observed_points
from app.tasks.forecasting.series import SPLIT_MARKS, TEST_MARK, VALID_MARK, SeriesSet
from app.typedefs import Json

MIN_OBSERVED = 3  # values that a series needs to train on


@dataclass(frozen=True)
class ParsedSeries:
    """The series of a file, with what only its summary needs."""

    series: SeriesSet
    phases: Array  # (n,) distance of each series from its grid points
    rows: int  # rows, or target values, in the file
    warnings: list[str]


def summarize_series(parsed: ParsedSeries) -> tuple["Json", list[str]]:
    """Summary of a data set, and warnings."""
    series = parsed.series
    last = last_observed_points(series)
    lengths = np.maximum(last + 1 - series.offsets[:-1], 0)  # (n,) points up to the last observed value
    observed = _count_observed(series)
    short = int((observed < MIN_OBSERVED).sum())
    warnings = list(parsed.warnings)
    if short:
        warnings.append(f"{short:,} series have fewer than {MIN_OBSERVED} observed values.")
    frequency = Frequency.parse(series.freq)
    summary: Json = {
        "series": len(series.ids),
        "rows": parsed.rows,
        "frequency": series.freq,
        "span": _span(parsed, frequency),
        "missing_share": round(float(1 - observed.sum() / max(int(lengths.sum()), 1)), 6),
        "shortest": int(lengths.min()),
        "longest": int(lengths.max()),
        "longest_train": _longest_train(series),
        "covariates": _covariates(series),
        "known_ahead": series.known_ahead,
        "split": _split_counts(series.splits),
        "seasons": list(frequency.seasons),
    }
    return summary, warnings


def untrainable(series: SeriesSet) -> str | None:
    """Why none of the series can be trained on, if so."""
    if (_count_observed(series) >= MIN_OBSERVED).any():
        return None
    return f"Each series has fewer than {MIN_OBSERVED} observed values."


def _count_observed(series: SeriesSet) -> Array:
    """The observed values of each series, (n,)."""
    counts: Array = np.add.reduceat(~np.isnan(series.values), series.offsets[:-1], dtype=np.int64)
    return counts


def _span(parsed: ParsedSeries, frequency: Frequency) -> "Json":
    """First and last time of all series."""
    starts = parsed.series.starts
    ends = starts + np.diff(parsed.series.offsets) - 1  # (n,)
    first, last = int(starts.argmin()), int(ends.argmax())
    return {
        "start": frequency.stamps(int(starts[first]), 1, int(parsed.phases[first]))[0],
        "end": frequency.stamps(int(ends[last]), 1, int(parsed.phases[last]))[0],
    }


def _longest_train(series: SeriesSet) -> int:
    """Points of the longest series up to its last observed value that is not marked valid or test."""
    usable = ~np.isnan(series.values) & (series.splits != TEST_MARK) & (series.splits != VALID_MARK)
    last = np.maximum.reduceat(np.where(usable, np.arange(len(usable)), -1), series.offsets[:-1])  # (n,)
    return int(np.maximum(last + 1 - series.offsets[:-1], 0).max())


def _covariates(series: SeriesSet) -> dict[str, list[str]]:
    """Names of the extra columns by kind."""
    pairs = list(zip(series.covariate_names, series.covariate_levels, strict=True))
    return {
        "static": series.static_names,
        "numeric": [name for name, levels in pairs if not levels],
        "category": [name for name, levels in pairs if levels],
    }


def _split_counts(splits: Array) -> dict[str, int] | None:
    """Grid points of each split; None if the file names no split."""
    if not splits.any():
        return None
    return {name: int((splits == mark).sum()) for name, mark in SPLIT_MARKS.items()}
