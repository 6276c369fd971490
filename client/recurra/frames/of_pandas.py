"""Data frames of pandas."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api import types


class PandasFrame:
    """A data frame of pandas; an index with a name is a column of it."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._original = frame
        named = [name for name in frame.index.names if name is not None and name not in frame.columns]
        self._frame = frame.reset_index(level=named) if named else frame
        self._frame.columns = self._frame.columns.map(str)

    @property
    def names(self) -> list[str]:
        """The names of its columns, an index with a name included."""
        return list(self._frame.columns)

    def row_name(self, row: int) -> str:
        """The label of its index."""
        return f"row {self._original.index[row]}"

    def cells(self, name: str) -> list[Any]:
        """A column as JSON."""
        column = self._frame[name]
        if isinstance(column.dtype, pd.PeriodDtype):
            column = column.dt.to_timestamp()
        if types.is_datetime64_any_dtype(column):
            return _stamps(column)
        if types.is_bool_dtype(column.dtype) and not isinstance(column.dtype, pd.CategoricalDtype):
            column = column.astype("Int8" if column.isna().any() else "int8")
        if types.is_object_dtype(column.dtype):
            return [_plain(cell) for cell in column]
        plain: list[Any] = column.astype(object).where(column.notna(), None).tolist()
        return plain

    def write_csv(self, path: Path) -> None:
        """Write all columns as CSV."""
        frame = self._frame.copy(deep=False)
        for name in frame.columns:
            if isinstance(frame[name].dtype, pd.PeriodDtype):
                frame[name] = frame[name].dt.to_timestamp()
            elif types.is_bool_dtype(frame[name].dtype) and not frame[name].isna().any():
                frame[name] = frame[name].astype("int8")
        frame.to_csv(path, index=False)

    def with_columns(self, columns: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
        """The user's frame with more columns at its end."""
        more = {name: pd.Series(list(cells), index=self._original.index) for name, cells in columns.items()}
        return self._original.assign(**more)

    def build(self, columns: Mapping[str, Sequence[Any]], like: Mapping[str, str]) -> pd.DataFrame:
        """A new frame."""
        built = pd.DataFrame({name: list(cells) for name, cells in columns.items()})
        for name, source in like.items():
            built[name] = _cast(built[name], self._frame[source].dtype)
        return built


def adapt(frame: pd.DataFrame) -> PandasFrame:
    """The adapter of a frame."""
    return PandasFrame(frame)


def _stamps(column: "pd.Series[Any]") -> list[Any]:
    """Time stamps as texts: dates where all are midnight without a zone."""
    known = column.dropna()
    if known.dt.tz is None and (known == known.dt.normalize()).all():
        return [None if pd.isna(stamp) else f"{stamp:%Y-%m-%d}" for stamp in column]
    return [None if pd.isna(stamp) else stamp.isoformat() for stamp in column]


def _plain(cell: Any) -> Any:
    """A cell of objects: dates as texts, numbers of numpy as those of Python."""
    if hasattr(cell, "tolist"):
        return cell.tolist()
    if isinstance(cell, str | list | tuple | dict):
        return cell
    if cell is None or pd.isna(cell):
        return None
    return cell.isoformat() if hasattr(cell, "isoformat") else cell


def _cast(column: "pd.Series[Any]", dtype: Any) -> "pd.Series[Any]":
    """A column of answers in the type of the column they are about."""
    if isinstance(dtype, pd.PeriodDtype):
        return pd.to_datetime(column).dt.to_period(dtype.freq)
    if isinstance(dtype, pd.DatetimeTZDtype):
        stamps = pd.to_datetime(column)
        return stamps.dt.tz_localize(dtype.tz) if stamps.dt.tz is None else stamps.dt.tz_convert(dtype.tz)
    if types.is_datetime64_any_dtype(dtype):
        return pd.to_datetime(column).astype(dtype)
    if isinstance(dtype, pd.CategoricalDtype):
        return column.astype(dtype)
    return column if types.is_object_dtype(dtype) else column.astype(dtype)
