"""Columns beside the series themselves: static categories, numeric and category covariates."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from app.tasks.contract import Array
from app.tasks.forecasting.reading.columns import MOST_LEVELS, MixedColumn
from app.tasks.forecasting.reading.grid import Grid
from app.tasks.forecasting.series import SeriesSet

MOST_VARYING = 64  # levels of a category that changes along a series


@dataclass
class _Sorted:
    """Extra columns by what they turned out to be."""

    static: list[tuple[str, list[str], Array]] = field(default_factory=list)  # name, levels, (n,) codes
    covariates: list[tuple[str, list[str], Array]] = field(default_factory=list)  # name, levels, (N,) float32


def attach(
    series: SeriesSet, extras: Mapping[str, MixedColumn], grid: Grid, warnings: list[str]
) -> SeriesSet:
    """Add the extra columns to the series; a column that cannot be used is left out with a warning."""
    kinds = _Sorted()
    for name, column in extras.items():
        if reason := _sort(name, column, grid, kinds):
            warnings.append(f"The column {name[:40]!r} is left out: {reason}.")
    shape = (len(series.values), len(kinds.covariates))
    covariates = np.empty(shape, np.float32)  # (N, covariates)
    for at, (_, _, values) in enumerate(kinds.covariates):
        covariates[:, at] = values
    codes = [codes for _, _, codes in kinds.static]
    found = replace(
        series,
        static_names=[name for name, _, _ in kinds.static],
        static_levels=[levels for _, levels, _ in kinds.static],
        static_codes=np.stack(codes, axis=1) if codes else np.zeros((len(series.ids), 0), np.int32),
        covariate_names=[name for name, _, _ in kinds.covariates],
        covariate_levels=[levels for _, levels, _ in kinds.covariates],
        covariates=covariates,
    )
    ahead = _known_ahead(found)
    if ahead:
        warnings.append(
            f"The last rows of every series lack the value but have {', '.join(ahead)}, "
            "which is taken as known ahead: predictions will ask for it."
        )
    return replace(found, known_ahead=ahead)


def last_observed(series: SeriesSet) -> Array:
    """Index into `values` of each series' last observed value, (n,); -1 where it has none."""
    seen = np.where(np.isnan(series.values), -1, np.arange(len(series.values)))
    found: Array = np.maximum.reduceat(seen, series.offsets[:-1])
    return found


def _sort(name: str, column: MixedColumn, grid: Grid, kinds: _Sorted) -> str:
    """File one column under its kind, or say why it has none."""
    numbers = column.numbers()
    if numbers is not None:
        if np.isnan(numbers).all():
            return "it holds no value"
        kinds.covariates.append((name, [], grid.lay(numbers, empty=np.nan)))
        return ""
    codes = column.codes()
    if codes is None:
        return f"it is neither a number everywhere ({column.odd}) nor a category"
    laid = grid.lay(codes, empty=-1)  # (N,)
    highest = np.maximum.reduceat(laid, grid.offsets[:-1])  # (n,)
    lowest = np.minimum.reduceat(np.where(laid < 0, MOST_LEVELS, laid), grid.offsets[:-1])
    if np.all((highest == lowest) | (highest < 0)):
        kinds.static.append((name, column.levels, highest.astype(np.int32)))
        return ""
    if len(column.levels) > MOST_VARYING:
        most = f"at most {MOST_VARYING} are taken when they vary along a series"
        return f"{column.odd} is no number, and of {len(column.levels):,} different texts {most}"
    kinds.covariates.append((name, column.levels, np.where(laid < 0, np.nan, laid).astype(np.float32)))
    return ""


def _known_ahead(series: SeriesSet) -> list[str]:
    """Covariates that go on, without a hole, where every series has ended."""
    last = last_observed(series)
    ends = series.offsets[1:] - 1
    if np.any(last >= ends) or np.any(last < 0):
        return []
    tail = np.arange(len(series.values)) > np.repeat(last, np.diff(series.offsets))
    broken = np.isnan(series.covariates[tail])  # (tail points, covariates)
    return [name for at, name in enumerate(series.covariate_names) if not broken[:, at].any()]
