"""Texts with their translations from an uploaded file."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from app.tasks.contract import Array, Arrays, Faults, Source
from app.tasks.shared import splits
from app.tasks.shared.ragged import Ragged, Texts, offsets_of
from app.tasks.shared.table_cells import shorten
from app.tasks.shared.text_checks import wrong_text
from app.typedefs import Json

SOURCE, TARGET, SPLIT = "source", "target", "split"
LEAST = 10  # pairs that training needs
EXTREME = 4.0  # times longer or shorter than as a rule
SMOOTH = 10  # characters added to both sides before their ratio is taken: short texts vary more
MANY = 0.05  # share of the pairs
SHOWN = 12  # columns that are named in a message or in warnings


@dataclass(frozen=True)
class Pairs:
    """Texts of both languages, row by row."""

    sources: Texts
    targets: Texts
    splits: npt.NDArray[np.int8]  # (rows,) codes of `splits`

    def __len__(self) -> int:
        return len(self.splits)

    def arrays(self) -> Arrays:
        """As arrays that a file can hold."""
        return {**self.sources.arrays(SOURCE), **self.targets.arrays(TARGET), "splits": self.splits}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> "Pairs":
        """The inverse of `arrays`."""
        return cls(Texts.from_arrays(arrays, SOURCE), Texts.from_arrays(arrays, TARGET), arrays["splits"])


@dataclass
class _Side:
    """One language so far."""

    texts: list[Texts] = field(default_factory=list)
    words: list[Array] = field(default_factory=list)
    characters: list[Array] = field(default_factory=list)

    def add(self, some: list[str]) -> None:
        self.texts.append(Texts.of(some))
        self.words.append(np.array([len(text.split()) for text in some]))
        self.characters.append(np.array([len(text) for text in some]))

    def whole(self) -> Texts:
        parts = [texts.ragged for texts in self.texts]
        lengths = np.concatenate([part.lengths for part in parts])
        return Texts(Ragged(np.concatenate([part.values for part in parts]), offsets_of(lengths)))

    def summary(self) -> "Json":
        """Totals, and how many words a text has."""
        words = np.concatenate(self.words)
        return {
            "characters": int(np.concatenate(self.characters).sum()),
            "words": int(words.sum()),
            "words_per_text": {
                "shortest": int(words.min()),
                "median": float(np.median(words)),
                "longest": int(words.max()),
            },
        }


@dataclass
class _Rows:
    """The rows so far."""

    source: _Side = field(default_factory=_Side)
    target: _Side = field(default_factory=_Side)
    splits: list[Array] = field(default_factory=list)
    lines: list[Array] = field(default_factory=list)
    same: list[Array] = field(default_factory=list)  # whether both texts are the same
    marks: list[Array] = field(default_factory=list)  # (rows, 2) hashes of the source and of the pair
    ignored: dict[str, None] = field(default_factory=dict)

    def add(self, lines: Array, sources: list[str], targets: list[str], codes: list[int]) -> None:
        """Take rows without fault."""
        self.source.add(sources)
        self.target.add(targets)
        self.splits.append(np.array(codes, np.int8))
        self.lines.append(lines)
        both = list(zip(sources, targets, strict=True))
        self.same.append(np.array([one == other for one, other in both]))
        self.marks.append(np.array([(hash(pair[0]), hash(pair)) for pair in both], np.int64))


def read_pairs(source: "Source", faults: "Faults") -> tuple[Pairs, "Json", list[str]]:
    """Read a data set of pairs; gives it with its summary and warnings, or raises `DatasetInvalid`."""
    rows = _Rows()
    for chunk in source.chunks():
        columns = dict(chunk.columns)
        if source.format != "jsonl":
            _check_columns(columns, faults)
        nothing: Any = [None] * len(chunk.rows)
        texts = {
            name: _read_texts(columns.pop(name, nothing), chunk.rows, name, faults)
            for name in (SOURCE, TARGET)
        }
        codes = _read_splits(columns.pop(SPLIT, nothing), chunk.rows, faults)
        rows.ignored.update(dict.fromkeys(list(columns)[:SHOWN]))
        if not faults.found:
            rows.add(chunk.rows, texts[SOURCE], texts[TARGET], codes)
    faults.check()
    if not rows.lines:
        faults.add("The file has no rows.", row=1)
    faults.check()
    pairs = Pairs(rows.source.whole(), rows.target.whole(), np.concatenate(rows.splits))
    _check_count(pairs, faults)
    return pairs, _describe(rows, pairs), _warnings(rows, pairs)


def _check_columns(columns: Iterable[str], faults: "Faults") -> None:
    for name in (SOURCE, TARGET):
        if name not in columns:
            there = ", ".join(column[:40] for column in list(columns)[:SHOWN])
            detail = f"There is no column {name!r} (the header has {there}); name it with `columns`."
            faults.add(detail, row=1, column=name)
    faults.check()


def _read_texts(values: Iterable[Any], lines: Array, column: str, faults: "Faults") -> list[str]:
    """Texts without the space around them; what is no text, or none that can be translated, is a fault."""
    found = []
    for line, value in zip(lines, values, strict=True):
        wrong = "is missing." if value is None else wrong_text(value)
        if wrong:
            faults.add(f"The {column} {wrong}", row=int(line), column=column)
        else:
            found.append(value.strip())
    return found


def _read_splits(values: Iterable[Any], lines: Array, faults: "Faults") -> list[int]:
    found = []
    for line, value in zip(lines, values, strict=True):
        code = splits.read(value, int(line), faults)
        if code is not None:
            found.append(code)
    return found


def _check_count(pairs: Pairs, faults: "Faults") -> None:
    """A few pairs must be left beside those that are held out."""
    count = int(np.isin(pairs.splits, (splits.OPEN, splits.TRAIN)).sum())
    if count < LEAST:
        outside = " outside the valid and test splits" if count < len(pairs) else ""
        faults.add(f"There are {count} pairs{outside}, too few to learn from; at least {LEAST} are needed.")
    faults.check()


def _describe(rows: _Rows, pairs: Pairs) -> "Json":
    marked = (pairs.splits != splits.OPEN).any()
    held = [pairs.splits == code for code in (splits.TRAIN, splits.VALID, splits.TEST)]
    counts = {name: int(part.sum()) for name, part in zip(splits.NAMES, held, strict=True)}
    counts["train"] += int((pairs.splits == splits.OPEN).sum())
    return {
        "pairs": len(pairs),
        SOURCE: rows.source.summary(),
        TARGET: rows.target.summary(),
        SPLIT: counts if marked else None,
    }


def _warnings(rows: _Rows, pairs: Pairs) -> list[str]:
    """What may spoil the training or the metrics."""
    lines, total = np.concatenate(rows.lines), len(pairs)
    found = [f"The column {shorten(name)} is not used." for name in list(rows.ignored)[:SHOWN]]
    same = np.concatenate(rows.same)
    if same.sum() > MANY * total:
        first = f"the first is in line {lines[same.argmax()]}"
        found.append(f"In {same.sum():,} of {total:,} pairs both texts are the same ({first}).")
    sizes = [np.concatenate(side.characters) for side in (rows.source, rows.target)]
    ratios = (sizes[1] + SMOOTH) / (sizes[0] + SMOOTH) * (sizes[0].sum() / sizes[1].sum())
    odd = (ratios > EXTREME) | (ratios < 1 / EXTREME)
    if odd.any():
        first = f"the first is in line {lines[odd.argmax()]}"
        found.append(
            f"In {odd.sum():,} of {total:,} pairs one text is over {EXTREME:g} times longer or shorter than "
            f"the other lets expect ({first}): they may be no translations of each other."
        )
    return [*found, *_repeated(np.concatenate(rows.marks), pairs.splits)]


def _repeated(marks: Array, codes: Array) -> list[str]:
    """Whether a model is tested on what it was trained on; marks are (rows, 2)."""
    training = np.isin(codes, (splits.OPEN, splits.TRAIN))
    tested = codes == splits.TEST
    if tested.any():
        known = int(np.isin(marks[tested, 0], marks[training, 0]).sum())
        told = f"{known:,} of {tested.sum():,} sources of the test split are in the training split too"
        return [f"{told}, which flatters the metrics."] if known else []
    again = int(training.sum()) - len(np.unique(marks[training, 1]))
    if again <= MANY * len(codes):
        return []
    return [f"{again:,} pairs are there more than once: some may be both trained on and tested with."]
