"""A ninth task in one file: whether the sum of some numbers is positive. Dropped into a copy of the house."""

from typing import Any, ClassVar

import msgspec
import numpy as np
from pydantic import BaseModel, ConfigDict

from app.errors import Problem
from app.tasks.contract import (
    Arrays,
    Batch,
    Defaults,
    Example,
    Faults,
    Floats,
    Input,
    Ints,
    Output,
    Plan,
    Reading,
    Source,
    Split,
    TensorField,
)
from app.tasks.shared.ragged import Ragged
from app.tasks.shared.splits import partition
from app.typedefs import Json


class Options(BaseModel):
    """None."""

    model_config = ConfigDict(extra="forbid")


class Instance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Some numbers."""

    numbers: list[float]


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """None."""


class Rows:
    """Some of the sequences."""

    def __init__(self, numbers: Ragged, rows: Ints) -> None:
        self.numbers, self.rows = numbers, rows
        self.lengths, self.carried = numbers.lengths[rows], False

    def batch(self, rows: Ints, rng: "np.random.Generator | None") -> Batch:
        padded, lengths = self.numbers.padded(self.rows[rows])  # (batch, time)
        targets = (padded.sum(axis=1) > 0).astype(np.int64)  # (batch,)
        return Batch(padded[:, :, None], lengths, targets, np.ones(len(rows), np.float32))


class Ninth:
    """Whether a sum is positive."""

    name: ClassVar[str] = "ninth"
    bidirectional: ClassVar[bool] = True
    formats: ClassVar[tuple[str, ...]] = ("jsonl",)
    columns: ClassVar[tuple[str, ...]] = ("numbers",)
    options: ClassVar[type[BaseModel]] = Options
    instance: ClassVar[type[msgspec.Struct]] = Instance
    parameters: ClassVar[type[msgspec.Struct]] = Parameters
    typical: ClassVar[dict[str, tuple[Json, Json]]] = {"numbers": ({}, {})}
    loss_of: ClassVar[frozenset[str]] = frozenset()
    tensor_inputs: ClassVar[tuple[TensorField, ...]] = (TensorField("numbers", "FP64", (-1,)),)
    tensor_outputs: ClassVar[tuple[TensorField, ...]] = (TensorField("probability", "FP64", ()),)

    def read(self, source: Source, faults: Faults) -> Reading:
        rows = []
        for number, record in source.records():
            if not record.get("numbers"):
                faults.add("There are no numbers.", row=number, column="numbers")
            else:
                rows.append(record["numbers"])
        return Reading(Ragged.of(rows, np.float32).arrays("numbers"), {"rows": len(rows)})

    def check(self, summary: Json, options: Any) -> list[Problem]:
        return [] if summary["rows"] > 2 else [Problem("/dataset", "too few rows")]

    def defaults(self, summary: Json, options: Any) -> Defaults:
        return Defaults({"hidden_size": 8, "pooling": "mean"}, {"learning_rate": 0.02})

    def measures(self, summary: Json) -> dict[str, bool]:
        return {"accuracy": True}

    def plan(self, arrays: Arrays, options: Any, seed: int, bptt_steps: int | None = None) -> Plan:
        numbers = Ragged.from_arrays(arrays, "numbers")
        rows = partition(np.full(len(numbers), -1), seed)
        train, valid, test = (Rows(numbers, part) for part in (rows.train, rows.valid, rows.test))
        return Plan({}, Input.VECTORS, Output.LABEL, 1, 2, train, valid, test)

    def settle(self, state: Json, split: Split, outputs: list[Any]) -> Json:
        return state

    def misfits(self, summary: Json, state: Json, parameters: Any) -> list[Problem]:
        return []

    def instances(self, arrays: Arrays, state: Json) -> list[Instance]:
        numbers = Ragged.from_arrays(arrays, "numbers")
        return [Instance(row.tolist()) for row in numbers]  # type: ignore[attr-defined]

    def encode(self, state: Json, instance: Instance, parameters: Any) -> Example:
        return Example(np.array(instance.numbers, np.float32)[:, None], None)

    def decode(self, state: Json, example: Example, outputs: Floats, parameters: Any) -> Json:
        return {"probability": float(np.exp(outputs[1]))}

    def score(self, state: Json, split: Split, outputs: list[Floats]) -> tuple[Json, Json]:
        wanted = split.batch(np.arange(len(split.lengths)), None).targets
        right = np.array([row.argmax() for row in outputs]) == wanted
        return {"accuracy": float(right.mean())}, {"accuracy": float(max(wanted.mean(), 1 - wanted.mean()))}


TASK = Ninth()
