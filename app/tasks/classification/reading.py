"""Labelled examples from an uploaded file: texts, or sequences of sensor readings."""

from collections import Counter
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from app.tasks.contract import Arrays, Faults, Source
from app.tasks.shared import splits
from app.tasks.shared.ragged import Ragged, Texts
from app.tasks.shared.table_cells import shorten
from app.tasks.shared.text_checks import wrong_text
from app.typedefs import Json

TEXT, VALUES, LABEL, SPLIT = "text", "values", "label", "split"
MOST_LABELS = 1_000
MOST_STEPS, MOST_CHANNELS = 100_000, 4_096
TRAINING = (splits.OPEN, splits.TRAIN)
DRAWN = 3  # examples of a label, of which validation and test take two at most where they are drawn
FEWEST = 5  # examples of a label, below which there is a warning
UNEVEN = 20  # times as many examples of one label as of another, likewise
SHOWN = 100  # labels in a summary
NUMBERS = {int, float}
LARGEST = float(np.finfo(np.float32).max)


class Shelf:
    """Examples so far; the first one says whether they are texts or values."""

    def __init__(self, faults: "Faults") -> None:
        self._faults = faults
        self.kind: str | None = None
        self.texts: list[str] = []
        self.sequences: list[npt.NDArray[np.float32]] = []
        self.labels: list[str] = []
        self.codes: list[int] = []
        self.rows: list[int] = []  # where each example stands in the file

    def add(self, row: int, record: "Json") -> None:
        """Take one example, or note what is wrong with it."""
        kinds = [name for name in (TEXT, VALUES) if record.get(name) is not None]
        if len(kinds) != 1:
            told = "has both a text and values" if kinds else "has neither a text nor values"
            self._faults.add(f"The example {told}.", row=row, column=kinds[0] if kinds else None)
            return
        (kind,) = kinds
        self.kind = self.kind or kind
        if kind != self.kind:
            self._faults.add(
                f"This file has {self.kind}; an example with {kind} is mixed in.", row=row, column=kind
            )
            return
        label, code = self._label(row, record.get(LABEL)), splits.read(record.get(SPLIT), row, self._faults)
        taken = self._text(row, record[kind]) if kind == TEXT else self._values(row, record[kind])
        if taken and label is not None and code is not None:
            self.labels.append(label)
            self.codes.append(code)
            self.rows.append(row)

    def _label(self, row: int, value: object) -> str | None:
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
            return str(int(value))  # numbers of a Parquet column with gaps are floats
        wrong = "is missing." if value is None else wrong_text(value)
        if wrong:
            self._faults.add(f"The label {wrong}", row=row, column=LABEL)
            return None
        return str(value).strip()

    def _text(self, row: int, value: object) -> bool:
        wrong = wrong_text(value)
        if wrong:
            self._faults.add(f"The text {wrong}", row=row, column=TEXT)
            return False
        self.texts.append(str(value))
        return True

    def _values(self, row: int, value: object) -> bool:
        found = read_values(value, self.sequences[0].shape[1] if self.sequences else None)
        if isinstance(found, str):
            self._faults.add(found, row=row, column=VALUES)
            return False
        self.sequences.append(found)
        return True


def read_values(value: object, channels: int | None) -> npt.NDArray[np.float32] | str:
    """Readings (time, channels) from nested lists, or a sentence about what is wrong with them."""
    if not isinstance(value, list) or not value:
        return "The values are no list of steps, or an empty one."
    if len(value) > MOST_STEPS:
        return f"There are {len(value):,} steps; at most {MOST_STEPS:,} are read."
    width = channels or (len(value[0]) if isinstance(value[0], list) else 0)
    if width > MOST_CHANNELS:
        return f"There are {width:,} channels; at most {MOST_CHANNELS:,} are read."
    wrong = next((told for step, one in enumerate(value, 1) if (told := _wrong(step, one, width))), None)
    if wrong:
        return wrong
    try:
        found = np.array(value, np.float64)  # (time, channels)
    except OverflowError:
        found = np.array([[one if abs(one) < LARGEST else np.inf for one in step] for step in value])
    odd = np.flatnonzero(~(np.abs(found) < LARGEST).all(axis=1))  # NaN is not less either
    if len(odd):
        return f"Step {odd[0] + 1} has a reading that is not finite, or too large."
    return found.astype(np.float32)


def _wrong(step: int, readings: object, width: int) -> str | None:
    """What is wrong with one step."""
    if not isinstance(readings, list) or not readings:
        return f"Step {step} is no list of readings, or an empty one."
    if len(readings) != width:
        return f"Step {step} has {len(readings)} channels, expected {width}."
    odd = [one for one in readings if type(one) not in NUMBERS]
    return f"Step {step} has {shorten(odd[0])}, which is no number." if odd else None


def read_labelled(source: "Source", faults: "Faults") -> tuple[Arrays, "Json", list[str]]:
    """Read a data set; gives it with its summary and warnings, or raises `DatasetInvalid`."""
    shelf, unused = Shelf(faults), dict[str, int]()
    for row, record in source.records():
        for name in record.keys() - {TEXT, VALUES, LABEL, SPLIT}:
            unused.setdefault(name, row)
        shelf.add(row, record)
    faults.check()
    counts, learned = Counter(shelf.labels), _trained(shelf.labels, shelf.codes)
    least = 1 if {splits.VALID, splits.TEST} <= set(shelf.codes) else DRAWN
    if not counts:
        faults.add("The file has no examples.", row=1)
    elif len(counts) < 2:
        faults.add(
            f"Every example is labelled {shorten(shelf.labels[0])}: nothing is to be told apart.",
            column=LABEL,
        )
    elif len(counts) > MOST_LABELS:
        faults.add(
            f"There are {len(counts):,} labels; at most {MOST_LABELS:,} can be told apart.", column=LABEL
        )
    elif len(learned) < 2:
        faults.add("The examples for training have fewer than two labels.", column=SPLIT)
    elif len(shelf.labels) < 2 * len(counts) + 4:
        faults.add(f"{len(shelf.labels)} examples are too few for {len(counts)} labels.")
    elif sum(count >= least for count in learned.values()) < 2:
        detail = f"Fewer than two labels have {least} examples: some may be held out of the training."
        faults.add(detail, column=LABEL)
    faults.check()
    names = sorted(counts)
    number = {name: place for place, name in enumerate(names)}
    arrays: Arrays = {
        **Texts.of(names).arrays("labels"),
        LABEL: np.array([number[label] for label in shelf.labels], np.int64),
        SPLIT: np.array(shelf.codes, np.int8),
    }
    if shelf.kind == TEXT:
        arrays |= Texts.of(shelf.texts).arrays(TEXT)
    else:
        arrays |= Ragged.of(shelf.sequences, np.float32).arrays(VALUES)
    ignored = [f"The field {shorten(name)} (first in row {row}) is not used." for name, row in unused.items()]
    return arrays, _summary(shelf, counts), [*_warnings(shelf, counts), *ignored[:12]]


def _trained(labels: list[str], codes: list[int]) -> Counter[str]:
    """How many examples of each label may be trained on."""
    return Counter(label for label, code in zip(labels, codes, strict=True) if code in TRAINING)


def _summary(shelf: Shelf, counts: Counter[str]) -> "Json":
    sizes = np.array([len(one) for one in (shelf.texts or shelf.sequences)])
    said = Counter(shelf.codes)
    return {
        "kind": shelf.kind,
        "examples": len(shelf.labels),
        "classes": len(counts),
        "labels": dict(counts.most_common(SHOWN)),
        "channels": shelf.sequences[0].shape[1] if shelf.sequences else None,
        "lengths": {
            "unit": "characters" if shelf.texts else "steps",
            "shortest": int(sizes.min()),
            "median": float(np.median(sizes)),
            "longest": int(sizes.max()),
        },
        "splits": {name: said[code] for code, name in enumerate(splits.NAMES)} | {"open": said[splits.OPEN]},
    }


def _warnings(shelf: Shelf, counts: Counter[str]) -> list[str]:
    found = []
    rare = [label for label, count in counts.items() if count < FEWEST]
    if rare:
        named = ", ".join(shorten(label) for label in rare[:5])
        found.append(f"{len(rare)} labels have fewer than {FEWEST} examples, such as {named}.")
    (most, many), (least, few) = counts.most_common()[0], counts.most_common()[-1]
    if many > UNEVEN * few:
        uneven = f"There are {many:,} examples of {shorten(most)} and {few:,} of {shorten(least)}"
        found.append(f"{uneven}; class_weights may help.")
    both = _shared(zip(shelf.texts, shelf.codes, strict=False))
    if both:
        found.append(f"{both:,} texts for training are also held out for valid or test.")
    return found


def _shared(examples: Iterable[tuple[str, int]]) -> int:
    parts: tuple[set[str], set[str]] = (set(), set())
    for text, code in examples:
        parts[code in (splits.VALID, splits.TEST)].add(text)
    return len(parts[0] & parts[1])
