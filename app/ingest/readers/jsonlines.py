"""JSON Lines: one object a line."""

import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from app.ingest.readers.chunks import as_chunks
from app.ingest.readers.compressed import open_content
from app.ingest.readers.lines import read_lines
from app.ingest.readers.mapping import Mapping
from app.ingest.readers.single_file import SingleFile
from app.tasks.source import Chunk, Faults
from app.typedefs import Json

ONE_A_LINE = (
    "Write each object on a line of its own, without commas between them, "
    "as pandas' to_json does with orient='records' and lines=True."
)
ARRAY = re.compile(r"\[\s*([^\[\s]|$)")
OPEN_OBJECT = re.compile(r'\{\s*("[^"]*"\s*:\s*[\[{]?)?')  # the first line of an object that is indented
TABLE_LAYOUTS = ({"columns", "data"}, {"schema", "data"})  # pandas' orients "split" and "table"
MAX_LAYOUTS_KEPT = 1_000  # different sets of fields


class JsonLines(SingleFile):
    """Objects with their line numbers; the literal NaN is read as a missing number, Infinity is refused."""

    def __init__(self, path: Path, format_: str, mapping: Mapping, faults: Faults) -> None:
        self.format = format_
        self._path = path
        self._faults = faults
        self._parser = ObjectParser(mapping, faults)

    def records(self) -> Iterator[tuple[int, Json]]:
        """Yield each object with its line number; other JSON is a fault, blank lines are skipped."""
        with open_content(self._path) as file:
            yield from self._parser.parse_lines(read_lines(file, self._faults))

    def chunks(self) -> Iterator[Chunk]:
        """Yield some objects at a time as columns of their values; None where an object lacks the field."""
        return as_chunks(self.records())


class ObjectParser:
    """Parses lines that each hold one JSON object; its fields are renamed by the mapping."""

    def __init__(self, mapping: Mapping, faults: Faults) -> None:
        self._mapping = mapping
        self._back: dict[tuple[str, ...], dict[str, str]] = {}  # fields of an object -> new names of some
        self._faults = faults
        decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_constant)
        self._decode = decoder.decode

    def parse_lines(self, lines: Iterable[str]) -> Iterator[tuple[int, Json]]:
        """Yield each object with its line number; a line that holds none is a fault."""
        is_first = True
        for number, line in enumerate(lines, 1):
            if line.isspace():
                continue
            if is_first:
                self._check_first(number, line.strip())
            record = self._parse(number, line)
            if is_first and record is not None and _is_whole_table(record):
                self._stop(f"Not JSON Lines: this object is a whole table. {ONE_A_LINE}", number)
            is_first = False
            if record is not None:
                yield number, record
        self._check_mapped()

    def _check_mapped(self) -> None:
        """Raise `DatasetInvalid` where a column that the caller names is in no object."""
        fields = list(dict.fromkeys(chain.from_iterable(self._back)))
        if fields and len(self._back) < MAX_LAYOUTS_KEPT:
            self._mapping.check_columns(fields)

    def _check_first(self, number: int, line: str) -> None:
        """Raise `DatasetInvalid` where the first line shows that the file is JSON, but not JSON Lines."""
        if ARRAY.match(line):
            detail = f"Expected one JSON object a line, got an array. {ONE_A_LINE}"
        elif OPEN_OBJECT.fullmatch(line):
            detail = f"Not JSON Lines: the object that begins here goes on in the next line. {ONE_A_LINE}"
        else:
            return
        self._stop(detail, number)

    def _stop(self, detail: str, number: int) -> None:
        self._faults.add(detail, row=number)
        self._faults.check()

    def _parse(self, number: int, line: str) -> Json | None:
        try:
            value = self._decode(line.rstrip())
        except json.JSONDecodeError as error:
            self._faults.add(f"Not valid JSON: {error.msg} at column {error.colno}.", row=number)
        except RecursionError:
            self._faults.add("The JSON is nested too deeply.", row=number)
        except ValueError as error:
            detail = str(error) if isinstance(error, _RefusedJson) else "A number has too many digits."
            self._faults.add(detail, row=number)
        else:
            if isinstance(value, dict):
                return self._rename(value)
            self._faults.add(f"Expected one JSON object a line, got {_kind(value)}.", row=number)
        return None

    def _rename(self, record: Json) -> Json:
        """Rename fields by the mapping, which overrides a field that already has the name."""
        fields = tuple(record)
        back = self._back.get(fields)
        if back is None:
            back = self._mapping.renamed(fields)
            if len(self._back) < MAX_LAYOUTS_KEPT:
                self._back[fields] = back
        if not back:
            return record
        taken = set(back.values())
        return {back.get(name, name): record[name] for name in record if name in back or name not in taken}


def _is_whole_table(record: Json) -> bool:
    """Whether an object is a table as pandas' to_json writes it: by columns, by rows, or in two parts."""
    if any(names <= record.keys() and isinstance(record["data"], list) for names in TABLE_LAYOUTS):
        return True
    parts = list(record.values())
    if not parts or not all(isinstance(part, dict) and part.keys() == parts[0].keys() for part in parts):
        return False
    rows = min((list(record), list(parts[0])), key=lambda names: sum(not name.isdecimal() for name in names))
    return len(parts) * len(parts[0]) > 1 and all(name.isdecimal() for name in rows)


class _RefusedJson(ValueError):
    """A sentence about JSON that parses but is not accepted."""


def _unique(pairs: list[tuple[str, Any]]) -> Json:
    """The object of these pairs; raises when two have the same name."""
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise _RefusedJson(f"The field {repeated[:40]!r} is given twice.")
    return record


def _constant(name: str) -> float:
    if name != "NaN":
        raise _RefusedJson(f"{name} is not a JSON number.")
    return float("nan")


def _kind(value: object) -> str:
    names = {list: "an array", str: "a text", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")
