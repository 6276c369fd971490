"""Reads labelled examples from an uploaded file: texts, or sequences of sensor readings."""

from collections import Counter
from collections.abc import Iterable

import numpy as np

from app.arrays import Arrays, Floats
from app.tasks.classification.options import MAX_CHANNELS, MAX_STEPS
from app.tasks.shared import splits
from app.tasks.shared.label_checks import MAX_LABELS_SHOWN, unlearnable_warnings, untrainable_labels
from app.tasks.shared.ragged import Ragged, Texts
from app.tasks.shared.splits import SPLIT
from app.tasks.shared.table_cells import MAX_EXACT_FLOAT, MAX_FIELDS_SHOWN, shorten
from app.tasks.shared.text_checks import TEXT, text_problem
from app.tasks.source import Faults, Reading, Source, possible_answers
from app.typedefs import Json

VALUES, LABEL, LABELS = "values", "label", "labels"
FIELDS = frozenset((TEXT, VALUES, LABEL, SPLIT))
MIN_LABEL_EXAMPLES = 5  # a label with fewer examples causes a warning
MAX_IMBALANCE = 20  # times as many examples of one label as of another, more of which cause a warning
MAX_RARE_LABELS_SHOWN = 5
NUMBER_TYPES = {int, float}
MAX_READING = float(np.finfo(np.float32).max)


class ClassificationReader:
    """Collects the examples of a file; the first example decides whether they are texts or readings."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self.kind: str | None = None
        self.texts: list[str] = []
        self.sequences: list[Floats] = []  # of (time, channels)
        self.labels: list[str | None] = []
        self._unlabelled: list[tuple[int, str]] = []  # rows without a label, and what is wrong with them
        self._blank: list[int] = []  # rows without a word
        self.codes: list[int] = []  # the split of each example
        self.rows: list[int] = []  # the 1-based line of each example in the file

    def add_record(self, row: int, record: Json) -> None:
        """Add the example of one row, or report its faults."""
        kinds = [name for name in (TEXT, VALUES) if record.get(name) is not None]
        if len(kinds) != 1:
            detail = "has both a text and values" if kinds else "has neither a text nor values"
            self._faults.add(f"The example {detail}.", row=row, column=kinds[0] if kinds else None)
            return
        (kind,) = kinds
        self.kind = self.kind or kind
        if kind != self.kind:
            detail = f"This file has {self.kind}; an example with {kind} is mixed in."
            self._faults.add(detail, row=row, column=kind)
            return
        valid, label = self._read_label(row, record.get(LABEL))
        code = splits.read_split(record.get(SPLIT), row, self._faults)
        added = (self._add_text if kind == TEXT else self._add_readings)(row, record[kind])
        if added and valid and code is not None:
            self.labels.append(label)
            self.codes.append(code)
            self.rows.append(row)

    def _read_label(self, row: int, value: object) -> tuple[bool, str | None]:
        """Whether an example can be kept, and its label; None where it has none."""
        if value is None or value != value or (isinstance(value, str) and not value.strip()):  # noqa: PLR0124 - NaN
            self._unlabelled.append(
                (row, f"The label is {'empty' if isinstance(value, str) else 'missing'}.")
            )
            return True, None
        if isinstance(value, bool):
            return True, "true" if value else "false"
        if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
            if isinstance(value, int) or abs(value) < MAX_EXACT_FLOAT:
                return True, str(int(value))  # numbers of a Parquet column with gaps are floats
            wrong: str | None = f"is {value!r}, which is not exact; write a whole number without a point."
        else:
            wrong = text_problem(value)
        if wrong:
            self._faults.add(f"The label {wrong}", row=row, column=LABEL)
            return False, None
        return True, str(value).strip()

    def _add_text(self, row: int, value: object) -> bool:
        if isinstance(value, str) and not value.strip():
            self._blank.append(row)
            self.texts.append(value)
            return True
        wrong = text_problem(value)
        if wrong:
            self._faults.add(f"The text {wrong}", row=row, column=TEXT)
            return False
        self.texts.append(str(value))
        return True

    def check_answers(self) -> bool:
        """Whether the examples have labels; a file of which some have none, or no word, has faults."""
        if all(label is None for label in self.labels):
            return False
        for row, detail in self._unlabelled:
            self._faults.add(detail, row=row, column=LABEL)
        for row in self._blank:
            self._faults.add("The text is empty.", row=row, column=TEXT)
        return True

    def _add_readings(self, row: int, value: object) -> bool:
        readings = read_values(value, self.sequences[0].shape[1] if self.sequences else None)
        if isinstance(readings, str):
            self._faults.add(readings, row=row, column=VALUES)
            return False
        self.sequences.append(readings)
        return True

    def arrays(self) -> Arrays:
        """The arrays of the data set; labels are numbered in alphabetical order, -1 is none."""
        names = sorted({label for label in self.labels if label is not None})
        numbers: dict[str | None, int] = {name: number for number, name in enumerate(names)}
        arrays: Arrays = {
            **Texts.of(names).arrays(LABELS),
            LABEL: np.array([numbers.get(label, -1) for label in self.labels], np.int64),
            SPLIT: np.array(self.codes, np.int8),
        }
        if self.kind == TEXT:
            return arrays | Texts.of(self.texts).arrays(TEXT)
        return arrays | Ragged.of(self.sequences, np.float32).arrays(VALUES)


def read_values(value: object, channels: int | None) -> Floats | str:
    """Readings (time, channels) from nested lists, or a sentence that says why there are none."""
    if not isinstance(value, list) or not value:
        return "The values are no list of steps, or an empty one."
    if len(value) > MAX_STEPS:
        return f"There are {len(value):,} steps; at most {MAX_STEPS:,} are read."
    width = channels or (len(value[0]) if isinstance(value[0], list) else 0)
    if width > MAX_CHANNELS:
        return f"There are {width:,} channels; at most {MAX_CHANNELS:,} are read."
    faults = (_wrong_step(number, step, width) for number, step in enumerate(value, 1))
    if wrong := next((fault for fault in faults if fault), None):
        return wrong
    try:
        readings = np.array(value, np.float64)  # (time, channels)
    except OverflowError:
        readings = np.array([[one if abs(one) < MAX_READING else np.inf for one in step] for step in value])
    invalid = np.flatnonzero(~(np.abs(readings) < MAX_READING).all(axis=1))  # NaN is not less either
    if len(invalid):
        return f"Step {invalid[0] + 1} has a reading that is not finite, or too large."
    return readings.astype(np.float32)


def _wrong_step(number: int, step: object, width: int) -> str | None:
    """A sentence that says what is wrong with one step, if anything."""
    if not isinstance(step, list) or not step:
        return f"Step {number} is no list of readings, or an empty one."
    if len(step) != width:
        return f"Step {number} has {len(step)} channels, expected {width}."
    invalid = [reading for reading in step if type(reading) not in NUMBER_TYPES]
    return f"Step {number} has {shorten(invalid[0])}, which is no number." if invalid else None


def read_labelled(source: Source, faults: Faults) -> Reading:
    """Read a data set, with or without labels; raises `DatasetInvalid`."""
    reader, fields = ClassificationReader(faults), dict[str, int]()  # name -> first row
    for row, record in source.records():
        if not fields and not {TEXT, VALUES} & record.keys():
            faults.stop_without(TEXT, record, row if source.format == "jsonl" else 1)
        for name in record:
            fields.setdefault(name, row)
        reader.add_record(row, record)
    has_labels = reader.check_answers()
    candidates = possible_answers(fields, FIELDS)
    if candidates and LABEL not in fields and not faults.problems:
        faults.stop_without(LABEL, fields, fields[candidates[0]] if source.format == "jsonl" else 1)
    faults.check()
    labels = [label for label in reader.labels if label is not None]
    counts = Counter(labels)
    if not reader.labels:
        faults.add("The file has no examples.", row=1)
    faults.check()
    untrainable: str | None = "The examples have no labels."
    if has_labels:
        untrainable = untrainable_labels(labels, reader.codes, "example")
    ignored = [
        f"The field {shorten(name)} (first in row {row}) is not used."
        for name, row in fields.items()
        if name not in FIELDS
    ]
    warnings = ignored[:MAX_FIELDS_SHOWN]
    if untrainable is None:
        warnings = [*_training_warnings(reader, counts), *warnings]
    return Reading(reader.arrays(), _summary(reader, counts), warnings, untrainable, has_labels)


def _summary(reader: ClassificationReader, counts: Counter[str]) -> Json:
    sizes = np.array([len(example) for example in (reader.texts or reader.sequences)])
    return {
        "kind": reader.kind,
        "examples": len(reader.labels),
        "classes": len(counts),
        "labels": dict(counts.most_common(MAX_LABELS_SHOWN)),
        "channels": reader.sequences[0].shape[1] if reader.sequences else None,
        "lengths": {
            "unit": "characters" if reader.texts else "steps",
            "shortest": int(sizes.min()),
            "median": float(np.median(sizes)),
            "longest": int(sizes.max()),
        },
        "splits": splits.count_splits(reader.codes),
    }


def _training_warnings(reader: ClassificationReader, counts: Counter[str]) -> list[str]:
    codes = zip(reader.labels, reader.codes, strict=True)
    learned = {label for label, code in codes if code in splits.TRAINING_CODES}
    held_out = dict.fromkeys(label for label in reader.labels if label is not None and label not in learned)
    warnings = unlearnable_warnings(list(held_out), "example")
    rare = [label for label, count in counts.items() if count < MIN_LABEL_EXAMPLES]
    if rare:
        named = ", ".join(shorten(label) for label in rare[:MAX_RARE_LABELS_SHOWN])
        warnings.append(f"{len(rare)} labels have fewer than {MIN_LABEL_EXAMPLES} examples, such as {named}.")
    (frequent, max_count), (rarest, min_count) = counts.most_common()[0], counts.most_common()[-1]
    if max_count > MAX_IMBALANCE * min_count:
        uneven = (
            f"There are {max_count:,} examples of {shorten(frequent)} and {min_count:,} of {shorten(rarest)}"
        )
        warnings.append(f"{uneven}; class_weights may help.")
    shared = _count_shared_texts(zip(reader.texts, reader.codes, strict=False))
    if shared:
        warnings.append(f"{shared:,} texts for training are also held out for valid or test.")
    return warnings


def _count_shared_texts(examples: Iterable[tuple[str, int]]) -> int:
    """How many distinct texts are both for training and held out; examples are (text, split code)."""
    training, held_out = set[str](), set[str]()
    for text, code in examples:
        (held_out if code in (splits.VALID, splits.TEST) else training).add(text)
    return len(training & held_out)
