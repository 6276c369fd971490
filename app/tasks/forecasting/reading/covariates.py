"""Columns of a long table beside the series: static categories, numeric and category covariates."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from app.arrays import Array
from app.tasks.forecasting.reading.columns import MAX_LEVELS, MixedColumn
from app.tasks.forecasting.reading.grid import Grid
from app.tasks.forecasting.series import SeriesSet

MAX_VARYING_LEVELS = 64  # levels of a category that changes along a series


@dataclass
class _ExtraColumns:
    """The extra columns by kind."""

    static: list[tuple[str, list[str], Array]] = field(default_factory=list)  # name, levels, (n,) codes
    covariates: list[tuple[str, list[str], Array]] = field(default_factory=list)  # name, levels, (N,) float32


def attach_covariates(
    series: SeriesSet, extras: Mapping[str, MixedColumn], grid: Grid, warnings: list[str]
) -> SeriesSet:
    """The series with the extra columns; a column that cannot be used is left out with a warning."""
    columns = _ExtraColumns()
    for name, column in extras.items():
        warnings += column.missing_texts.warnings(name)
        if reason := _classify_column(name, column, grid, columns, warnings):
            warnings.append(f"The column {name[:40]!r} is left out: {reason}.")
    shape = (len(series.values), len(columns.covariates))
    covariates = np.empty(shape, np.float32)  # (N, covariates)
    for index, (_, _, values) in enumerate(columns.covariates):
        covariates[:, index] = values
    codes = [codes for _, _, codes in columns.static]
    attached = replace(
        series,
        static_names=[name for name, _, _ in columns.static],
        static_levels=[levels for _, levels, _ in columns.static],
        static_codes=np.stack(codes, axis=1) if codes else np.zeros((len(series.ids), 0), np.int32),
        covariate_names=[name for name, _, _ in columns.covariates],
        covariate_levels=[levels for _, levels, _ in columns.covariates],
        covariates=covariates,
    )
    known_ahead = _known_ahead(attached)
    if known_ahead:
        warnings.append(
            f"The last rows of every series lack the value but have {', '.join(known_ahead)}, "
            "which is taken as known ahead: predictions will need it."
        )
    return replace(attached, known_ahead=known_ahead)


def last_observed_points(series: SeriesSet) -> Array:
    """Index into `values` of each series' last observed value, (n,); -1 if it has none."""
    observed = np.where(np.isnan(series.values), -1, np.arange(len(series.values)))
    last: Array = np.maximum.reduceat(observed, series.offsets[:-1])
    return last


def _classify_column(
    name: str, column: MixedColumn, grid: Grid, columns: _ExtraColumns, warnings: list[str]
) -> str:
    """Add one column to `columns` under its kind; otherwise the reason why it has none."""
    numbers, codes = column.numbers(), column.codes()
    if numbers is None and codes is not None:
        per_series = _static_levels(grid.spread(codes, empty=-1), grid)
        if per_series is not None:
            columns.static.append((name, column.levels, per_series))
            return ""
    if numbers is None and (numbers := column.numbers_with_typos()) is not None:
        lenient = f"In the column {name[:40]!r}, which is numeric, {column.first_text} is no number"
        warnings.append(f"{lenient}: it is read as a missing value, and so is any other such cell.")
    if numbers is not None:
        if np.isnan(numbers).all():
            return "it holds no value"
        columns.covariates.append((name, [], grid.spread(numbers, empty=np.nan)))
        return ""
    if codes is None:
        return f"it is neither a number everywhere ({column.first_text}) nor a category"
    if len(column.levels) > MAX_VARYING_LEVELS:
        limit = f"at most {MAX_VARYING_LEVELS} are allowed when they vary along a series"
        return f"{column.first_text} is no number, and of {len(column.levels):,} different texts {limit}"
    if column.looks_numeric():
        warnings.append(f"The column {name[:40]!r} is read as a category: {column.first_text} is no number.")
    on_grid = grid.spread(codes, empty=-1)  # (N,)
    values = np.where(on_grid < 0, np.nan, on_grid).astype(np.float32)
    columns.covariates.append((name, column.levels, values))
    return ""


def _static_levels(codes: Array, grid: Grid) -> Array | None:
    """The one level of each series (n,) int32, -1 = none, of codes on the grid (N,); None if one changes."""
    highest = np.maximum.reduceat(codes, grid.offsets[:-1])  # (n,)
    lowest = np.minimum.reduceat(np.where(codes < 0, MAX_LEVELS, codes), grid.offsets[:-1])
    return highest.astype(np.int32) if np.all((highest == lowest) | (highest < 0)) else None


def _known_ahead(series: SeriesSet) -> list[str]:
    """Covariates without a missing entry after the last value, if every series has such points."""
    last = last_observed_points(series)
    ends = series.offsets[1:] - 1
    if np.any(last >= ends) or np.any(last < 0):
        return []
    tail = np.arange(len(series.values)) > np.repeat(last, np.diff(series.offsets))
    missing = np.isnan(series.covariates[tail])  # (tail points, covariates)
    return [name for index, name in enumerate(series.covariate_names) if not missing[:, index].any()]
