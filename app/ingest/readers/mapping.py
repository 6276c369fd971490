"""Which column of a file is which column of the task."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from app.errors import DatasetInvalid, Problem, pointer

SHOWN = 12  # columns named in a message
LONGEST_NAME = 256


@dataclass(frozen=True)
class Mapping:
    """The caller's `columns`: canonical name -> column in the file; what is not named keeps its name."""

    columns: dict[str, str]

    @classmethod
    def checked(cls, columns: dict[str, str], canonical: Sequence[str]) -> "Mapping":
        """Refuse names that the task does not know and columns named twice, with pointers into `columns`."""
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
        return cls(columns)

    def names(self, found: Sequence[str]) -> list[str | None]:
        """Give the canonical names of a file's columns in order; None = leave the column out.

        Left out are columns without a name (an index written beside the data) and one whose own name was
        given to another column.
        """
        if any(len(name) > LONGEST_NAME for name in found):
            _refuse(
                [Problem("/file/row/1", f"The name of a column is longer than {LONGEST_NAME} characters.")]
            )
        if any("\0" in name for name in found):  # neither PostgreSQL's JSON nor numpy's texts keep it
            _refuse([Problem("/file/row/1", "The name of a column has a NUL character.")])
        problems = [
            Problem(pointer("columns", name), f"The file has no column {column!r}; it has {shown(found)}.")
            for name, column in self.columns.items()
            if column not in found
        ]
        _refuse(problems)
        back = {column: name for name, column in self.columns.items()}
        return [back.get(name) or (None if not name or name in self.columns else name) for name in found]


def shown(names: Sequence[str]) -> str:
    """Name the columns of a file for a message, not too many and none too long."""
    listed = ", ".join(name[:40] for name in names[:SHOWN])
    return listed + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise DatasetInvalid(f"The file cannot be used: {problems[0].detail}", problems)
