"""An uploaded file as a task reads it: rows, records or members; its faults; the arrays it becomes."""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from math import inf
from typing import Any, BinaryIO, NamedTuple, NoReturn, Protocol

import numpy.typing as npt

from app.arrays import Arrays, Ints
from app.errors import DatasetInvalid, Problem, pointer
from app.typedefs import Json

MAX_FAULTS = 20
MAX_FIELDS_LISTED, MAX_FIELD_CHARS = 12, 40  # in a message
IDENTIFIER = re.compile(r"(.*[_ -])?(id|ids|idx|index|key|uuid)|unnamed: \d+", re.IGNORECASE)
ROW_POINTER = re.compile(r"/file/row/(\d+)", re.ASCII)
TOKEN_LINES = "lines of tokens"  # noqa: S105 - in a record: where tokens are, if not on successive lines
MANIFEST = "manifest.jsonl"  # the member of an archive that says what the others are


class Faults:
    """Collects what is wrong with a file; gives up at the twentieth fault."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def add(
        self, detail: str, *, row: int | None = None, column: str | None = None, member: str | None = None
    ) -> None:
        """Record a fault at a 1-based line of the file (the header counts) and a column or field.

        In an archive the lines are those of its manifest; `member` names another member of it instead.
        """
        line = ("member", member) if member is not None else () if row is None else ("row", row)
        field = ("column", column) if column else ()
        self.problems.append(Problem(pointer("file", *line, *field), detail))
        if len(self.problems) >= MAX_FAULTS:
            self.check()

    def add_rows_of(self, others: "Faults") -> None:
        """Record those faults of others that are in a row."""
        for problem in others.problems:
            if ROW_POINTER.match(problem.pointer):
                self.problems.append(problem)
                if len(self.problems) >= MAX_FAULTS:
                    self.check()

    def stop_without(self, name: str, fields: Iterable[str], row: int) -> NoReturn:
        """Raise `DatasetInvalid`: a file that has these `fields` lacks the column or field `name`."""
        listed = [repr(one[:MAX_FIELD_CHARS]) for one in fields]
        more = f" and {len(listed) - MAX_FIELDS_LISTED} more" if len(listed) > MAX_FIELDS_LISTED else ""
        present = (
            f"the file has {', '.join(listed[:MAX_FIELDS_LISTED])}{more}" if listed else "the line is empty"
        )
        detail = f"There is no field {name!r} ({present}); name the column that has it with `columns`."
        self.add(detail, row=row, column=name)
        raise DatasetInvalid.of(self.problems)

    def check(self) -> None:
        """Raise `DatasetInvalid` if there is a fault; they are in the order of their rows."""
        if self.problems:
            raise DatasetInvalid.of(sorted(self.problems, key=_row_of))


def _row_of(problem: Problem) -> float:
    """The row that a problem is in; infinity for one of the whole file."""
    match = ROW_POINTER.match(problem.pointer)
    return inf if match is None else int(match[1])


@dataclass(frozen=True)
class Chunk:
    """Some consecutive rows of a table: text or typed values, column by column, with their line numbers."""

    rows: Ints  # (n,) 1-based line in the file for text formats, 1-based row for Parquet
    columns: dict[str, npt.NDArray[Any]]  # canonical name -> (n,) object array of str, or typed values
    decimal_comma: bool = False  # whether a text such as `1,5` is a number


class Member(NamedTuple):
    """A file in an uploaded archive."""

    name: str
    size: int  # bytes, uncompressed


class Source(Protocol):
    """An uploaded file, already opened in its format; only an archive has members."""

    format: str
    separator: str | None  # of the fields of a table of text, once it is read, where that is no comma or tab
    has_manifest: bool  # whether the archive has a manifest.jsonl

    def chunks(self) -> Iterator[Chunk]:
        """Rows of a tabular file under their canonical column names, in file order."""
        ...

    def records(self) -> Iterator[tuple[int, Json]]:
        """Objects of a JSON Lines file, or of an archive's manifest, with their 1-based line numbers."""
        ...

    def members(self) -> Iterator[Member]:
        """The archive's files in its order, all of them within the limits; without the manifest."""
        ...

    def open_member(self, name: str) -> BinaryIO:
        """The bytes of a member as a stream that cannot seek; raises `KeyError` for an unknown name.

        `read` raises `DatasetInvalid`, whose problem names the member, where its content is damaged.
        """
        ...

    def manifest(self) -> Iterator[tuple[int, Json]]:
        """Objects of the archive's manifest.jsonl with their 1-based line numbers; none without one."""
        ...

    def unlisted(self, names: Collection[str]) -> list[str]:
        """The names of members that are not among `names`, as a rule those that the manifest names."""
        ...


@dataclass(frozen=True)
class Reading:
    """The result of reading a file: arrays that are stored, a summary that is shown, and warnings."""

    arrays: Arrays
    summary: Json
    warnings: list[str] = field(default_factory=list)
    untrainable: str | None = None  # why a file that can be predicted cannot be trained on
    has_answers: bool = True  # with which predictions can be compared


def possible_answers(fields: Iterable[str], known: Collection[str]) -> list[str]:
    """Those fields of a file without answers that may hold them under another name: all but identifiers."""
    return [name for name in fields if name not in known and not IDENTIFIER.fullmatch(name)]
