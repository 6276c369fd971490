"""Parquet tables, a batch of rows at a time as numpy columns."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from app.ingest.readers.mapping import MAX_COLUMNS, Mapping
from app.ingest.readers.single_file import SingleFile
from app.tasks.shared.table_cells import MAX_EXACT_FLOAT
from app.tasks.source import Chunk, Faults
from app.typedefs import Json

CHUNK_ROWS = 65_536
MAGIC = b"PAR1"
UTC_NAMES = ("UTC", "Etc/UTC", "GMT", "Z", "+00:00", "+0000")
MAX_ROWS = 1 << 28
MAX_CELLS = 1 << 31  # a few bytes can stand for as many equal values as their writer likes
MAX_UNCOMPRESSED_BYTES = 16 << 30
MAX_THRIFT_BYTES = 64 << 20
MAX_EXACT_DIGITS = 15  # of decimals in a float64


class Parquet(SingleFile):
    """A flat table: texts as str ("" for null), times as datetime64[s], numbers as float64, int64 or uint64.

    Numbers that would lose digits, such as long decimals and large integers beside nulls, are texts. Times
    with fractions of a second keep their unit, and those in a zone are texts with their offset.
    """

    def __init__(self, path: Path, format_: str, mapping: Mapping, faults: Faults) -> None:
        self.format = format_
        self._path = path
        self._mapping = mapping
        self._faults = faults

    def records(self) -> Iterator[tuple[int, Json]]:
        """Yield rows one by one, as objects of Python values."""
        first = 1
        with self._path.open("rb") as file:
            for batch, names in self._batches(file):
                kept = [(index, name) for index, name in enumerate(names) if name is not None]
                values = [self._values(batch.column(index), name) for index, name in kept]
                self._faults.check()
                for row, *cells in zip(range(first, first + len(batch)), *values, strict=True):
                    yield row, {name: cell for (_, name), cell in zip(kept, cells, strict=True)}
                first += len(batch)

    def chunks(self) -> Iterator[Chunk]:
        """Yield up to `CHUNK_ROWS` rows at a time."""
        row = 1
        with self._path.open("rb") as file:
            for batch, names in self._batches(file):
                columns = {
                    name: self._column(batch.column(index), name)
                    for index, name in enumerate(names)
                    if name is not None
                }
                self._faults.check()
                yield Chunk(np.arange(row, row + len(batch)), columns)
                row += len(batch)

    def _batches(self, file: Any) -> Iterator[tuple[Any, list[str | None]]]:
        """Yield batches with their columns' names; whatever pyarrow raises on a damaged file is one fault."""
        try:
            self._check_ends(file)
            table = pq.ParquetFile(
                file,
                thrift_string_size_limit=MAX_THRIFT_BYTES,
                thrift_container_size_limit=MAX_THRIFT_BYTES // 64,
            )
            names = self._check_shape(table.metadata, table.schema_arrow)
            for batch in table.iter_batches(batch_size=CHUNK_ROWS, use_threads=False):
                yield batch, names
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            self._stop(f"The Parquet file is damaged or not supported ({type(error).__name__}).")

    def _check_ends(self, file: Any) -> None:
        """Refuse a file without Parquet's magic at both ends, or with a footer larger than the file."""
        size = file.seek(0, 2)
        file.seek(0)
        begin = file.read(4)
        file.seek(max(size - 8, 0))
        end = file.read(8)
        footer = int.from_bytes(end[:4], "little")
        if size < 12 or begin != MAGIC or end[4:] != MAGIC or footer > size - 12:
            self._stop("This is not a complete Parquet file.")
        file.seek(0)

    def _check_shape(self, metadata: Any, schema: Any) -> list[str | None]:
        """The columns' names; refuses, before any data is read, tables that are too large or not flat."""
        rows, width = metadata.num_rows, metadata.num_columns
        size = sum(metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups))
        if width > MAX_COLUMNS:
            self._stop(f"The file has {width:,} columns; at most {MAX_COLUMNS:,} are read.")
        if rows > MAX_ROWS or rows * width > MAX_CELLS or size > MAX_UNCOMPRESSED_BYTES or rows < 0:
            self._stop(f"The file is too large: {rows:,} rows of {width:,} columns.")
        for name, count in ((name, schema.names.count(name)) for name in dict.fromkeys(schema.names)):
            if count > 1:
                self._faults.add(f"The file has this column {count} times.", column=name[:40])
        names = self._mapping.canonical_names(schema.names)
        for name, field in zip(names, schema, strict=True):
            if name is not None and not _is_supported(field.type):
                self._faults.add(f"Columns of type {str(field.type)[:40]} are not read.", column=name[:40])
        self._faults.check()
        return names

    def _column(self, column: Any, name: str) -> Any:
        """One column of a batch as a numpy array, (rows,)."""
        kind = column.type
        try:
            if pa.types.is_dictionary(kind):
                column, kind = column.dictionary_decode(), kind.value_type
            return _to_numpy(column, kind)
        except (pa.ArrowException, UnicodeDecodeError):
            self._faults.add(f"The values of type {kind} cannot be read.", column=name[:40])
            return np.zeros(len(column))

    def _values(self, column: Any, name: str) -> list[Any]:
        """One column of a batch as Python values; integers and truth values are exact, None for null."""
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
            values: list[Any] = column.to_pylist()
            return values
        cells: list[Any] = self._column(column, name).tolist()
        return cells

    def _stop(self, detail: str) -> None:
        self._faults.add(detail)
        self._faults.check()


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_number(kind: Any) -> bool:
    types = pa.types
    return bool(
        types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_boolean(kind)
    )


def _is_time(kind: Any) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def _is_supported(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return _is_text(kind) or _is_number(kind) or _is_time(kind) or bool(pa.types.is_null(kind))


def _is_exact_in_floats(column: Any, kind: Any) -> bool:
    """Whether the integers or decimals of a column stay apart as float64; of other types nothing is lost."""
    if pa.types.is_decimal(kind):
        return bool(kind.precision <= MAX_EXACT_DIGITS)
    ends = pc.min_max(column).as_py() if pa.types.is_integer(kind) else {}
    return all(end is None or abs(end) <= MAX_EXACT_FLOAT for end in ends.values())


def _to_numpy(column: Any, kind: Any) -> Any:
    """Convert a flat column to a numpy array; null becomes "" in texts, NaN in numbers and NaT in times."""
    if _is_text(kind):
        if pa.types.is_string_view(kind):
            column = column.cast(pa.large_string())  # Arrow cannot fill a view's nulls
        return column.fill_null("").to_numpy(zero_copy_only=False)
    if _is_time(kind):
        return _to_times(column, kind)
    if pa.types.is_integer(kind) and not column.null_count:
        wide = pa.uint64() if pa.types.is_uint64(kind) else pa.int64()
        return column.cast(wide).to_numpy(zero_copy_only=False)
    if not _is_exact_in_floats(column, kind):
        return column.cast(pa.string()).fill_null("").to_numpy(zero_copy_only=False)
    return column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)


def _to_times(column: Any, kind: Any) -> Any:
    """Convert dates and times: datetime64, or texts with an offset from UTC for a zone that has one."""
    seconds = column.cast(pa.timestamp("s", getattr(kind, "tz", None)), safe=False)
    exact = pa.types.is_date(kind) or pc.all(pc.equal(column, seconds.cast(kind))).as_py() in (True, None)
    times = seconds if exact else column
    if getattr(kind, "tz", None) in (None, *UTC_NAMES):
        return times.to_numpy(zero_copy_only=False)
    texts = pc.strftime(times, format="%Y-%m-%dT%H:%M:%S%z")
    return texts.fill_null("").to_numpy(zero_copy_only=False)
