"""CoNLL columns: a token a line, its tag in the last column, a blank line between sentences."""

import re
from collections.abc import Iterator
from pathlib import Path

from app.errors import DatasetInvalid, Problem, pointer
from app.ingest.readers.chunks import as_chunks
from app.ingest.readers.lines import read_lines
from app.ingest.readers.mapping import Mapping
from app.ingest.readers.single_file import SingleFile
from app.tasks.source import Chunk, Faults
from app.typedefs import Json

TOKENS, TAGS = "tokens", "tags"
SPACE = " \t\r\n"  # others, such as the no-break space, may be part of a token
SPACES = re.compile(r"[ \t]+")  # between two columns
DOCUMENT_MARK = "-DOCSTART-"  # begins the line before a document
COLUMN_NUMBER = re.compile(r"[1-9][0-9]{0,3}")


class Conll(SingleFile):
    """Sentences with their tags; a mapping names columns by number, the first one is 1.

    Columns are separated by single tabs if the first line has one, else by spaces; every line must have as
    many columns as the first.
    """

    def __init__(self, path: Path, format_: str, mapping: Mapping, faults: Faults) -> None:
        self.format = format_
        self._path = path
        self._faults = faults
        self._columns = _column_indices(mapping)
        self._has_tabs = False
        self._width = 0  # columns of the first line, and so of every line

    def records(self) -> Iterator[tuple[int, Json]]:
        """Yield each sentence with the number of its first line; each token is on a line of its own."""
        first, tokens, tags = 0, list[str](), list[str]()
        with self._path.open("rb") as file:
            for number, line in enumerate(read_lines(file, self._faults), 1):
                content = line.strip(SPACE)
                if content and not content.startswith(DOCUMENT_MARK):
                    token, tag = self._parse_line(number, line)
                    first = first or number
                    tokens.append(token)
                    tags.append(tag)
                elif tokens:
                    yield first, {TOKENS: tokens, TAGS: tags}
                    first, tokens, tags = 0, [], []
        if tokens:
            yield first, {TOKENS: tokens, TAGS: tags}

    def chunks(self) -> Iterator[Chunk]:
        """Yield some sentences at a time, as columns of lists."""
        return as_chunks(self.records())

    def _parse_line(self, number: int, line: str) -> tuple[str, str]:
        """The token and the tag of a line; placeholders if the line is faulty."""
        if not self._width:
            self._detect_layout(number, line)
        if self._has_tabs:
            cells = [cell.strip(" ") for cell in line.rstrip("\r\n").split("\t")]
        else:
            cells = SPACES.split(line.strip(SPACE))
        if len(cells) == self._width:
            return cells[self._columns[TOKENS]], cells[self._columns[TAGS]]
        separator = "tabs" if self._has_tabs else "spaces"
        expected = f"Expected {self._width} columns separated by {separator}, as in the first line"
        self._faults.add(f"{expected}, got {len(cells)}.", row=number)
        return "-", "-"

    def _detect_layout(self, number: int, line: str) -> None:
        """Take the number of columns, and what separates them, from the first line."""
        self._has_tabs = "\t" in line.strip(SPACE)
        cells = line.rstrip("\r\n").split("\t") if self._has_tabs else SPACES.split(line.strip(SPACE))
        self._width = len(cells)
        if self._width == 1:
            detail = "Expected a token and its tag, separated by a space or a tab, got one column."
            self._faults.add(detail, row=number)
            self._faults.check()
        problems = [
            Problem(pointer("columns", name), f"The file has {self._width} columns, not {index + 1}.")
            for name, index in self._columns.items()
            if index >= self._width
        ]
        if problems:
            raise DatasetInvalid.of(problems)


def _column_indices(mapping: Mapping) -> dict[str, int]:
    """The column of the token and that of the tag, from 0; -1 is the last column."""
    indices, problems = {TOKENS: 0, TAGS: -1}, []
    for name, column in mapping.columns.items():
        if name not in indices:
            detail = f"CoNLL columns have no {name!r}; JSON Lines may have."
            problems.append(Problem(pointer("columns", name), detail))
        elif not COLUMN_NUMBER.fullmatch(column):
            detail = (
                f"CoNLL columns have no names: give a number, 1 is the first column; not {column[:40]!r}."
            )
            problems.append(Problem(pointer("columns", name), detail))
        else:
            indices[name] = int(column) - 1
    if problems:
        raise DatasetInvalid.of(problems)
    return indices
