"""What a task whose instances are time series says and reads beside the contract of all tasks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from app.typedefs import Json


@dataclass(frozen=True)
class SeriesFacts:
    """What a version forecasts, and from what."""

    horizon: int  # steps ahead, at most
    history: int  # last steps of a series that are read
    frequency: str  # pandas' alias, "1" for integer time
    dated: bool  # whether time stamps are dates, not integers
    past: tuple[str, ...]  # columns that are known up to the origin, in the order of the data set
    future: tuple[str, ...]  # columns that are known over the horizon too


class RecordInstance(NamedTuple):
    """An instance that was made of records of a request."""

    instance: Json
    first: int  # the index of the first of them
    cells: int  # of the instance, with those of steps that no record has


@runtime_checkable
class SeriesTask(Protocol):
    """A task whose predictions go on with series, and whose instances may come as rows of a table."""

    @property
    def record_columns(self) -> frozenset[str]:
        """Columns of a table of series, by which its rows are recognized."""
        ...

    def series_facts(self, state: Json) -> SeriesFacts:
        """What a version with this state forecasts."""
        ...

    def instances_of_records(
        self, state: Json, records: Sequence[dict[str, Any]], max_cells: int
    ) -> list[RecordInstance]:
        """One instance a series: a record is a row of it, or all of it as columns.

        All series have at most `max_cells` cells, with those of steps that no record has. Raises `Invalid`
        with pointers below the list of records.
        """
        ...

    def prediction_columns(self, record: Json, prediction: Json) -> dict[str, list[Any]]:
        """A prediction as columns of a table, a row for each step; `record` is one of its series."""
        ...
