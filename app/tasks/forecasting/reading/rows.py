"""The keys of a long table: series, time and line of each row."""

from dataclasses import dataclass, replace

import numpy as np

from app.arrays import Array
from app.tasks.source import Faults


@dataclass(frozen=True)
class TableRows:
    """The keys of a long table: row `k` is of series `codes[k]` at `times[k]`."""

    names: list[str]  # of the series
    codes: Array  # (rows,) int32 into `names`
    times: Array  # (rows,) int64 or datetime64[s]
    lines: Array  # (rows,) line numbers in the file
    column: str  # name of the time column
    local: Array | None = (
        None  # (rows,) datetime64[s] by a clock on the wall, if a time has an offset from UTC
    )
    fractional: Array | None = None  # (rows,) bool, if a fraction of a second was cut off

    def take(self, rows: Array) -> "TableRows":
        """Some of the rows, in that order; `rows` has their indices."""
        return replace(
            self,
            codes=self.codes[rows],
            times=self.times[rows],
            lines=self.lines[rows],
            local=None if self.local is None else self.local[rows],
            fractional=None if self.fractional is None else self.fractional[rows],
        )

    def repeated(self) -> Array:
        """Whether each row, (rows,) bool, is at the time of the one before; they are by series and time."""
        same = (np.diff(self.times).astype(np.int64) == 0) & (np.diff(self.codes) == 0)
        return np.concatenate([np.zeros(min(len(self.lines), 1), bool), same])

    def fault(self, row: int, detail: str, faults: Faults) -> None:
        """Record a fault of a row's time stamp."""
        faults.add(detail, row=int(self.lines[row]), column=self.column)
