"""Reads pairs of a text and its translation from an uploaded file."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from app.arrays import Array, Arrays
from app.tasks.shared import splits
from app.tasks.shared.ragged import Ragged, Texts
from app.tasks.shared.splits import SPLIT
from app.tasks.shared.table_cells import MAX_FIELDS_SHOWN, shorten
from app.tasks.shared.text_checks import text_problem
from app.tasks.source import Faults, Reading, Source, possible_answers
from app.typedefs import Json

SOURCE, TARGET = "source", "target"
MIN_TRAIN_PAIRS = 10
MAX_LENGTH_RATIO = 4.0  # between two texts, relative to all texts; pairs beyond it cause a warning
SMOOTHING_CHARS = 10  # added to both lengths before their ratio is taken: short texts vary more
MAX_SUSPICIOUS_SHARE = 0.05  # of equal texts, or of repeated pairs; more cause a warning


@dataclass(frozen=True)
class Pairs:
    """Texts of both languages, row by row."""

    sources: Texts
    targets: Texts
    splits: npt.NDArray[np.int8]  # (rows,) codes of `splits`

    def __len__(self) -> int:
        return len(self.splits)

    def arrays(self) -> Arrays:
        """The arrays of the data set."""
        return {**self.sources.arrays(SOURCE), **self.targets.arrays(TARGET), "splits": self.splits}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> "Pairs":
        """The inverse of `arrays`."""
        return cls(Texts.from_arrays(arrays, SOURCE), Texts.from_arrays(arrays, TARGET), arrays["splits"])


@dataclass
class _SideReader:
    """Collects the texts of one language, chunk by chunk."""

    chunks: list[Ragged] = field(default_factory=list)  # UTF-8
    words: list[Array] = field(default_factory=list)  # of each text
    characters: list[Array] = field(default_factory=list)  # of each text

    def add(self, texts: list[str]) -> None:
        self.chunks.append(Texts.of(texts).ragged)
        self.words.append(np.array([len(text.split()) for text in texts]))
        self.characters.append(np.array([len(text) for text in texts]))

    def texts(self) -> Texts:
        return Texts(Ragged.concatenate(self.chunks))

    def summary(self) -> Json:
        """Totals, and the number of words per text."""
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
class TranslationReader:
    """Collects the pairs of a file, chunk by chunk, and what the warnings need."""

    source: _SideReader = field(default_factory=_SideReader)
    target: _SideReader = field(default_factory=_SideReader)
    splits: list[Array] = field(default_factory=list)
    lines: list[Array] = field(default_factory=list)  # in the file
    equal: list[Array] = field(default_factory=list)  # whether both texts of a pair are the same
    hashes: list[Array] = field(default_factory=list)  # (rows, 2) of the source and of the pair
    unused: dict[str, None] = field(default_factory=dict)  # columns, in order

    def add_rows(self, lines: Array, sources: list[str], targets: list[str], codes: list[int]) -> None:
        """Add rows without faults."""
        self.source.add(sources)
        self.target.add(targets)
        self.splits.append(np.array(codes, np.int8))
        self.lines.append(lines)
        pairs = list(zip(sources, targets, strict=True))
        self.equal.append(np.array([source == target for source, target in pairs]))
        self.hashes.append(np.array([(hash(pair[0]), hash(pair)) for pair in pairs], np.int64))


def read_pairs(source: Source, faults: Faults) -> tuple[Pairs, Reading]:
    """Read a data set, with or without targets; raises `DatasetInvalid`."""
    reader, has_targets = TranslationReader(), False
    for index, chunk in enumerate(source.chunks()):
        columns = dict(chunk.columns)
        if not index:
            has_targets = _check_columns(
                columns, int(chunk.rows[0]) if source.format == "jsonl" else 1, faults
            )
        missing: Any = [None] * len(chunk.rows)
        sources, targets = columns.pop(SOURCE, missing), columns.pop(TARGET, missing)
        if not has_targets and any(map(has_words, targets)):
            faults.add("Some rows before have no target.", row=int(chunk.rows[0]), column=TARGET)
        texts = {SOURCE: _read_texts(sources, chunk.rows, SOURCE, faults, may_be_blank=not has_targets)}
        texts[TARGET] = (
            _read_texts(targets, chunk.rows, TARGET, faults) if has_targets else [""] * len(chunk.rows)
        )
        codes = _read_splits(columns.pop(SPLIT, missing), chunk.rows, faults)
        reader.unused.update(dict.fromkeys(list(columns)[:MAX_FIELDS_SHOWN]))
        if not faults.problems:
            reader.add_rows(chunk.rows, texts[SOURCE], texts[TARGET], codes)
    faults.check()
    if not reader.lines:
        faults.add("The file has no rows.", row=1)
    faults.check()
    pairs = Pairs(reader.source.texts(), reader.target.texts(), np.concatenate(reader.splits))
    untrainable = _too_few(pairs) if has_targets else "The sources have no targets."
    warnings = _warnings(reader, pairs, has_targets=has_targets)
    return pairs, Reading(pairs.arrays(), _summary(reader, pairs), warnings, untrainable, has_targets)


def _check_columns(columns: Mapping[str, Iterable[Any]], row: int, faults: Faults) -> bool:
    """Whether there are targets, by the first rows; raises `DatasetInvalid` if a column seems misnamed."""
    if SOURCE not in columns:
        faults.stop_without(SOURCE, columns, row)
    if any(map(has_words, columns.get(TARGET, ()))):
        return True
    if TARGET not in columns and possible_answers(columns, (SOURCE, SPLIT)):
        faults.stop_without(TARGET, columns, row)
    return False


def has_words(value: object) -> bool:
    """Whether a cell is more than a missing or blank text."""
    return value is not None and not (isinstance(value, str) and not value.strip())


def _read_texts(
    values: Iterable[Any], lines: Array, column: str, faults: Faults, *, may_be_blank: bool = False
) -> list[str]:
    """Texts without the space around them; values that are no usable texts are faults."""
    texts = []
    for line, value in zip(lines, values, strict=True):
        if may_be_blank and isinstance(value, str) and not value.strip():
            texts.append("")
            continue
        problem = "is missing." if value is None else text_problem(value)
        if problem:
            faults.add(f"The {column} {problem}", row=int(line), column=column)
        else:
            texts.append(value.strip())
    return texts


def _read_splits(values: Iterable[Any], lines: Array, faults: Faults) -> list[int]:
    codes = [splits.read_split(value, int(line), faults) for line, value in zip(lines, values, strict=True)]
    return [code for code in codes if code is not None]


def _too_few(pairs: Pairs) -> str | None:
    """Why the pairs cannot be trained on, if so."""
    count = int(np.isin(pairs.splits, splits.TRAINING_CODES).sum())
    if count >= MIN_TRAIN_PAIRS:
        return None
    outside = " outside the valid and test splits" if count < len(pairs) else ""
    few = f"There {'is 1 pair' if count == 1 else f'are {count} pairs'}{outside}, too few to learn from"
    return f"{few}; at least {MIN_TRAIN_PAIRS} are needed."


def _summary(reader: TranslationReader, pairs: Pairs) -> Json:
    assigned = (pairs.splits != splits.UNASSIGNED).any()
    counts = {name: int((pairs.splits == code).sum()) for code, name in enumerate(splits.SPLIT_NAMES)}
    counts["train"] += int((pairs.splits == splits.UNASSIGNED).sum())
    return {
        "pairs": len(pairs),
        SOURCE: reader.source.summary(),
        TARGET: reader.target.summary(),
        SPLIT: counts if assigned else None,
    }


def _warnings(reader: TranslationReader, pairs: Pairs, *, has_targets: bool) -> list[str]:
    """Warnings of what may spoil the training or the metrics."""
    lines, total = np.concatenate(reader.lines), len(pairs)
    warnings = [f"The column {shorten(name)} is not used." for name in list(reader.unused)[:MAX_FIELDS_SHOWN]]
    if not has_targets:
        return warnings
    equal = np.concatenate(reader.equal)
    if equal.sum() > MAX_SUSPICIOUS_SHARE * total:
        first = f"the first is in line {lines[equal.argmax()]}"
        warnings.append(f"In {equal.sum():,} of {total:,} pairs both texts are the same ({first}).")
    source_chars, target_chars = (np.concatenate(side.characters) for side in (reader.source, reader.target))
    ratios = (target_chars + SMOOTHING_CHARS) / (source_chars + SMOOTHING_CHARS)
    ratios = ratios * (source_chars.sum() / target_chars.sum())
    unlike = (ratios > MAX_LENGTH_RATIO) | (ratios < 1 / MAX_LENGTH_RATIO)
    if unlike.any():
        first = f"the first is in line {lines[unlike.argmax()]}"
        warnings.append(
            f"In {unlike.sum():,} of {total:,} pairs one text is over {MAX_LENGTH_RATIO:g} times longer or "
            f"shorter than the other lets expect ({first}): they may be no translations of each other."
        )
    return [*warnings, *_repetition_warnings(np.concatenate(reader.hashes), pairs.splits)]


def _repetition_warnings(hashes: Array, codes: Array) -> list[str]:
    """A warning if a model may be tested on pairs it was trained on; hashes are (rows, 2)."""
    training = np.isin(codes, splits.TRAINING_CODES)
    tested = codes == splits.TEST
    if tested.any():
        known = int(np.isin(hashes[tested, 0], hashes[training, 0]).sum())
        both = f"{known:,} of {tested.sum():,} sources of the test split are in the training split too"
        return [f"{both}, which flatters the metrics."] if known else []
    repeated = int(training.sum()) - len(np.unique(hashes[training, 1]))
    if repeated <= MAX_SUSPICIOUS_SHARE * len(codes):
        return []
    return [f"{repeated:,} pairs occur more than once: some may be both trained on and tested with."]
