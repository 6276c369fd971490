"""What a task is for this package: how its data become uploads and requests, and answers results."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from recurra.errors import InvalidInput, Json

Place = Callable[[Sequence[str]], str | None]  # what the user calls the steps of a pointer, where known

SPLIT = "split"  # the column that says for what an example is used


def no_place(steps: Sequence[str]) -> None:
    """No name for any place."""
    del steps


@dataclass(frozen=True)
class PreparedFile:
    """A file to upload, with the format and the columns that the service is told."""

    path: Path
    format: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)  # canonical name -> column of the file
    place: Place = no_place  # of the steps below `/file`
    hint: Callable[[str], str | None] | None = None  # what may mend a fault of this detail


@dataclass(frozen=True)
class Schema:
    """What a version was trained on: its options, and the names and columns of its data set."""

    version: Json
    dataset: Json | None  # None where it was deleted

    @property
    def columns(self) -> dict[str, str]:
        """Canonical name -> column of the upload, of columns with other names."""
        return dict((self.dataset or {}).get("summary", {}).get("columns") or {})

    def column(self, canonical: str) -> str:
        """The upload's name of a column."""
        return self.columns.get(canonical, canonical)


@dataclass(frozen=True)
class PredictionInputs:
    """The instances of a request, and what turns the predictions into what the caller gets."""

    instances: Sequence[Any]
    finish: "Finish"
    place: Place = no_place  # of the steps below `/instances`, the first of which is an index


class Finish(Protocol):
    """Turns the predictions of all instances, in order, into the result of a call."""

    def __call__(self, predictions: list[Json]) -> Any:
        """The result."""
        ...


class TaskInputs(Protocol):
    """The data of one task."""

    @property
    def name(self) -> str:
        """The task's name."""
        ...

    @property
    def roles(self) -> Mapping[str, str]:
        """Keyword of a call -> canonical column of an upload, such as `time` -> `ds`."""
        ...

    @property
    def parse(self) -> Callable[[Json], Any]:
        """What makes the result of one prediction."""
        ...

    def write(self, data: Any, answers: Any, columns: Mapping[str, str], folder: Path) -> PreparedFile:
        """Write data as a file in `folder`; raises `InvalidInput`.

        `columns` has the user's columns of a frame by their canonical names.
        """
        ...

    def options(self, options: Json) -> Json:
        """The options of a job, from the keywords of a call."""
        ...

    def parameters(self, parameters: Json, schema: Schema) -> Json:
        """The parameters of a request, from the keywords of a call."""
        ...

    def inputs(
        self, data: Any, columns: Mapping[str, str], schema: Schema, parameters: Json
    ) -> PredictionInputs:
        """The instances of data; `parameters` are the keywords of the call. Raises `InvalidInput`."""
        ...


def one_answer_each(data: Sequence[Any], answers: Any, noun: str) -> list[Any]:
    """The answers as a list as long as the data; empty without answers. Raises `InvalidInput`."""
    if answers is None:
        return []
    listed = as_list(answers)
    if len(listed) != len(data):
        raise InvalidInput(f"there are {len(data):,} {noun} and {len(listed):,} answers")
    return listed


def as_list(values: Any) -> list[Any]:
    """A sequence, such as a list, an array or a column of a frame, as a list of plain values."""
    for method in ("tolist", "to_list"):
        if hasattr(values, method):
            plain: list[Any] = getattr(values, method)()
            return plain
    if isinstance(values, str | bytes | Path | dict | int | float):
        return [values]
    return [value.tolist() if hasattr(value, "tolist") else value for value in values]


def as_numbers(values: Any) -> list[Any]:
    """A sequence of numbers for JSON: None where one is not a number."""
    return [None if isinstance(value, float) and math.isnan(value) else value for value in as_list(values)]


def single(data: Any) -> bool:
    """Whether data are one instance, not a list of them."""
    return isinstance(data, str | bytes | Path | dict)


def warn(names: Sequence[Any], predictions: Sequence[Json]) -> None:
    """Say each warning of the service once, with the name of the first instance that it is about."""
    first: dict[str, Any] = {}
    for name, prediction in zip(names, predictions, strict=True):
        for text in prediction.get("warnings") or []:
            first.setdefault(text, name)
    for text, name in first.items():
        warnings.warn(text if name is None else f"{name}: {text}", stacklevel=2)


def finish_list(parse: Any, *, alone: bool) -> Finish:
    """What parses each prediction; the result is one object for one instance, else a list.

    Warnings of the service become warnings of Python.
    """

    def finish(predictions: list[Json]) -> Any:
        numbers = [None if alone else f"instance {number}" for number in range(len(predictions))]
        ids = [prediction.get("item_id") for prediction in predictions]
        pairs = zip(ids, numbers, strict=True)
        warn([number if one is None else one for one, number in pairs], predictions)
        parsed = [parse(prediction) for prediction in predictions]
        return parsed[0] if alone else parsed

    return finish
