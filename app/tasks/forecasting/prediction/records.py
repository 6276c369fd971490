"""Requests whose instances are rows of a table of series, or its columns, as uploads have them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.arrays import Ints
from app.errors import Invalid, Problem, pointer
from app.tasks.forecasting.inference import MAX_REQUEST_STEPS
from app.tasks.forecasting.prediction.covariates import FUTURE, PAST, STATIC
from app.tasks.forecasting.prediction.known_times import known_starts
from app.tasks.forecasting.reading.table import ID, TIME, VALUE
from app.tasks.series_contract import RecordInstance
from app.tasks.shared.splits import SPLIT
from app.tasks.shared.table_cells import MAX_FIELDS_SHOWN, MISSING_TEXTS, shorten
from app.typedefs import Json

RECORD_COLUMNS = frozenset({ID, TIME, VALUE})


@dataclass(frozen=True)
class _RecordedSeries:
    """One series as columns of equal length; `constants` are cells that stand for a whole column."""

    first: int  # record
    item_id: Any
    columns: dict[str, list[Any]]
    constants: dict[str, Any]
    place: Callable[[str, int], str]  # the pointer of a cell, by column and row

    @property
    def size(self) -> int:
        return len(self.columns[VALUE])

    def refuse(self, name: str, row: int, detail: str) -> Invalid:
        """The error of a cell."""
        return Invalid(problems=[Problem(self.place(name, row), detail)])


def instances_of_records(
    state: Json, records: Sequence[dict[str, Any]], max_cells: int
) -> list[RecordInstance]:
    """One instance a series, in the order of their first records; raises `Invalid`.

    As in an upload, rows may come in any order, time stamps without a row are missing values, and rows after
    the last value are its known future.
    """
    instances, cells = list[RecordInstance](), 0
    for series in _read_series(records):
        first, steps = _steps(state, series)
        size = int(steps.max()) + 1
        own = size * len(series.columns)
        cells += own
        if size > MAX_REQUEST_STEPS or cells > max_cells:
            detail = f"The series has {size:,} steps; a request may have {MAX_REQUEST_STEPS:,} in a series"
            raise series.refuse(VALUE, 0, f"{detail}, and {max_cells:,} cells in all.")
        instance = _instance(state, series, first, steps, size)
        instances.append(RecordInstance(instance, series.first, own))
    return instances


def _read_series(records: Sequence[dict[str, Any]]) -> list[_RecordedSeries]:
    for index, record in enumerate(records):
        if VALUE not in record:
            detail = f"there is no {VALUE}: a record has the columns of the data set"
            raise Invalid(problems=[Problem(pointer(index), detail)])
    listed = [isinstance(record[VALUE], list) for record in records]
    if all(listed):
        return [_from_columns(index, record) for index, record in enumerate(records)]
    if any(listed):
        detail = f"{VALUE} is a list in some records and one value in others: send rows, or columns of series"
        raise Invalid(problems=[Problem(pointer(listed.index(not listed[0]), VALUE), detail)])
    rows: dict[Any, list[int]] = {}
    for index, record in enumerate(records):
        for name, cell in record.items():
            _refuse_nested(cell, index, name)
        rows.setdefault(record.get(ID), []).append(index)
    return [_from_rows(records, places) for places in rows.values()]


def _refuse_nested(cell: Any, *place: str | int) -> None:
    if isinstance(cell, list | dict):
        detail = f"takes one value, not {'a list' if isinstance(cell, list) else 'an object'}"
        raise Invalid(problems=[Problem(pointer(*place), detail)])


def _from_columns(index: int, record: Mapping[str, Any]) -> _RecordedSeries:
    """A series from lists; shorter ones end with missing cells, as the values do before a known future."""
    columns: dict[str, list[Any]] = {}
    constants: dict[str, Any] = {}
    for name, cells in record.items():
        if isinstance(cells, list) and name != ID:
            columns[name] = cells
            for row, cell in enumerate(cells):
                _refuse_nested(cell, index, name, row)
        else:
            _refuse_nested(cells, index, name)
            constants[name] = cells
    size = max(map(len, columns.values()))
    if not columns[VALUE] or (TIME in columns and len(columns[TIME]) != size):
        stamps = len(columns.get(TIME, ()))
        detail = f"There are {stamps} time stamps for {size} rows." if columns[VALUE] else "has no values"
        raise Invalid(problems=[Problem(pointer(index, TIME if columns[VALUE] else VALUE), detail)])
    item_id = constants.pop(ID, None)
    padded = {name: [*cells, *[None] * (size - len(cells))] for name, cells in columns.items()}
    return _RecordedSeries(index, item_id, padded, constants, lambda name, row: pointer(index, name, row))


def _from_rows(records: Sequence[Mapping[str, Any]], places: Sequence[int]) -> _RecordedSeries:
    names = dict.fromkeys(name for place in places for name in records[place] if name != ID)
    columns = {name: [records[place].get(name) for place in places] for name in names}
    return _RecordedSeries(
        places[0], records[places[0]].get(ID), columns, {}, lambda name, row: pointer(places[row], name)
    )


def _steps(state: Json, series: _RecordedSeries) -> tuple[Any, Ints]:
    """The first time stamp, None without one, and the step of each row after it, (rows,)."""
    if TIME not in series.columns:
        return series.constants.get(TIME), np.arange(series.size)
    stamps = series.columns[TIME]
    for row, stamp in enumerate(stamps):
        if isinstance(stamp, bool) or not isinstance(stamp, str | int):
            raise series.refuse(TIME, row, "is missing" if stamp is None else "is no time stamp")
    known = known_starts(state["freq"], tuple(state.get("phases", ())))
    try:
        ordinals, phases = known.locate_all(stamps)
    except (ValueError, OverflowError) as error:
        row = next((row for row, stamp in enumerate(stamps) if shorten(stamp) in str(error)), 0)
        raise series.refuse(TIME, row, str(error)) from None
    first = int(ordinals.argmin())
    beside = np.flatnonzero(phases != phases[first])
    if len(beside):
        detail = f"{shorten(stamps[beside[0]])} is not on the grid of the series, every {state['freq']}."
        raise series.refuse(TIME, int(beside[0]), detail)
    order = np.argsort(ordinals, kind="stable")
    twice = order[1:][np.diff(ordinals[order]) == 0]
    if len(twice):
        raise series.refuse(TIME, int(twice[0]), "Another row of the series has this time stamp.")
    return stamps[first], ordinals - ordinals[first]


def _instance(state: Json, series: _RecordedSeries, start: Any, steps: Ints, size: int) -> Json:
    """The instance of a series whose rows are at these `steps` (rows,) of `size`."""
    known: Json = {"item_id": series.item_id, "start": start}
    columns = {
        name: _spread(cells, steps, size)
        for name, cells in series.columns.items()
        if name not in (TIME, SPLIT)
    }
    values = columns.pop(VALUE)
    observed = [step for step, cell in enumerate(values) if not _is_missing(cell)]
    end = observed[-1] + 1 if observed else size
    constants = {name: cell for name, cell in series.constants.items() if name not in (TIME, SPLIT)}
    return {
        **{name: value for name, value in known.items() if value is not None},
        "values": values[:end],
        **_covariates(state, series, columns, constants, end),
    }


def _spread(cells: Sequence[Any], steps: Ints, size: int) -> list[Any]:
    """The cells of rows on their steps; None on steps without a row."""
    spread: list[Any] = [None] * size
    for step, cell in zip(steps.tolist(), cells, strict=True):
        spread[step] = cell
    return spread


def _is_missing(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and cell in MISSING_TEXTS)


def _covariates(
    state: Json, series: _RecordedSeries, columns: Json, constants: dict[str, Any], end: int
) -> Json:
    """The covariates of a series whose values end before step `end`, in the fields of an instance."""
    names = {field: [spec["name"] for spec in state[field]] for field in (PAST, FUTURE, STATIC)}
    fields: dict[str, dict[str, Any]] = {PAST: {}, FUTURE: {}, STATIC: {}}
    known = [name for some in names.values() for name in some]
    for name in [*columns, *constants]:
        if name not in known:
            listed = ", ".join(known[:MAX_FIELDS_SHOWN]) or "none"
            detail = f"The model knows no column {shorten(name)}; beside those of a series it knows {listed}."
            raise series.refuse(name, 0, detail)
    for name, cells in columns.items():
        if name in names[STATIC]:
            fields[STATIC][name] = _only_level(series, name, cells)
            continue
        fields[PAST][name] = cells[:end]
        if name in names[FUTURE] and end < len(cells):
            fields[FUTURE][name] = cells[end:]
    fields[STATIC].update(constants)
    return {field: cells for field, cells in fields.items() if cells}


def _only_level(series: _RecordedSeries, name: str, cells: Sequence[Any]) -> Any:
    levels = list(dict.fromkeys(cell for cell in cells if not _is_missing(cell)))
    if len(levels) > 1:
        raise series.refuse(name, 0, f"{name} is static in the model, but not the same in all rows.")
    return levels[0] if levels else None
