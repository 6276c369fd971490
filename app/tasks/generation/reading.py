"""Documents from an uploaded file: a plain text is one, and so is each line of JSON Lines."""

from collections.abc import Iterable

import numpy as np

from app.tasks.contract import Arrays, Faults, Source
from app.tasks.shared.ragged import Ragged, Texts, offsets_of
from app.tasks.shared.splits import NAMES, OPEN, TRAIN, read
from app.tasks.shared.table_cells import shorten
from app.typedefs import Json

TEXT, SPLIT = "text", "split"
FEWEST = 1_000  # characters below which nothing can be learned
SHOWN = 12  # fields that are named in a message or in warnings


def read_documents(source: "Source", faults: "Faults") -> tuple[Arrays, "Json", list[str]]:
    """Read a data set of documents; gives it with its summary and warnings, or raises `DatasetInvalid`."""
    shelf = Shelf()
    unused: dict[str, int] = {}  # field -> first line that has it
    if source.format == "txt":
        shelf.add((block for chunk in source.chunks() for block in chunk.columns[TEXT]), OPEN)
        if shelf.blank:
            faults.add("The file has no text.", row=1)
    else:
        for line, record in source.records():
            for name in sorted(record.keys() - {TEXT, SPLIT}):
                if len(unused) < SHOWN:
                    unused.setdefault(name, line)
            text, split = _read_text(record, line, faults), read(record.get(SPLIT), line, faults)
            if text is not None and split is not None:
                shelf.add([text], split)
        if not shelf.codes and not faults.found:
            faults.add("The file has no documents.", row=1)
    faults.check()
    summary = shelf.summary()
    if not summary["train_characters"]:
        faults.add("No document is for training: `split` is valid or test for all.", column=SPLIT)
        faults.check()
    return shelf.arrays(), summary, [*_warnings(summary), *_unused(unused)]


def _warnings(summary: "Json") -> list[str]:
    if summary["train_characters"] >= FEWEST:
        return []
    few = f"There are {summary['train_characters']:,} characters to train on"
    return [
        f"{few}, fewer than {FEWEST:,}: these documents can be prompts, but nothing is learned from them."
    ]


def _unused(fields: dict[str, int]) -> list[str]:
    return [f"The field {shorten(name)} (first in line {line}) is not used." for name, line in fields.items()]


class Shelf:
    """Documents so far, as UTF-8, and what is counted on the way."""

    def __init__(self) -> None:
        self.codes: list[int] = []  # the split of each document
        self.blank = True
        self._pieces: list[bytes] = []
        self._sizes: list[int] = []  # bytes of each document
        self._characters: list[int] = []  # of each document
        self._alphabet: set[str] = set()
        self._lines = 0

    def add(self, blocks: Iterable[str], split: int) -> None:
        """Take one document, which may come in pieces."""
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
        """The texts one after the other, and the split of each."""
        found = np.frombuffer(b"".join(self._pieces), np.uint8)
        texts = Texts(Ragged(found, offsets_of(np.array(self._sizes, np.int64))))
        return {**texts.arrays(TEXT), SPLIT: np.array(self.codes, np.int8)}

    def summary(self) -> "Json":
        """What is told about the data set."""
        codes, characters = np.array(self.codes), np.array(self._characters)
        codes = np.where(codes == OPEN, TRAIN, codes)
        marked = any(split != OPEN for split in self.codes)
        counts = {name: int((codes == split).sum()) for split, name in enumerate(NAMES)}
        return {
            "documents": len(codes),
            "characters": int(characters.sum()),
            "distinct_characters": len(self._alphabet),
            "bytes": sum(self._sizes),
            "lines": self._lines,
            "train_characters": int(characters[codes == TRAIN].sum()),
            "split": counts if marked else None,
        }


def _read_text(record: "Json", line: int, faults: "Faults") -> str | None:
    """The text of one line, or None and a fault."""
    text = record.get(TEXT)
    if isinstance(text, str) and (wrong := _wrong(text)) is None:
        return text
    if TEXT not in record:
        there = ", ".join(shorten(name) for name in list(record)[:SHOWN]) or "no field"
        wrong = f"There is no field 'text' (the line has {there}); name it with `columns`."
    elif not isinstance(text, str):
        wrong = f"Expected a text, got {shorten(text)}."
    faults.add(wrong or "", row=line, column=TEXT)
    return None


def _wrong(text: str) -> str | None:
    """What is wrong with a document, as a sentence."""
    if not text or text.isspace():
        return "The text is empty."
    if "\0" in text:
        return "A NUL character: this is not a text."
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"Character {error.start} is half of a surrogate pair: this is not a text."
    return None
