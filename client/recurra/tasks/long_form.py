"""Frames in long form, a row for each series and time, as series of a request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isinf
from typing import Any

from recurra.errors import InvalidInput, Json
from recurra.frames import Frame
from recurra.tasks.contract import SPLIT

ID, TIME, VALUE = "unique_id", "ds", "y"
ROLES: Mapping[str, str] = {"id": ID, "time": TIME, "target": VALUE, "split": SPLIT}
EXAMPLE_NAMES = {"time": "date", "target": "sales", "id": "store"}
MAX_NAMES_SHOWN = 20


@dataclass(frozen=True)
class LongFrame:
    """A frame with the user's names of its columns by their canonical ones."""

    frame: Frame
    names: Mapping[str, str]
    grouped: bool  # whether it has a column of ids
    covariates: Sequence[str]

    def series(self) -> dict[Any, Json]:
        """Each series as an object of columns, by its id, in the order of their first rows."""
        cells = {name: self.frame.cells(name) for name in self.covariates}
        cells |= {TIME: self.frame.cells(self.names[TIME])}
        if self.names[VALUE] in self.frame.names:
            cells[VALUE] = self.frame.cells(self.names[VALUE])
        made: dict[Any, Json] = {}
        for one, rows in self.rows().items():
            series: Json = {name: [column[row] for row in rows] for name, column in cells.items()}
            series.setdefault(VALUE, [None] * len(rows))
            self._check_finite(one, series, rows)
            made[one] = series | ({} if one is None else {ID: str(one)})
        return made

    def rows(self) -> dict[Any, list[int]]:
        """The rows of each series; raises `InvalidInput` about one without an id."""
        if not self.grouped:
            count = len(self.frame.cells(self.names[TIME]))
            return {None: list(range(count))} if count else {}
        places: dict[Any, list[int]] = {}
        for row, one in enumerate(self.frame.cells(self.names[ID])):
            if one is None or one != one or one == "":  # noqa: PLR0124 - NaN
                raise InvalidInput(f"{self.names[ID]} is missing in {self.frame.row_name(row)} of the frame")
            places.setdefault(one, []).append(row)
        return places

    def place(self, steps: Sequence[str]) -> str | None:
        """What the user calls a place in the instances, such as `series 'a', column sales, row 7`."""
        listed = list(self.rows().items())
        if not steps or not steps[0].isdecimal() or int(steps[0]) >= len(listed):
            return None
        one, rows = listed[int(steps[0])]
        parts = [] if one is None else [f"series {one!r}"]
        if len(steps) > 1:
            column = self.names.get(steps[1], steps[1])
            parts += [f"column {column}"] if column in self.frame.names else []
        if len(steps) > 2 and steps[2].isdecimal() and int(steps[2]) < len(rows):
            parts.append(self.frame.row_name(rows[int(steps[2])]))
        return ", ".join(parts) or None

    def _check_finite(self, one: Any, series: Json, rows: Sequence[int]) -> None:
        for name, column in series.items():
            for row, cell in zip(rows, column, strict=True):
                if isinstance(cell, float) and isinf(cell):
                    whose = "" if one is None else f" (series {one!r})"
                    where = f"{self.names.get(name, name)} is infinite in {self.frame.row_name(row)}"
                    raise InvalidInput(f"{where} of the frame{whose}")


def check_columns(frame: Frame, columns: Mapping[str, str]) -> None:
    """Raise `InvalidInput` if the frame lacks some of these columns, with the keywords that name others."""
    missing = [column for column in columns.values() if column not in frame.names]
    if not missing:
        return
    there = ", ".join(frame.names[:MAX_NAMES_SHOWN])
    keywords = {canonical: keyword for keyword, canonical in ROLES.items()}
    roles = [keywords[canonical] for canonical, column in columns.items() if column in missing]
    if len(missing) == 1:
        raise InvalidInput(
            f"the frame has no column {missing[0]}; name it with {roles[0]}=…. It has: {there}"
        )
    if ID not in columns:
        roles.append("id")
    examples = ", ".join(f'{role}="{EXAMPLE_NAMES.get(role, role)}"' for role in roles)
    raise InvalidInput(
        f"the frame has no columns {', '.join(missing)}: name them, for example {examples}; it has: {there}"
    )
