"""Data frames of polars."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import polars as pl


class PolarsFrame:
    """A data frame of polars; one that is lazy is collected."""

    def __init__(self, frame: pl.DataFrame | pl.LazyFrame) -> None:
        self._frame = frame.collect() if isinstance(frame, pl.LazyFrame) else frame

    @property
    def names(self) -> list[str]:
        """The names of its columns."""
        return self._frame.columns

    def row_name(self, row: int) -> str:
        """Its number from 0."""
        return f"row {row}"

    def cells(self, name: str) -> list[Any]:
        """A column as JSON."""
        column = self._frame[name]
        if column.dtype == pl.Boolean:
            column = column.cast(pl.Int8)
        if column.dtype.is_float():
            column = column.fill_nan(None)
        cells = column.to_list()
        if column.dtype in (pl.Date, pl.Datetime):
            return _stamps(cells)
        return cells

    def write_csv(self, path: Path) -> None:
        """Write all columns as CSV."""
        frame = self._frame
        for name in frame.columns:
            column = frame[name]
            if column.dtype == pl.Boolean:
                frame = frame.with_columns(column.cast(pl.Int8))
            elif column.dtype == pl.Datetime:
                frame = frame.with_columns(pl.Series(name, _stamps(column.to_list()), dtype=pl.String))
        frame.write_csv(path)

    def with_columns(self, columns: Mapping[str, Sequence[Any]]) -> pl.DataFrame:
        """The user's frame with more columns at its end."""
        return self._frame.with_columns([pl.Series(name, list(cells)) for name, cells in columns.items()])

    def build(self, columns: Mapping[str, Sequence[Any]], like: Mapping[str, str]) -> pl.DataFrame:
        """A new frame."""
        built = pl.DataFrame({name: list(cells) for name, cells in columns.items()}, strict=False)
        for name, source in like.items():
            dtype = self._frame.schema[source]
            if dtype in (pl.Date, pl.Datetime):
                stamps = [datetime.fromisoformat(str(cell)) for cell in built[name].to_list()]
                built = built.with_columns(_dated(name, stamps, dtype))
            else:
                built = built.with_columns(built[name].cast(dtype))
        return built


def adapt(frame: pl.DataFrame | pl.LazyFrame) -> PolarsFrame:
    """The adapter of a frame."""
    return PolarsFrame(frame)


def _dated(name: str, stamps: list[datetime], dtype: Any) -> pl.Series:
    zone = getattr(dtype, "time_zone", None)
    series = pl.Series(name, stamps)
    if zone is None:
        return series.cast(dtype)
    if stamps and stamps[0].tzinfo is None:
        return series.dt.replace_time_zone(zone).cast(dtype)
    return series.dt.convert_time_zone(zone).cast(dtype)


def _stamps(cells: list[date | datetime | None]) -> list[str | None]:
    """Dates and time stamps as texts: dates where all are midnight without a zone."""
    times = [cell for cell in cells if isinstance(cell, datetime)]
    if all(stamp.tzinfo is None and stamp.time() == time() for stamp in times):
        return [None if cell is None else f"{cell:%Y-%m-%d}" for cell in cells]
    return [None if cell is None else cell.isoformat() for cell in cells]
