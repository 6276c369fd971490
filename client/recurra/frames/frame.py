"""What this package needs of a data frame."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol


class Frame(Protocol):
    """A data frame of one of the libraries."""

    @property
    def names(self) -> list[str]:
        """The names of its columns, an index with a name included."""
        ...

    def row_name(self, row: int) -> str:
        """How the user knows a row: the label of its index, or its number from 0."""
        ...

    def cells(self, name: str) -> list[Any]:
        """A column as JSON: missing cells are None, time stamps texts, dates where all are midnight."""
        ...

    def write_csv(self, path: Path) -> None:
        """Write all columns as CSV with a header; truth values are 1 and 0."""
        ...

    def with_columns(self, columns: Mapping[str, Sequence[Any]]) -> Any:
        """The user's frame with more columns at its end."""
        ...

    def build(self, columns: Mapping[str, Sequence[Any]], like: Mapping[str, str]) -> Any:
        """A new frame of the user's library; `like` names columns of this one whose types columns get."""
        ...
