"""JSON Lines: one object a line."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from app.ingest.readers.lines import lines
from app.ingest.readers.mapping import Mapping
from app.tasks.contract import Chunk, Faults
from app.typedefs import Json

RECORDS = 1_000  # a chunk


class JsonLines:
    """Objects with their line numbers; the literal NaN is read as a missing number, Infinity is refused."""

    def __init__(self, path: Path, format_: str, mapping: Mapping, faults: Faults) -> None:
        self.format = format_
        self._path = path
        self._back = {column: name for name, column in mapping.columns.items()}
        self._faults = faults
        decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_constant)
        self._decode = decoder.decode

    def records(self) -> Iterator[tuple[int, Json]]:
        """Give each object; a line that is none is a fault, blank lines are skipped."""
        for number, line in enumerate(lines(self._path, self._faults), 1):
            if line.isspace():
                continue
            record = self._read(number, line)
            if record is not None:
                yield number, record

    def chunks(self) -> Iterator[Chunk]:
        """Give some objects at a time as columns of their values; None where an object lacks the field."""
        records = self.records()
        while some := list(islice(records, RECORDS)):
            names = dict.fromkeys(name for _, record in some for name in record)
            columns = {name: np.empty(len(some), object) for name in names}
            for at, (_, record) in enumerate(some):
                for name, value in record.items():
                    columns[name][at] = value
            yield Chunk(np.array([number for number, _ in some]), columns)

    def _read(self, number: int, line: str) -> Json | None:
        try:
            value = self._decode(line.rstrip())
        except json.JSONDecodeError as error:
            self._faults.add(f"Not valid JSON: {error.msg} at column {error.colno}.", row=number)
        except RecursionError:
            self._faults.add("The JSON is nested too deeply.", row=number)
        except ValueError as error:
            self._faults.add(
                str(error) if isinstance(error, _Refused) else "A number has too many digits.", row=number
            )
        else:
            if isinstance(value, dict):
                return self._rename(value)
            self._faults.add(f"Expected one JSON object a line, got {_kind(value)}.", row=number)
        return None

    def _rename(self, record: Json) -> Json:
        """Call fields as the mapping says; it overrides a field that already has the name."""
        if not self._back:
            return record
        taken = set(self._back.values())
        return {
            self._back.get(name, name): record[name]
            for name in record
            if name in self._back or name not in taken
        }


class _Refused(ValueError):
    """A sentence about JSON that parses but is not accepted."""


def _unique(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _Refused(f"The field {twice[:40]!r} is given twice.")
    return found


def _constant(name: str) -> float:
    if name != "NaN":
        raise _Refused(f"{name} is not a JSON number.")
    return float("nan")


def _kind(value: object) -> str:
    names = {list: "an array", str: "a text", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")
