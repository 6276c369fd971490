"""The search space of a sweep: each setting by its dotted name, with its values or its range, as JSON."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from app.typedefs import Json

JOB_PARTS = ("network", "training", "options")
MAX_STEPS = 1_000_000  # of one range


@dataclass(frozen=True)
class ChoiceAxis:
    """Values without an order."""

    values: Sequence[Any]

    @property
    def count(self) -> int:
        """The number of values."""
        return len(self.values)

    @property
    def bounds(self) -> Sequence[Any]:
        """The values to check against the setting's limits: all of them."""
        return self.values

    def value_at(self, index: int) -> Any:
        """The value at an index from 0."""
        return self.values[index]


@dataclass(frozen=True)
class StepAxis:
    """Numbers at equal distances."""

    low: int | float
    step: int | float
    count: int

    @property
    def bounds(self) -> Sequence[Any]:
        """The values to check against the setting's limits: the lowest and the highest."""
        return [self.value_at(0), self.value_at(self.count - 1)]

    def value_at(self, index: int) -> Any:
        """The number at an index from 0."""
        value = self.low + index * self.step
        return value if isinstance(value, int) else float(f"{value:.12g}")


@dataclass(frozen=True)
class RangeAxis:
    """Any number of a range; whole numbers have a range only on a log scale, else they are a `StepAxis`."""

    low: int | float
    high: int | float
    log: bool
    integer: bool
    count: None = None

    @property
    def bounds(self) -> Sequence[Any]:
        """The values to check against the setting's limits: the lowest and the highest."""
        return [self.low, self.high]


Axis = ChoiceAxis | StepAxis | RangeAxis
Space = Mapping[str, Axis]


def parse_axis(dimension: Any, annotation: Any) -> Axis:
    """The axis of a setting with this type annotation; raises `ValueError` where the type does not fit."""
    if isinstance(dimension, list):
        return ChoiceAxis(dimension)
    low, high, step, log = (dimension.get(name) for name in ("min", "max", "step", "log"))
    types = plain_types(annotation)
    if not types & {int, float}:
        raise ValueError("this is no number: give a list of values")
    integer = float not in types
    if integer and any(isinstance(number, float) for number in (low, high, step)):
        raise ValueError("this is a whole number: min, max and step must be whole")
    step = step or (1 if integer and not log else None)
    if step is not None:
        if (high - low) / step > MAX_STEPS:
            raise ValueError("the steps are too many")
        return StepAxis(low, step, 1 + math.floor((high - low) / step * (1 + 1e-12)))
    return RangeAxis(low, high, bool(log), integer)


def plain_types(annotation: Any) -> set[Any]:
    """The types that an annotation accepts, without None."""
    if get_origin(annotation) in {Union, UnionType}:
        return set[Any]().union(*map(plain_types, get_args(annotation)))
    if get_origin(annotation) is Annotated:
        return plain_types(get_args(annotation)[0])
    return {annotation} - {NoneType}


def setting_type(name: str, parts: Mapping[str, type[BaseModel]]) -> Any:
    """The type annotation of a setting; raises `ValueError` where there is no such setting."""
    part, _, setting = name.partition(".")
    if part not in parts or not setting:
        raise ValueError(f"name a setting by its part: {', '.join(f'{one}.…' for one in parts)}")
    field = parts[part].model_fields.get(setting)
    if field is None:
        raise ValueError(f"there is no setting {setting} of {part}")
    return field.annotation


def count_settings(space: Space) -> int | None:
    """The number of different trials; None where a range has no end of values."""
    counts = [axis.count for axis in space.values()]
    return None if None in counts else math.prod(count for count in counts if count is not None)


def canonical_json(value: Any) -> str:
    """A value as JSON text that is the same for equal values; raises `ValueError` for other values."""
    return json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=False)


def apply_parameters(base: Json, parameters: Json) -> Json:
    """The parts of a job, with a trial's parameters in them; `base` stays as it is."""
    parts = {part: dict(base.get(part) or {}) for part in JOB_PARTS}
    for name, value in parameters.items():
        part, _, setting = name.partition(".")
        parts[part][setting] = value
    return parts
