"""The covariates of a forecast request: read as an upload's are, and what to warn about where they lack."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.arrays import Array
from app.errors import Invalid, Problem, pointer
from app.tasks.shared.table_cells import MAX_FIELDS_SHOWN, MISSING_TEXTS, NUMBER_PATTERN, shorten
from app.typedefs import Json

Cell = int | float | str | bool | None
CovariateValues = list[Cell]

PAST, FUTURE, STATIC = "past", "future", "static"
# The kinds of a model's columns that each field of a request may have. What varied in training may stay the
# same all through a request, which then may say so in `static`.
ACCEPTED = {PAST: (PAST, FUTURE), FUTURE: (FUTURE,), STATIC: (STATIC, PAST, FUTURE)}


def invalid_field(path: str, detail: str) -> Invalid:
    """The error of one field of a request, with its JSON pointer."""
    return Invalid(detail, [Problem(path, detail)])


def level_code(cell: Cell, levels: Sequence[str]) -> int | None:
    """Index of the level that a cell means, -1 if the cell is missing, None if the model does not know it.

    A number or truth value means the text that an upload makes of it.
    """
    for text in _level_texts(cell):
        if text in levels:
            return levels.index(text)
    return -1 if cell is None or cell in MISSING_TEXTS else None


def _level_texts(cell: Cell) -> tuple[str, ...]:
    """The texts under which an upload may have the cell, as a file wrote it or typed."""
    if cell is None:
        return ()
    if isinstance(cell, bool):
        return str(cell), str(cell).lower(), str(cell).upper()
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell)), str(cell)
    return (str(cell), f"{cell}.0") if isinstance(cell, int) else (str(cell),)


def _read_column(column: CovariateValues, spec: Json, path: str) -> Array:
    """The cells (n,) as numbers or the codes of their levels; NaN if missing or an unknown level."""
    kinds = set(map(type, column))
    if not spec["levels"] and kinds <= {float, int, type(None)}:
        try:
            return np.array(column, np.float64)  # None becomes NaN
        except OverflowError:
            pass  # which cell it is, the following says
    codes = {key: _read_cell(key[1], spec, f"{path}/{step}") for key, step in _distinct(column).items()}
    return np.array([codes[type(cell), cell] for cell in column])


def _distinct(cells: CovariateValues) -> dict[tuple[type, Cell], int]:
    """The first step of each distinct cell with its type, in order: 1, 1.0 and true are equal, but differ."""
    first: dict[tuple[type, Cell], int] = {}
    for step, cell in enumerate(cells):
        first.setdefault((type(cell), cell), step)
    return first


def _read_cell(cell: Cell, spec: Json, path: str) -> float:
    """A cell as a number or the code of its level; NaN if missing or an unknown level."""
    if spec["levels"]:
        code = level_code(cell, spec["levels"])
        return float(code) if code is not None and code >= 0 else np.nan
    if cell is None or cell in MISSING_TEXTS:
        return np.nan
    if isinstance(cell, str) and not NUMBER_PATTERN.fullmatch(cell.strip()):
        raise invalid_field(path, f"{shorten(cell)} is no number, and {spec['name']} is numeric.")
    try:
        return float(cell)
    except OverflowError:
        raise invalid_field(path, "The number is too large.") from None


def _missing_warning(field: str, name: str) -> str:
    return f"`{field}` lacks {shorten(name)}, which the model was trained with; the forecast does without it."


def _unknown_warning(field: str, spec: Json, unknown: Sequence[str]) -> str:
    """A warning about levels, quoted, that stand in a column of a request."""
    names, known = _enumerate(unknown), _enumerate([shorten(level) for level in spec["levels"]])
    return f"`{field}` has {names} in {shorten(spec['name'])}, read as missing: the model knows {known}."


def _enumerate(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MAX_FIELDS_SHOWN])
    return shown if len(names) <= MAX_FIELDS_SHOWN else f"{shown}, …"


@dataclass(frozen=True)
class RequestCovariates:
    """The columns of one request, by field and name, beside those that a model was trained with."""

    state: Json
    past: Mapping[str, CovariateValues]
    future: Mapping[str, CovariateValues]
    static: Mapping[str, Cell]
    item_id: str | None
    size: int  # values in the request

    def read_static(self) -> Array | None:
        """Codes (static,) of the static columns, -1 = unknown; None if the model reads none.

        A column that the request lacks has the code that its item had in training.
        """
        specs = self.state["static"]
        self._check_names(STATIC, self.static)
        if not specs:
            return None
        codes = list(self.state["items"].get(self.item_id, [-1] * len(specs)))
        for index, spec in enumerate(specs):
            if spec["name"] in self.static:
                code = level_code(self.static[spec["name"]], spec["levels"])
                codes[index] = -1 if code is None else code
        return np.array(codes)

    def read_past(self, specs: Sequence[Json]) -> Array:
        """Raw covariates (size, specs) of the steps that have values; missing is NaN."""
        self._check_names(PAST, self.past)
        table = np.full((self.size, len(specs)), np.nan)
        for index, spec in enumerate(specs):
            name = spec["name"]
            if name in self.static:
                table[:, index] = _read_cell(self.static[name], spec, pointer(STATIC, name))
            elif name in self.past:
                column = self.past[name]
                if len(column) != self.size:
                    detail = f"There are {len(column)} entries for {self.size} values."
                    raise invalid_field(pointer(PAST, name), detail)
                table[:, index] = _read_column(column, spec, pointer(PAST, name))
        return table

    def read_future(self, horizon: int) -> Array:
        """Raw covariates (trained horizon, future) of the steps to forecast; missing is NaN.

        A column must have an entry for each of the first `horizon` steps.
        """
        specs, trained = self.state["future"], self.state["horizon"]
        self._check_names(FUTURE, self.future)
        table = np.full((trained, len(specs)), np.nan)
        for index, spec in enumerate(specs):
            name = spec["name"]
            if name in self.future:
                column = self.future[name][:trained]
                if len(column) < horizon:
                    detail = f"There are {len(column)} entries for a horizon of {horizon}"
                    raise invalid_field(pointer(FUTURE, name), f"{detail}; null stands for one not known.")
                table[: len(column), index] = _read_column(column, spec, pointer(FUTURE, name))
            elif name in self.static:
                table[:, index] = _read_cell(self.static[name], spec, pointer(STATIC, name))
        return table

    def warnings(self) -> list[str]:
        """What the model was trained with and the request lacks, and levels that the model does not know."""
        return [*self._missing(), *self._unknown_levels()]

    def _missing(self) -> Iterator[str]:
        known_item = self.item_id in self.state["items"]
        for spec in self.state[STATIC]:
            if spec["levels"] and spec["name"] not in self.static and not known_item:
                yield _missing_warning(STATIC, spec["name"])
        for spec in (*self.state[PAST], *self.state[FUTURE]):
            if spec["name"] not in self.past and spec["name"] not in self.static:
                yield _missing_warning(PAST, spec["name"])
        for spec in self.state[FUTURE]:
            if spec["name"] not in self.future and spec["name"] not in self.static:
                yield _missing_warning(FUTURE, spec["name"])

    def _unknown_levels(self) -> Iterator[str]:
        for field, columns in ((STATIC, self.static), (PAST, self.past), (FUTURE, self.future)):
            for spec in (*self.state[STATIC], *self.state[PAST], *self.state[FUTURE]):
                if spec["name"] not in columns or not spec["levels"]:
                    continue
                entry = columns[spec["name"]]
                cells = entry if isinstance(entry, list) else [entry]
                distinct = (cell for _, cell in _distinct(cells))
                unknown = [shorten(cell) for cell in distinct if level_code(cell, spec["levels"]) is None]
                if unknown:
                    yield _unknown_warning(field, spec, list(dict.fromkeys(unknown)))

    def _check_names(self, field: str, names: Iterable[str]) -> None:
        known = self._names(*ACCEPTED[field])
        for name in names:
            if name not in known:
                raise invalid_field(pointer(field, name), self._unknown_column(field, name))

    def _names(self, *fields: str) -> list[str]:
        return [spec["name"] for field in fields for spec in self.state[field]]

    def _unknown_column(self, field: str, name: str) -> str:
        """Why a column cannot stand in a field, and where it belongs."""
        if name in self._names(STATIC):
            place = "it belongs into `static`"
        elif name in self._names(PAST):
            place = "it belongs into `past`, for it was not known ahead in the training data"
            if field == FUTURE:
                options = json.dumps({"future_covariates": [name]})
                place += f". To give it here too, train with `options` {options}"
        else:
            known = [shorten(one) for one in self._names(*ACCEPTED[field])]
            place = f"it knows {_enumerate(known)}" if known else "it was trained without any"
        kind = "static column" if field == STATIC else f"{field} covariate"
        return f"The model knows no {kind} {shorten(name)}; {place}."
