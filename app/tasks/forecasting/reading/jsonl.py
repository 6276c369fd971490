"""Series from JSON Lines: one object a series, as GluonTS writes them."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from app.tasks.contract import Array, Faults, Source
from app.tasks.forecasting.frequency import Frequency
from app.tasks.forecasting.reading.columns import LONGEST_TEXT, Levels, wrong_id
from app.tasks.forecasting.reading.summary import Found
from app.tasks.forecasting.series import SPLITS, SeriesSet
from app.tasks.shared.table_cells import LARGEST, LARGEST_FLOAT32, MISSING, shorten
from app.typedefs import Json

FIELDS = ("item_id", "start", "freq", "target", "cat", "dynamic_feat", "split")


class _WrongError(ValueError):
    """A sentence about one field of one line."""

    def __init__(self, column: str, detail: str) -> None:
        self.column = column
        super().__init__(detail)


@dataclass
class _Items:
    """The lines so far."""

    seen: dict[str, int] = field(default_factory=dict)  # item_id -> line
    frequency: Frequency | None = None
    starts: list[tuple[int, int]] = field(default_factory=list)  # ordinal, phase
    values: list[Array] = field(default_factory=list)  # (points,) each, NaN where only features go on
    targets: int = 0
    splits: list[int] = field(default_factory=list)
    cats: list[list[str]] = field(default_factory=list)
    feats: list[Array] = field(default_factory=list)  # (points, features) each
    ignored: dict[str, int] = field(default_factory=dict)  # field -> first line that has it

    def add(self, line: int, record: "Json") -> None:
        """Take one object; raises `_WrongError` and is unchanged if it does not fit."""
        frequency = self._read_frequency(record)
        name = self._read_id(record, line)
        start = _read_start(record, frequency)
        target = _read_array(record.get("target"), "target", LARGEST)
        if not len(target):
            raise _WrongError("target", "The target is empty.")
        feats = self._read_feats(record, len(target))
        cats = self._read_cats(record)
        split = _read_split(record)
        self.frequency = frequency
        self.seen[name] = line
        self.starts.append(start)
        self.values.append(np.pad(target, (0, len(feats) - len(target)), constant_values=np.nan))
        self.targets += len(target)
        self.splits.append(split)
        self.cats.append(cats)
        self.feats.append(feats)
        for other in record.keys() - FIELDS:
            self.ignored.setdefault(other, line)

    def _read_frequency(self, record: "Json") -> Frequency:
        freq = record.get("freq")
        if isinstance(freq, bool) or not isinstance(freq, str | int):
            raise _WrongError("freq", "The frequency is missing; give a pandas alias, or 1 for integer time.")
        try:
            frequency = Frequency.parse(freq)
        except ValueError as error:
            raise _WrongError("freq", str(error)) from None
        if self.frequency and frequency != self.frequency:
            both = f"{frequency.alias} here, {self.frequency.alias} before"
            raise _WrongError("freq", f"Mixed frequency: {both}; all series must share one.")
        return frequency

    def _read_id(self, record: "Json", line: int) -> str:
        given = record.get("item_id", f"series_{line}")
        if isinstance(given, bool) or not isinstance(given, str | int) or not str(given).strip():
            raise _WrongError("item_id", f"{shorten(given)} is no id; it must be a text or an integer.")
        name = str(given)
        if wrong := wrong_id(name):
            raise _WrongError("item_id", f"The id {wrong}.")
        if name in self.seen:
            raise _WrongError(
                "item_id", f"Duplicate series {shorten(name)}; it is in line {self.seen[name]} too."
            )
        return name

    def _read_cats(self, record: "Json") -> list[str]:
        cats = record.get("cat") or []
        if not isinstance(cats, list) or not all(_is_category(value) for value in cats):
            raise _WrongError("cat", "Categories must be an array of texts or integers.")
        if self.cats and len(cats) != len(self.cats[0]):
            raise _WrongError(
                "cat", f"Expected {len(self.cats[0])} categories as in the lines before, got {len(cats)}."
            )
        return ["" if value is None else str(value) for value in cats]

    def _read_feats(self, record: "Json", length: int) -> Array:
        """Features as (points, features) float32, as long as the target or longer."""
        given = record.get("dynamic_feat") or []
        if not isinstance(given, list):
            raise _WrongError("dynamic_feat", "Features must be an array of arrays of numbers.")
        feats = [_read_array(one, "dynamic_feat", LARGEST_FLOAT32) for one in given]
        if self.feats and len(feats) != self.feats[0].shape[1]:
            before = self.feats[0].shape[1]
            raise _WrongError(
                "dynamic_feat", f"Expected {before} features as in the lines before, got {len(feats)}."
            )
        sizes = {len(feat) for feat in feats} or {length}
        if len(sizes) > 1 or min(sizes) < length:
            raise _WrongError(
                "dynamic_feat", f"Each feature must be as long as the target ({length}), or all longer."
            )
        return np.array(feats, np.float32).reshape(len(feats), max(sizes)).T


def read_items(source: "Source", faults: "Faults") -> Found:
    """Read every line; what does not fit is a fault at its line and field."""
    items = _Items()
    for line, record in source.records():
        try:
            items.add(line, record)
        except _WrongError as error:
            faults.add(str(error), row=line, column=error.column)
    faults.check()
    if not items.seen:
        faults.add("The file has no series; it needs one JSON object a line.", row=1)
    faults.check()
    warnings = [
        f"The field {name[:40]!r} (first in line {line}) is not used." for name, line in items.ignored.items()
    ]
    phases = np.array([phase for _, phase in items.starts], np.int64)
    return Found(_assemble(items), phases, items.targets, "target", warnings)


def _assemble(items: _Items) -> SeriesSet:
    """Join the lines into flat arrays."""
    sizes = [len(values) for values in items.values]
    static = [Levels(missing=True) for _ in items.cats[0]]
    columns = [np.array(column, object) for column in zip(*items.cats, strict=True)]
    codes = [levels.encode(column) for levels, column in zip(static, columns, strict=True)]
    feats = [f"feat_{at}" for at in range(items.feats[0].shape[1])]
    return SeriesSet(
        ids=np.array(list(items.seen), np.str_),
        freq=items.frequency.alias if items.frequency else "",
        starts=np.array([ordinal for ordinal, _ in items.starts], np.int64),
        offsets=np.cumsum([0, *sizes], dtype=np.int64),
        values=np.concatenate(items.values),
        splits=np.repeat(np.array(items.splits, np.int8), sizes),
        static_names=[f"cat_{at}" for at in range(len(static))],
        static_levels=[levels.names for levels in static],
        static_codes=np.stack(codes, axis=1) if codes else np.zeros((len(sizes), 0), np.int32),
        covariate_names=feats,
        covariate_levels=[[] for _ in feats],
        covariates=np.concatenate(items.feats),
        known_ahead=list(feats),
    )


def _read_start(record: "Json", frequency: Frequency) -> tuple[int, int]:
    start = record.get("start")
    if isinstance(start, bool) or not isinstance(start, str | int):
        raise _WrongError("start", "The start is missing; give the time of the first target value.")
    try:
        return frequency.locate(start)
    except ValueError as error:
        raise _WrongError("start", str(error)) from None


def _read_split(record: "Json") -> int:
    split = record.get("split")
    if split is not None and (not isinstance(split, str) or split not in SPLITS):
        raise _WrongError("split", f"{shorten(split)} is no split; it must be train, valid or test.")
    return SPLITS[split] if split else 0


def _read_array(given: Any, column: str, limit: float) -> Array:
    """Read an array of numbers as float64; null and "NaN" are missing."""
    if not isinstance(given, list):
        raise _WrongError(column, f"Expected an array of numbers, got {shorten(given)}.")
    kinds = set(map(type, given))
    if not kinds <= {int, float}:
        for at, value in enumerate(given):
            if isinstance(value, str) and value not in MISSING:
                raise _WrongError(column, f"Value {at} is {shorten(value)}, not a number.")
            if not isinstance(value, int | float | str | None) or isinstance(value, bool):
                raise _WrongError(column, f"Value {at} is {shorten(value)}, not a number.")
        given = [None if isinstance(value, str) else value for value in given]
    try:
        numbers = np.array(given, np.float64)
    except OverflowError:
        raise _WrongError(column, f"A value is beyond {limit:g}.") from None
    large = np.flatnonzero(np.abs(numbers) > limit)
    if len(large):
        raise _WrongError(column, f"Value {large[0]} is beyond {limit:g}.")
    return numbers


def _is_category(value: object) -> bool:
    return value is None or (isinstance(value, str | int) and len(str(value)) <= LONGEST_TEXT)
