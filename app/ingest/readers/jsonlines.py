"""JSON Lines: one object a line."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from app.ingest.readers.chunks import as_chunks
from app.ingest.readers.lines import read_lines
from app.ingest.readers.mapping import Mapping
from app.ingest.readers.single_file import SingleFile
from app.tasks.source import Chunk, Faults
from app.typedefs import Json


class JsonLines(SingleFile):
    """Objects with their line numbers; the literal NaN is read as a missing number, Infinity is refused."""

    def __init__(self, path: Path, format_: str, mapping: Mapping, faults: Faults) -> None:
        self.format = format_
        self._path = path
        self._faults = faults
        self._parser = ObjectParser(mapping, faults)

    def records(self) -> Iterator[tuple[int, Json]]:
        """Yield each object with its line number; other JSON is a fault, blank lines are skipped."""
        with self._path.open("rb") as file:
            yield from self._parser.parse_lines(read_lines(file, self._faults))

    def chunks(self) -> Iterator[Chunk]:
        """Yield some objects at a time as columns of their values; None where an object lacks the field."""
        return as_chunks(self.records())


class ObjectParser:
    """Parses lines that each hold one JSON object; its fields are renamed by the mapping."""

    def __init__(self, mapping: Mapping, faults: Faults) -> None:
        self._back = {column: name for name, column in mapping.columns.items()}
        self._faults = faults
        decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_constant)
        self._decode = decoder.decode

    def parse_lines(self, lines: Iterable[str]) -> Iterator[tuple[int, Json]]:
        """Yield each object with its line number; a line that holds none is a fault."""
        for number, line in enumerate(lines, 1):
            if line.isspace():
                continue
            record = self._parse(number, line)
            if record is not None:
                yield number, record

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
        if not self._back:
            return record
        taken = set(self._back.values())
        return {
            self._back.get(name, name): record[name]
            for name in record
            if name in self._back or name not in taken
        }


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
