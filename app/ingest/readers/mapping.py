"""Which column of a file is which column of the task."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from app.errors import DatasetInvalid, Problem, pointer

MAX_COLUMNS = 10_000  # of a table
MAX_COLUMNS_SHOWN = 12  # in a message
MAX_COLUMN_NAME_CHARS = 256


@dataclass(frozen=True)
class Mapping:
    """The caller's `columns`: canonical name -> column in the file; other columns keep their names.

    A column that is named like a `canonical` one but in another case is taken for it.
    """

    columns: dict[str, str]
    canonical: tuple[str, ...] = ()

    @classmethod
    def checked(cls, columns: dict[str, str], canonical: Sequence[str]) -> "Mapping":
        """Make a mapping; names unknown to the task and columns named twice raise `DatasetInvalid`.

        The pointers of its problems begin at `/columns`.
        """
        uses = Counter(columns.values())
        problems = [
            Problem(
                pointer("columns", name),
                f"{name!r} is no column of this task; it has {', '.join(canonical)}.",
            )
            for name in columns
            if name not in canonical
        ]
        problems += [
            Problem(pointer("columns", name), f"The column {column!r} is named for more than one purpose.")
            for name, column in columns.items()
            if uses[column] > 1
        ]
        _refuse(problems)
        return cls(columns, tuple(canonical))

    def canonical_names(self, header: Sequence[str]) -> list[str | None]:
        """The canonical name of each column of a file, in order; None = leave the column out.

        Left out are columns without a name (an index written beside the data) and one whose own name was
        given to another column.
        """
        if any(len(name) > MAX_COLUMN_NAME_CHARS for name in header):
            detail = f"The name of a column is longer than {MAX_COLUMN_NAME_CHARS} characters."
            _refuse([Problem("/file/row/1", detail)])
        if any("\0" in name for name in header):  # neither PostgreSQL's JSON nor numpy's texts keep it
            _refuse([Problem("/file/row/1", "The name of a column has a NUL character.")])
        self.check_columns(header)
        back = self.renamed(header)
        return [back.get(name) or (None if not name or name in self.columns else name) for name in header]

    def check_columns(self, header: Sequence[str]) -> None:
        """Raise `DatasetInvalid` where the caller names a column that is not among those of the file."""
        problems = [
            Problem(
                pointer("columns", name), f"The file has no column {column!r}; it has {list_columns(header)}."
            )
            for name, column in self.columns.items()
            if column not in header
        ]
        _refuse(problems)

    def renamed(self, header: Sequence[str]) -> dict[str, str]:
        """Column in the file -> canonical name, for those columns of a file that have another name there."""
        back = {column: name for name, column in self.columns.items()}
        for name in self.canonical:
            if name in header or name in self.columns:
                continue
            alike = [column for column in header if column.strip().casefold() == name and column not in back]
            if len(alike) == 1:
                back[alike[0]] = name
        return back


def list_columns(names: Sequence[str]) -> str:
    """The columns of a file for a message: not too many, and none too long."""
    listed = ", ".join(name[:40] for name in names[:MAX_COLUMNS_SHOWN])
    more = len(names) - MAX_COLUMNS_SHOWN
    return listed + (f" and {more} more" if more > 0 else "")


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise DatasetInvalid.of(problems)
