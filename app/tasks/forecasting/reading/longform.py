"""JSON Lines with one object a row, as the columns of a long table."""

import math
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from app.arrays import Array
from app.tasks.shared.table_cells import MAX_EXACT_FLOAT, shorten
from app.tasks.source import Chunk, Faults
from app.typedefs import Json

BATCH_RECORDS = 1_000


def is_series(record: Json) -> bool:
    """Whether an object of a file is a whole series rather than one row of a table."""
    return "y" not in record and ("freq" in record or isinstance(record.get("target"), list))


def row_chunks(records: Iterator[tuple[int, Json]], faults: Faults) -> Iterator[Chunk]:
    """Rows of a table from objects, as columns of text; a value that is no cell of a table is a fault.

    All chunks have the columns of those before them; "" where an object lacks one.
    """
    names: dict[str, None] = {}
    while batch := list(islice(records, BATCH_RECORDS)):
        names.update(dict.fromkeys(name for _, record in batch for name in record))
        rows = np.array([number for number, _ in batch])  # (n,)
        columns = {
            name: _column([(number, record.get(name)) for number, record in batch], name, faults)
            for name in names
        }
        yield Chunk(rows, columns)


def _column(cells: list[tuple[int, Any]], name: str, faults: Faults) -> Array:
    texts = np.empty(len(cells), object)
    for index, (row, value) in enumerate(cells):
        try:
            texts[index] = _cell_text(value)
        except ValueError as error:
            texts[index] = ""
            faults.add(str(error), row=row, column=name[:40])
    return texts


def _cell_text(value: Any) -> str:
    """A JSON value as a table would have it; whole numbers keep every digit. Raises `ValueError`."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if math.isnan(value):
            return ""
        return str(int(value)) if value.is_integer() and abs(value) < MAX_EXACT_FLOAT else repr(value)
    kind = "an array" if isinstance(value, list) else "an object"
    raise ValueError(f"Expected a text or a number, got {kind}: {shorten(value)}")
