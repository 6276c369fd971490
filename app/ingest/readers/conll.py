"""CoNLL columns: a token a line, its tag in the last column, a blank line between sentences; CoNLL-U too."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from app.errors import DatasetInvalid, Problem, pointer
from app.ingest.readers.chunks import as_chunks
from app.ingest.readers.compressed import open_content
from app.ingest.readers.lines import read_lines
from app.ingest.readers.mapping import Mapping
from app.ingest.readers.single_file import SingleFile
from app.tasks.source import TOKEN_LINES, Chunk, Faults
from app.typedefs import Json

TOKENS, TAGS = "tokens", "tags"
SPACE = " \t\r\n"  # others, such as the no-break space, may be part of a token
SPACES = re.compile(r"[ \t]+")  # between two columns
DOCUMENT_MARK = "-DOCSTART-"  # begins the line before a document
COLUMN_NUMBER = re.compile(r"[1-9][0-9]{0,3}")
OTHER_TABLE = re.compile(r"\w*[^\W\d]\w*[,;|]\w")  # a line of a table that is no CoNLL
# Lines before a sentence that are comments in every dialect; `#` may also be a token.
COMMENT = re.compile(r"#\s*([\w.:-]+\s*=|id\s|newdoc\b|newpar\b|begin document\b|end document\b)")
# CoNLL-U, https://universaldependencies.org/format.html; CoNLL-X has its columns in the same places.
UD_COLUMNS = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
FIRST_ID = re.compile(r"0\.1|1|1-[0-9]+")  # of a sentence
LATER_ID = re.compile(r"1(\.1)?|2(-[0-9]+)?")  # of the line behind it
NO_WORD = re.compile(r"[0-9]+[-.][0-9]+")  # the ID of a range of words, or of an empty node
GLOBAL_COLUMNS = re.compile(r"#\s*global\.columns\s*=\s*(.*)")
UNSPECIFIED = "_"


class Conll(SingleFile):
    """Sentences with their tags; a mapping names columns by number, the first one is 1, or as CoNLL-U does.

    Columns are separated by single tabs if the first line has one, else by spaces; every line must have as
    many columns as the first. Lines with an ID in the first column are read as CoNLL-U: ranges and empty
    nodes are skipped, the token is FORM and the tag UPOS, or else the last column. There are no tags in a
    file of one column, and in sentences of CoNLL-U in which all of them are `_`.
    """

    def __init__(self, path: Path, format_: str, mapping: Mapping, faults: Faults) -> None:
        self.format = format_
        self._path = path
        self._faults = faults
        self._mapping = mapping
        self._layout = _Layout(has_tabs=False, has_ids=False, columns=())
        self._indices: dict[str, int] = {}  # of the columns of token and tag

    def records(self) -> Iterator[tuple[int, Json]]:
        """Yield each sentence with the number of its first line.

        Each token is on a line of its own: one behind the other, or those in `TOKEN_LINES`.
        """
        with open_content(self._path) as file:
            first = detect_layout(enumerate(read_lines(file, self._faults), 1))
        if first is None:
            return
        number, self._layout = first
        self._choose_columns(number)
        sentence: list[tuple[int, str, str]] = []
        with open_content(self._path) as file:
            for number, line in enumerate(read_lines(file, self._faults), 1):
                content = line.strip(SPACE)
                if not content or content.startswith(DOCUMENT_MARK):
                    if sentence:
                        yield self._record(sentence)
                    sentence = []
                elif (sentence or not self._layout.is_comment(content)) and (
                    token := self._parse_line(number, line)
                ):
                    sentence.append((number, *token))
        if sentence:
            yield self._record(sentence)

    def chunks(self) -> Iterator[Chunk]:
        """Yield some sentences at a time, as columns of lists."""
        return as_chunks(self.records())

    def _record(self, sentence: list[tuple[int, str, str]]) -> tuple[int, Json]:
        lines = [line for line, _, _ in sentence]
        tags = [tag for _, _, tag in sentence]
        record: Json = {TOKENS: [token for _, token, _ in sentence]}
        if TAGS in self._indices and not (self._layout.has_ids and set(tags) == {UNSPECIFIED}):
            record[TAGS] = tags
        if lines[-1] - lines[0] >= len(lines):
            record[TOKEN_LINES] = lines
        return lines[0], record

    def _parse_line(self, number: int, line: str) -> tuple[str, str] | None:
        """The token and the tag of a line; placeholders if the line is faulty, None if it has no word."""
        cells, layout = self._layout.cells(line), self._layout
        if layout.has_ids and NO_WORD.fullmatch(cells[0]):
            return None
        if len(cells) == layout.width:
            return cells[self._indices[TOKENS]], cells[self._indices.get(TAGS, 0)]
        separator = "tabs" if layout.has_tabs else "spaces"
        columns = f"{layout.width} columns separated by {separator}" if layout.width > 1 else "one column"
        self._faults.add(f"Expected {columns}, as in the first line, got {len(cells)}.", row=number)
        return "-", "-"

    def _choose_columns(self, number: int) -> None:
        """Find the columns of token and tag; `number` is the first line with a token."""
        layout, problems = self._layout, []
        if layout.width == 1 and OTHER_TABLE.match(layout.first):
            detail = "Expected a token and its tag, separated by a space or a tab, got one column."
            self._faults.add(detail, row=number)
            self._faults.check()
        self._indices = layout.default_indices()
        for name, column in self._mapping.columns.items():
            try:
                self._indices[name] = layout.index(name, column)
            except ValueError as error:
                problems.append(Problem(pointer("columns", name), str(error)))
        if problems:
            raise DatasetInvalid.of(problems)


@dataclass(frozen=True)
class _Layout:
    """How a file is laid out, by its first lines."""

    has_tabs: bool
    has_ids: bool  # the first column numbers the words of a sentence, as CoNLL-U does
    columns: tuple[str, ...]  # names; empty texts where the file has none
    first: str = ""  # the first line with a token

    @property
    def width(self) -> int:
        """The number of columns."""
        return len(self.columns)

    def cells(self, line: str) -> list[str]:
        """The cells of a line."""
        return _cells(line, has_tabs=self.has_tabs)

    def is_comment(self, content: str) -> bool:
        """Whether a line before a sentence is a comment; with IDs, each line with `#` is."""
        return content.startswith("#") and (self.has_ids or bool(COMMENT.match(content)))

    def default_indices(self) -> dict[str, int]:
        """The columns of token and tag where the caller names none."""
        tokens = self.columns.index("FORM") if "FORM" in self.columns else int(self.has_ids)
        if self.width == 1:
            return {TOKENS: tokens}
        return {
            TOKENS: tokens,
            TAGS: self.columns.index("UPOS") if "UPOS" in self.columns else self.width - 1,
        }

    def index(self, name: str, column: str) -> int:
        """The index of a column that the caller gives by number or name; raises `ValueError`."""
        if name not in (TOKENS, TAGS):
            raise ValueError(f"CoNLL columns have no {name!r}; JSON Lines may have.")
        if column.upper() in self.columns and column:
            return self.columns.index(column.upper())
        if not COLUMN_NUMBER.fullmatch(column):
            has = f"CoNLL columns have no names, but for those of CoNLL-U, {', '.join(UD_COLUMNS)}"
            raise ValueError(f"{has}: give a number, 1 is the first column; not {column[:40]!r}.")
        if int(column) > self.width:
            raise ValueError(f"The file has {self.width} columns, not {column}.")
        return int(column) - 1


def detect_layout(lines: Iterable[tuple[int, str]]) -> tuple[int, _Layout] | None:
    """The layout of a file with the number of its first line with a token; None if it has no such line."""
    named: list[str] = []  # columns of CoNLL-U Plus
    marked: tuple[int, str] | None = None  # the first line that begins with # and may be a token
    first: tuple[int, str] | None = None
    following = ""
    for number, line in lines:
        content = line.strip(SPACE)
        if first is not None:
            following = content
            break
        if match := GLOBAL_COLUMNS.match(content):
            named = match[1].upper().split()
        elif content.startswith("#"):
            marked = marked or (None if COMMENT.match(content) else (number, line))
        elif content and not content.startswith(DOCUMENT_MARK):
            first = (number, line)
    layout = None if first is None else _layout(first[1], following, named)
    if layout is None or (marked is not None and not layout.has_ids):
        first = marked or first
        layout = None if first is None else _layout(first[1], "", named)
    return None if first is None or layout is None else (first[0], layout)


def _layout(line: str, following: str, named: list[str]) -> _Layout:
    """The layout that a line with a token, the line behind it and the names in a comment show."""
    has_tabs = "\t" in line.strip(SPACE)
    cells = _cells(line, has_tabs=has_tabs)
    is_first = FIRST_ID.fullmatch(cells[0])
    names = [""] * len(cells)
    if len(named) == len(cells):
        names = named
    elif len(cells) == len(UD_COLUMNS) and is_first:
        names = list(UD_COLUMNS)
    counts = len(cells) > 2 and is_first and LATER_ID.fullmatch(_cells(following, has_tabs=has_tabs)[0])
    return _Layout(has_tabs, names[0] == "ID" or bool(counts), tuple(names), line.strip(SPACE))


def _cells(line: str, *, has_tabs: bool) -> list[str]:
    if has_tabs:
        return [cell.strip(" ") for cell in line.rstrip("\r\n").split("\t")]
    return SPACES.split(line.strip(SPACE))
