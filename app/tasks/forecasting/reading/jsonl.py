"""Series from JSON Lines with one object a series, the format of GluonTS."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from app.arrays import Array
from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.reading.columns import (
    MAX_NAME_CHARS,
    Levels,
    MissingTexts,
    id_problem,
    split_problem,
)
from app.tasks.forecasting.reading.irregular import fractions_warning
from app.tasks.forecasting.reading.summary import ParsedSeries
from app.tasks.forecasting.series import NO_MARK, SPLIT_MARKS, SeriesSet
from app.tasks.shared.splits import SPLIT
from app.tasks.shared.table_cells import MAX_FLOAT32_MAGNITUDE, MAX_MAGNITUDE, MISSING_TEXTS, shorten
from app.tasks.shared.timestamps import has_fraction
from app.tasks.source import Faults
from app.typedefs import Json

FIELDS = ("item_id", "start", "freq", "target", "cat", "dynamic_feat", SPLIT)


class _FieldError(ValueError):
    """A problem of one field of one line; the message is a sentence."""

    def __init__(self, column: str, detail: str) -> None:
        self.column = column
        super().__init__(detail)


@dataclass
class _ItemColumns:
    """The columns of all lines read so far, one entry a series."""

    lines: dict[str, int] = field(default_factory=dict)  # item_id -> line
    frequencies: list[Frequency] = field(default_factory=list)
    starts: list[tuple[int, int]] = field(default_factory=list)  # ordinal, phase
    values: list[Array] = field(default_factory=list)  # (points,) each, NaN where only the features continue
    target_count: int = 0
    splits: list[int] = field(default_factory=list)  # marks
    cats: list[list[str]] = field(default_factory=list)
    feats: list[Array] = field(default_factory=list)  # (points, features) each
    unused: dict[str, int] = field(default_factory=dict)  # unused field -> first line that has it
    missing_texts: dict[str, MissingTexts] = field(default_factory=dict)  # field -> among its numbers
    fractional_starts: int = 0

    def add(self, line: int, record: "Json") -> None:
        """Add one object; if it is wrong, raises `_FieldError` and adds nothing."""
        frequency = _read_frequency(record)
        name = self._read_id(record, line)
        start = _read_start(record, frequency)
        target = _read_array(record.get("target"), "target", MAX_MAGNITUDE)
        if not len(target):
            raise _FieldError("target", "The target is empty.")
        feats = self._read_feats(record, len(target))
        cats = self._read_cats(record)
        split = _read_split(record)
        self.fractional_starts += frequency.unit != "1" and has_fraction(record["start"])
        self._note_missing("target", line, record["target"])
        for feat in record.get("dynamic_feat") or []:
            self._note_missing("dynamic_feat", line, feat)
        self.frequencies.append(frequency)
        self.lines[name] = line
        self.starts.append(start)
        self.values.append(np.pad(target, (0, len(feats) - len(target)), constant_values=np.nan))
        self.target_count += len(target)
        self.splits.append(split)
        self.cats.append(cats)
        self.feats.append(feats)
        for other in record.keys() - FIELDS:
            self.unused.setdefault(other, line)

    def _note_missing(self, column: str, line: int, values: list[Any]) -> None:
        """Remember the first text of a field that stands for a missing number."""
        texts = np.array([value for value in values if isinstance(value, str)], object)
        if len(texts):
            texts_of_column = self.missing_texts.setdefault(column, MissingTexts())
            texts_of_column.note(texts, np.ones(len(texts), bool), np.full(len(texts), line))

    def warnings(self) -> list[str]:
        """What was left out or read as missing."""
        warnings = [
            f"The field {name[:40]!r} (first in line {line}) is not used."
            for name, line in self.unused.items()
        ]
        for column, texts in self.missing_texts.items():
            warnings += texts.warnings(column)
        if self.fractional_starts:
            warnings.append(fractions_warning(self.fractional_starts))
        return warnings

    def _read_id(self, record: "Json", line: int) -> str:
        """The id, which no other line may have; without one it is named by its line."""
        value = record.get("item_id", f"series_{line}")
        if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
            raise _FieldError("item_id", f"{shorten(value)} is no id; it must be a text or an integer.")
        name = str(value)
        if problem := id_problem(name):
            raise _FieldError("item_id", f"The id {problem}.")
        if name in self.lines:
            raise _FieldError(
                "item_id", f"Duplicate series {shorten(name)}; it is in line {self.lines[name]} too."
            )
        return name

    def _read_cats(self, record: "Json") -> list[str]:
        """The categories as texts, as many as in the lines before; "" = missing."""
        cats = record.get("cat") or []
        if not isinstance(cats, list) or not all(_is_category(value) for value in cats):
            raise _FieldError("cat", "Categories must be an array of texts or integers.")
        if self.cats and len(cats) != len(self.cats[0]):
            raise _FieldError(
                "cat", f"Expected {len(self.cats[0])} categories as in the lines before, got {len(cats)}."
            )
        return ["" if value is None else str(value) for value in cats]

    def _read_feats(self, record: "Json", length: int) -> Array:
        """The features (points, features) float32; all are as long as the target, or all equally longer."""
        value = record.get("dynamic_feat") or []
        if not isinstance(value, list):
            raise _FieldError("dynamic_feat", "Features must be an array of arrays of numbers.")
        feats = [_read_array(one, "dynamic_feat", MAX_FLOAT32_MAGNITUDE) for one in value]
        if self.feats and len(feats) != self.feats[0].shape[1]:
            before = self.feats[0].shape[1]
            raise _FieldError(
                "dynamic_feat", f"Expected {before} features as in the lines before, got {len(feats)}."
            )
        sizes = {len(feat) for feat in feats} or {length}
        if len(sizes) > 1 or min(sizes) < length:
            raise _FieldError(
                "dynamic_feat", f"Each feature must be as long as the target ({length}), or all longer."
            )
        return np.array(feats, np.float32).reshape(len(feats), max(sizes)).T


def parse_jsonl(records: Iterable[tuple[int, "Json"]], faults: "Faults") -> ParsedSeries:
    """The series of every line; a wrong line is a fault, and raises `DatasetInvalid` in the end."""
    items, is_first = _ItemColumns(), True
    for line, record in records:
        try:
            items.add(line, record)
        except _FieldError as error:
            faults.add(str(error), row=line, column=error.column)
            if is_first and error.column not in record:
                faults.check()  # the other lines will lack it too
        is_first = False
    _check_frequencies(items, faults)
    faults.check()
    if not items.lines:
        faults.add("The file has no series; it needs one JSON object a line.", row=1)
    faults.check()
    phases = np.array([phase for _, phase in items.starts], np.int64)
    return ParsedSeries(_build_series(items), phases, items.target_count, items.warnings())


def _check_frequencies(items: _ItemColumns, faults: "Faults") -> None:
    """All lines must have the frequency that most of them have; the others are faults."""
    if not items.frequencies:
        return
    usual, count = Counter(items.frequencies).most_common(1)[0]  # the first of several
    for (name, line), frequency in zip(items.lines.items(), items.frequencies, strict=True):
        if frequency != usual:
            detail = (
                f"Mixed frequency: series {shorten(name)} has {frequency.alias}, {count} of the "
                f"{len(items.lines)} series {usual.alias}; all must share one."
            )
            faults.add(detail, row=line, column="freq")


def _build_series(items: _ItemColumns) -> SeriesSet:
    """Join the series of all lines into flat arrays."""
    sizes = [len(values) for values in items.values]
    static = [Levels(missing=True) for _ in items.cats[0]]
    columns = [np.array(column, object) for column in zip(*items.cats, strict=True)]
    codes = [levels.encode(column) for levels, column in zip(static, columns, strict=True)]
    feats = [f"feat_{index}" for index in range(items.feats[0].shape[1])]
    return SeriesSet(
        ids=np.array(list(items.lines), np.str_),
        freq=items.frequencies[0].alias,
        starts=np.array([ordinal for ordinal, _ in items.starts], np.int64),
        offsets=np.cumsum([0, *sizes], dtype=np.int64),
        values=np.concatenate(items.values),
        splits=np.repeat(np.array(items.splits, np.int8), sizes),
        static_names=[f"cat_{index}" for index in range(len(static))],
        static_levels=[levels.names for levels in static],
        static_codes=np.stack(codes, axis=1) if codes else np.zeros((len(sizes), 0), np.int32),
        covariate_names=feats,
        covariate_levels=[[] for _ in feats],
        covariates=np.concatenate(items.feats),
        known_ahead=list(feats),
    )


def _read_frequency(record: "Json") -> Frequency:
    """The frequency of one series."""
    freq = record.get("freq")
    if isinstance(freq, bool) or not isinstance(freq, str | int):
        raise _FieldError("freq", "The frequency is missing; give a pandas alias, or 1 for integer time.")
    try:
        return Frequency.parse(freq)
    except ValueError as error:
        raise _FieldError("freq", str(error)) from None


def _read_start(record: "Json", frequency: Frequency) -> tuple[int, int]:
    """Ordinal and phase of the first target value."""
    start = record.get("start")
    if isinstance(start, bool) or not isinstance(start, str | int):
        raise _FieldError("start", "The start is missing; give the time of the first target value.")
    try:
        return frequency.locate(start)
    except ValueError as error:
        raise _FieldError("start", str(error)) from None


def _read_split(record: "Json") -> int:
    """The mark of the whole series; `NO_MARK` if the line names no split."""
    split = record.get(SPLIT)
    if split is not None and (not isinstance(split, str) or split not in SPLIT_MARKS):
        raise _FieldError(SPLIT, split_problem(split))
    return SPLIT_MARKS[split] if split else NO_MARK


def _read_array(values: Any, column: str, limit: float) -> Array:
    """An array of numbers as float64, NaN = missing: null, "NaN" or another of `MISSING_TEXTS`."""
    if not isinstance(values, list):
        raise _FieldError(column, f"Expected an array of numbers, got {shorten(values)}.")
    if not set(map(type, values)) <= {int, float}:
        for index, value in enumerate(values):
            if not _is_number_or_missing(value):
                raise _FieldError(column, f"Value {index} is {shorten(value)}, not a number.")
        values = [None if isinstance(value, str) else value for value in values]
    try:
        numbers = np.array(values, np.float64)
    except OverflowError:
        raise _FieldError(column, f"A value is beyond {limit:g}.") from None
    large = np.flatnonzero(np.abs(numbers) > limit)
    if len(large):
        raise _FieldError(column, f"Value {large[0]} is beyond {limit:g}.")
    return numbers


def _is_number_or_missing(value: object) -> bool:
    if isinstance(value, str):
        return value in MISSING_TEXTS
    return isinstance(value, int | float | None) and not isinstance(value, bool)


def _is_category(value: object) -> bool:
    return value is None or (isinstance(value, str | int) and len(str(value)) <= MAX_NAME_CHARS)
