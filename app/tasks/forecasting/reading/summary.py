"""What is told about a data set of series."""

from dataclasses import dataclass

import numpy as np

from app.tasks.contract import Array, Faults
from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.reading.covariates import last_observed
from app.tasks.forecasting.series import SPLITS, TEST, VALID, SeriesSet
from app.typedefs import Json

FEWEST = 3  # observed values below which nothing can be learned from a series


@dataclass(frozen=True)
class Found:
    """Series as they were read, with what is not kept in them."""

    series: SeriesSet
    phases: Array  # (n,) where between grid points each series lies
    rows: int  # rows, or target values, in the file
    column: str  # what the values are called
    warnings: list[str]


def describe(found: Found, faults: "Faults") -> tuple["Json", list[str]]:
    """Summarise the series; none of use is a fault."""
    series = found.series
    ends = last_observed(series)
    lengths = np.maximum(ends + 1 - series.offsets[:-1], 0)  # (n,) points up to the last observed value
    observed = np.add.reduceat(~np.isnan(series.values), series.offsets[:-1], dtype=np.int64)  # (n,)
    short = int((observed < FEWEST).sum())
    if short == len(series.ids):
        detail = f"No series can be learned from: each has fewer than {FEWEST} observed values."
        faults.add(detail, column=found.column)
        faults.check()
    warnings = list(found.warnings)
    if short:
        warnings.append(f"{short:,} series have fewer than {FEWEST} observed values.")
    frequency = Frequency.parse(series.freq)
    summary: Json = {
        "series": len(series.ids),
        "rows": found.rows,
        "frequency": series.freq,
        "span": _span(found, frequency),
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


def _span(found: Found, frequency: Frequency) -> "Json":
    """First and last time of any series."""
    starts = found.series.starts
    ends = starts + np.diff(found.series.offsets) - 1  # (n,)
    first, last = int(starts.argmin()), int(ends.argmax())
    return {
        "start": frequency.stamps(int(starts[first]), 1, int(found.phases[first]))[0],
        "end": frequency.stamps(int(ends[last]), 1, int(found.phases[last]))[0],
    }


def _longest_train(series: SeriesSet) -> int:
    """The most points any series has before its marked parts, up to the last observed value."""
    usable = ~np.isnan(series.values) & (series.splits != TEST) & (series.splits != VALID)
    last = np.maximum.reduceat(np.where(usable, np.arange(len(usable)), -1), series.offsets[:-1])  # (n,)
    return int(np.maximum(last + 1 - series.offsets[:-1], 0).max())


def _covariates(series: SeriesSet) -> dict[str, list[str]]:
    pairs = list(zip(series.covariate_names, series.covariate_levels, strict=True))
    return {
        "static": series.static_names,
        "numeric": [name for name, levels in pairs if not levels],
        "category": [name for name, levels in pairs if levels],
    }


def _split_counts(splits: Array) -> dict[str, int] | None:
    if not splits.any():
        return None
    return {name: int((splits == split).sum()) for name, split in SPLITS.items()}
