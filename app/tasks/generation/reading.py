"""Reads documents from an uploaded file: a plain text is one document, and so is each line of JSON Lines."""

from collections.abc import Iterable

import numpy as np

from app.arrays import Arrays
from app.tasks.shared.ragged import Ragged, Texts, offsets_of
from app.tasks.shared.splits import SPLIT, SPLIT_NAMES, TRAIN, UNASSIGNED, read_split
from app.tasks.shared.table_cells import MAX_FIELDS_SHOWN, shorten
from app.tasks.shared.text_checks import TEXT
from app.tasks.source import Faults, Source
from app.typedefs import Json

MIN_TRAIN_CHARS = 1_000  # with fewer characters nothing can be learned


class GenerationReader:
    """Collects the documents of a file as UTF-8, and counts what the summary reports."""

    def __init__(self) -> None:
        self.codes: list[int] = []  # the split of each document
        self.blank = True  # whether all text so far is white space
        self._pieces: list[bytes] = []
        self._sizes: list[int] = []  # bytes of each document
        self._characters: list[int] = []  # of each document
        self._alphabet: set[str] = set()
        self._lines = 0

    def add_document(self, blocks: Iterable[str], split: int) -> None:
        """Add one document, which may come in blocks."""
        size = characters = 0
        last = "\n"
        for block in blocks:
            encoded = block.encode()
            self._pieces.append(encoded)
            size, characters = size + len(encoded), characters + len(block)
            self._alphabet.update(block)
            self._lines += block.count("\n")
            self.blank = self.blank and (not block or block.isspace())
            last = block[-1:] or last
        self._lines += last != "\n"
        self._sizes.append(size)
        self._characters.append(characters)
        self.codes.append(split)

    def arrays(self) -> Arrays:
        """The arrays of the data set: the texts one after the other, and the split of each."""
        encoded = np.frombuffer(b"".join(self._pieces), np.uint8)
        texts = Texts(Ragged(encoded, offsets_of(np.array(self._sizes, np.int64))))
        return {**texts.arrays(TEXT), SPLIT: np.array(self.codes, np.int8)}

    def summary(self) -> Json:
        """The summary of the data set."""
        codes, characters = np.array(self.codes), np.array(self._characters)
        codes = np.where(codes == UNASSIGNED, TRAIN, codes)
        assigned = any(split != UNASSIGNED for split in self.codes)
        counts = {name: int((codes == split).sum()) for split, name in enumerate(SPLIT_NAMES)}
        return {
            "documents": len(codes),
            "characters": int(characters.sum()),
            "distinct_characters": len(self._alphabet),
            "bytes": sum(self._sizes),
            "lines": self._lines,
            "train_characters": int(characters[codes == TRAIN].sum()),
            "split": counts if assigned else None,
        }


def read_documents(source: Source, faults: Faults) -> tuple[Arrays, Json, list[str]]:
    """Read a data set; returns arrays, summary and warnings, or raises `DatasetInvalid`."""
    reader = GenerationReader()
    unused: dict[str, int] = {}  # field -> first line that has it
    if source.format == "txt":
        blocks = (block for chunk in source.chunks() for block in chunk.columns[TEXT])
        reader.add_document(blocks, UNASSIGNED)
        if reader.blank:
            faults.add("The file has no text.", row=1)
    else:
        unused = _read_records(source, reader, faults)
    faults.check()
    summary = reader.summary()
    return reader.arrays(), summary, _unused_field_warnings(unused)


def _read_records(source: Source, reader: GenerationReader, faults: Faults) -> dict[str, int]:
    """Add a document for each line of JSON Lines; returns unused fields with the first line of each."""
    unused: dict[str, int] = {}
    for line, record in source.records():
        if not reader.codes and not faults.problems and TEXT not in record:
            faults.stop_without(TEXT, record, line)
        for name in sorted(record.keys() - {TEXT, SPLIT}):
            if len(unused) < MAX_FIELDS_SHOWN:
                unused.setdefault(name, line)
        text, split = _read_text(record, line, faults), read_split(record.get(SPLIT), line, faults)
        if text is not None and split is not None:
            reader.add_document([text], split)
    if not reader.codes and not faults.problems:
        faults.add("The file has no documents.", row=1)
    return unused


def untrainable(summary: Json) -> str | None:
    """Why a data set with this summary cannot be trained on, if so."""
    if summary["train_characters"] >= MIN_TRAIN_CHARS:
        return None
    return (
        f"There are {summary['train_characters']:,} characters to train on, fewer than {MIN_TRAIN_CHARS:,}."
    )


def _unused_field_warnings(fields: dict[str, int]) -> list[str]:
    return [f"The field {shorten(name)} (first in line {line}) is not used." for name, line in fields.items()]


def _read_text(record: Json, line: int, faults: Faults) -> str | None:
    """The text of one line; None if it has none that can be used, which is reported as a fault."""
    text = record.get(TEXT)
    if isinstance(text, str) and (problem := _text_problem(text)) is None:
        return text
    if TEXT not in record:
        fields = ", ".join(shorten(name) for name in list(record)[:MAX_FIELDS_SHOWN]) or "no field"
        problem = f"There is no field 'text' (the line has {fields}); name it with `columns`."
    elif not isinstance(text, str):
        problem = f"Expected a text, got {shorten(text)}."
    faults.add(problem or "", row=line, column=TEXT)
    return None


def _text_problem(text: str) -> str | None:
    """A sentence that says what is wrong with a document, if anything."""
    if not text or text.isspace():
        return "The text is empty."
    if "\0" in text:
        return "A NUL character: this is not a text."
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"Character {error.start} is half of a surrogate pair: this is not a text."
    return None
