"""Where a fault of a request or of an upload is in the user's data."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from recurra.errors import Json
from recurra.frames import Frame
from recurra.tasks.contract import Place

ROW, COLUMN = "row", "column"  # the steps of a pointer into a file
FIRST_ROW = 2  # of a table: the header is row 1


def place_of_row(frame: Frame, path: Path, columns: Mapping[str, str]) -> Place:
    """What the user of a frame calls a row and a column of the CSV file that was written of it."""

    def place(steps: Sequence[str]) -> str | None:
        return _in_frame(frame, steps, columns, FIRST_ROW if _has_a_line_each(frame, path) else None)

    return place


def place_of_line(frame: Frame, columns: Mapping[str, str]) -> Place:
    """The same of JSON Lines, which have no header."""
    return lambda steps: _in_frame(frame, steps, columns, 1)


def place_of_instance(frame: Frame) -> Place:
    """The row of a frame whose rows are the instances."""

    def place(steps: Sequence[str]) -> str | None:
        known = steps and steps[0].isdecimal() and int(steps[0]) < _count_rows(frame)
        return frame.row_name(int(steps[0])) if known else None

    return place


def _in_frame(
    frame: Frame, steps: Sequence[str], columns: Mapping[str, str], first: int | None
) -> str | None:
    """A row and a column of a file in a frame; `first` is the file's number of its first row, if known."""
    named, parts = dict(zip(steps[::2], steps[1::2], strict=False)), []
    column = named.get(COLUMN, "")
    if columns.get(column, column) in frame.names:
        parts.append(f"column {columns.get(column, column)}")
    number = named.get(ROW, "")
    if first is not None and number.isdecimal() and 0 <= int(number) - first < _count_rows(frame):
        parts.append(frame.row_name(int(number) - first))
    return ", ".join(parts) or None


def _has_a_line_each(frame: Frame, path: Path) -> bool:
    """Whether the file has one line for each row beside its header: no cell is of several lines."""
    with path.open(encoding="utf-8", newline="") as file:
        return sum(1 for _ in file) == _count_rows(frame) + 1


def _count_rows(frame: Frame) -> int:
    return len(frame.cells(frame.names[0])) if frame.names else 0


def with_places(problem: Json, root: str, place: Place, first: int = 0) -> Json:
    """A problem whose faults under `/root` say where they are in the user's data; pointers stay.

    `first` is the number of the request's first instance.
    """
    return problem | {
        "errors": [_with_place(error, root, place, first) for error in problem.get("errors") or []]
    }


def with_hint(problem: Json, hint: Callable[[str], str | None] | None) -> Json:
    """A problem whose first fault that something may mend says what; the first detail says it too."""
    for error in problem.get("errors") or [] if hint is not None else []:
        if hint is not None and (text := hint(str(error.get("detail")))) is not None:
            return problem | {"detail": f"{problem.get('detail')} ({text})"}
    return problem


def _with_place(error: Json, root: str, place: Place, first: int) -> Json:
    steps = str(error.get("pointer")).split("/")[1:]
    if not steps or steps[0] != root:
        return error
    below = [step.replace("~1", "/").replace("~0", "~") for step in steps[1:]]
    if first and below and below[0].isdecimal():
        below[0] = str(int(below[0]) + first)
    where = place(below)
    return error if where is None else error | {"detail": f"{error.get('detail')} [{where}]"}
