"""The space that a sweep searches: each setting by its dotted name, with its values or its range, as JSON."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from app.typedefs import Json

PARTS = ("network", "training", "options")
MOST = 1_000_000  # steps of one range


@dataclass(frozen=True)
class Choices:
    """Values without an order."""

    values: Sequence[Any]

    @property
    def count(self) -> int:
        """How many values there are."""
        return len(self.values)

    @property
    def ends(self) -> Sequence[Any]:
        """What a check has to look at: everything."""
        return self.values

    def at(self, place: int) -> Any:
        """The value at a place from 0."""
        return self.values[place]


@dataclass(frozen=True)
class Steps:
    """Numbers at equal distances."""

    low: int | float
    step: int | float
    count: int

    @property
    def ends(self) -> Sequence[Any]:
        """The least and the greatest: what a check has to look at."""
        return [self.at(0), self.at(self.count - 1)]

    def at(self, place: int) -> Any:
        """The number at a place from 0."""
        value = self.low + place * self.step
        return value if isinstance(value, int) else float(f"{value:.12g}")


@dataclass(frozen=True)
class Span:
    """Any number between two; whole numbers only on a log scale, for otherwise they are `Steps`."""

    low: int | float
    high: int | float
    log: bool
    whole: bool
    count: None = None

    @property
    def ends(self) -> Sequence[Any]:
        """The least and the greatest: what a check has to look at."""
        return [self.low, self.high]


Axis = Choices | Steps | Span
Space = Mapping[str, Axis]


def axis(dimension: Any, field: Any) -> Axis:
    """Values or a range, of a setting with this annotation; raises `ValueError` when that takes no such."""
    if isinstance(dimension, list):
        return Choices(dimension)
    low, high, step, log = (dimension.get(name) for name in ("min", "max", "step", "log"))
    kinds = plain_types(field)
    if not kinds & {int, float}:
        raise ValueError("this is no number: give a list of values")
    whole = float not in kinds
    if whole and any(isinstance(number, float) for number in (low, high, step)):
        raise ValueError("this is a whole number: min, max and step must be whole")
    step = step or (1 if whole and not log else None)
    if step is not None:
        if (high - low) / step > MOST:
            raise ValueError("the steps are too many")
        return Steps(low, step, 1 + math.floor((high - low) / step * (1 + 1e-12)))
    return Span(low, high, bool(log), whole)


def plain_types(field: Any) -> set[Any]:
    """What a field of this annotation takes."""
    if get_origin(field) in {Union, UnionType}:
        return set[Any]().union(*map(plain_types, get_args(field)))
    return plain_types(get_args(field)[0]) if get_origin(field) is Annotated else {field} - {NoneType}


def field_of(name: str, parts: Mapping[str, type[BaseModel]]) -> Any:
    """The annotation of a setting; raises `ValueError` for one that does not exist."""
    part, _, setting = name.partition(".")
    if part not in parts or not setting:
        raise ValueError(f"name a setting by its part: {', '.join(f'{one}.…' for one in parts)}")
    found = parts[part].model_fields.get(setting)
    if found is None:
        raise ValueError(f"there is no setting {setting} of {part}")
    return found.annotation


def size(space: Space) -> int | None:
    """How many different trials there are; None for no end of them."""
    counts = [one.count for one in space.values()]
    return None if None in counts else math.prod(count for count in counts if count is not None)


def spelled(value: Any) -> str:
    """A value as JSON text, by which equal ones are known; raises `ValueError` for what is no JSON."""
    return json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=False)


def applied(base: Json, parameters: Json) -> Json:
    """The parts of a job with these settings in them."""
    made = {part: dict(base.get(part) or {}) for part in PARTS}
    for name, value in parameters.items():
        part, _, setting = name.partition(".")
        made[part][setting] = value
    return made
