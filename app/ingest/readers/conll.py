"""CoNLL columns: a token a line, its tag in the last column, a blank line between sentences."""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from app.errors import DatasetInvalid, Problem, pointer
from app.ingest.readers.lines import lines
from app.ingest.readers.mapping import Mapping
from app.tasks.contract import Chunk, Faults
from app.typedefs import Json

TOKENS, TAGS = "tokens", "tags"
SENTENCES = 1_000  # a chunk
SPACE = " \t\r\n"  # others, such as the no-break space, may be part of a token
BETWEEN = re.compile(r"[ \t]+")
DOCUMENT = "-DOCSTART-"  # begins the line before a document
NUMBER = re.compile(r"[1-9][0-9]{0,3}")


class Conll:
    """Sentences with their tags; a mapping names columns by number, the first one is 1.

    Columns are separated by single tabs if the first line has one, else by spaces; every line has as many.
    """

    def __init__(self, path: Path, format_: str, mapping: Mapping, faults: Faults) -> None:
        self.format = format_
        self._path = path
        self._faults = faults
        self._chosen = _chosen(mapping)
        self._tabs = False
        self._width = 0  # columns of the first line, and so of every line

    def records(self) -> Iterator[tuple[int, Json]]:
        """Give each sentence with the number of its first line; each token is on a line of its own."""
        first, tokens, tags = 0, list[str](), list[str]()
        for number, line in enumerate(lines(self._path, self._faults), 1):
            content = line.strip(SPACE)
            if content and not content.startswith(DOCUMENT):
                token, tag = self._read(number, line)
                first = first or number
                tokens.append(token)
                tags.append(tag)
            elif tokens:
                yield first, {TOKENS: tokens, TAGS: tags}
                first, tokens, tags = 0, [], []
        if tokens:
            yield first, {TOKENS: tokens, TAGS: tags}

    def chunks(self) -> Iterator[Chunk]:
        """Give some sentences at a time, as columns of lists."""
        records = self.records()
        while some := list(islice(records, SENTENCES)):
            columns = {name: np.empty(len(some), object) for name in (TOKENS, TAGS)}
            for at, (_, record) in enumerate(some):
                for name, value in record.items():
                    columns[name][at] = value
            yield Chunk(np.array([number for number, _ in some]), columns)

    def _read(self, number: int, line: str) -> tuple[str, str]:
        """The token and the tag of a line; any other two if it is faulty."""
        if not self._width:
            self._begin(number, line)
        if self._tabs:
            cells = [cell.strip(" ") for cell in line.rstrip("\r\n").split("\t")]
        else:
            cells = BETWEEN.split(line.strip(SPACE))
        if len(cells) == self._width:
            return cells[self._chosen[TOKENS]], cells[self._chosen[TAGS]]
        by = "tabs" if self._tabs else "spaces"
        detail = f"Expected {self._width} columns separated by {by}, as in the first line, got {len(cells)}."
        self._faults.add(detail, row=number)
        return "-", "-"

    def _begin(self, number: int, line: str) -> None:
        """Learn from the first line how many columns there are, and what separates them."""
        self._tabs = "\t" in line.strip(SPACE)
        cells = line.rstrip("\r\n").split("\t") if self._tabs else BETWEEN.split(line.strip(SPACE))
        self._width = len(cells)
        if self._width == 1:
            detail = "Expected a token and its tag, separated by a space or a tab, got one column."
            self._faults.add(detail, row=number)
            self._faults.check()
        wrong = [
            Problem(pointer("columns", name), f"The file has {self._width} columns, not {place + 1}.")
            for name, place in self._chosen.items()
            if place >= self._width
        ]
        if wrong:
            raise DatasetInvalid(f"The file cannot be used: {wrong[0].detail}", wrong)


def _chosen(mapping: Mapping) -> dict[str, int]:
    """Where the token and the tag are; -1 is the last column."""
    found, problems = {TOKENS: 0, TAGS: -1}, []
    for name, column in mapping.columns.items():
        if name not in found:
            detail = f"CoNLL columns have no {name!r}; JSON Lines may have."
            problems.append(Problem(pointer("columns", name), detail))
        elif not NUMBER.fullmatch(column):
            detail = (
                f"CoNLL columns have no names: give a number, 1 is the first column; not {column[:40]!r}."
            )
            problems.append(Problem(pointer("columns", name), detail))
        else:
            found[name] = int(column) - 1
    if problems:
        raise DatasetInvalid(f"The file cannot be used: {problems[0].detail}", problems)
    return found
