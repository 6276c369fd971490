"""What a task is: data, not a network.

How a file becomes arrays, arrays become batches, a request becomes an example, the network's outputs become
an answer, and how an answer is scored. It is numpy only.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Protocol

import msgspec
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from app.errors import DatasetInvalid, Problem, pointer
from app.typedefs import Json

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Arrays = dict[str, Array]

MAX_FAULTS = 20

PADDING, UNKNOWN, BEGIN, END = range(4)  # the first tokens of every vocabulary of words


class Input(StrEnum):
    """What goes into the network at each step."""

    TOKENS = "tokens"
    VECTORS = "vectors"
    FRAMES = "frames"


class Output(StrEnum):
    """What comes out of the network."""

    LABEL = "label"
    LABELS = "labels"
    QUANTILES = "quantiles"
    NEXT = "next"
    SEQUENCE = "sequence"
    ALIGNED = "aligned"


class Faults:
    """Collects what is wrong with a file; gives up at the twentieth fault."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def add(self, detail: str, *, row: int | None = None, column: str | None = None) -> None:
        """Note a fault at a 1-based line of the file (the header counts) and a column or field."""
        line = () if row is None else ("row", row)
        field = ("column", column) if column else ()
        self.found.append(Problem(pointer("file", *line, *field), detail))
        if len(self.found) >= MAX_FAULTS:
            self.check()

    def check(self) -> None:
        """Raise `DatasetInvalid` if anything was found."""
        if self.found:
            raise DatasetInvalid(f"The file cannot be used: {self.found[0].detail}", self.found)


@dataclass(frozen=True)
class Chunk:
    """Some consecutive rows of a table: text or typed values, column by column, with their line numbers."""

    rows: Ints  # (n,) 1-based line in the file for text formats, 1-based row for Parquet
    columns: dict[str, npt.NDArray[Any]]  # canonical name -> (n,) object array of str, or typed values


class Source(Protocol):
    """An uploaded file, already opened in its format."""

    format: str

    def chunks(self) -> Iterator[Chunk]:
        """Rows of a tabular file under their canonical column names, in file order."""
        ...

    def records(self) -> Iterator[tuple[int, Json]]:
        """Objects of a JSON Lines file with their 1-based line numbers."""
        ...


@dataclass(frozen=True)
class Reading:
    """What a file became: arrays that are stored, a summary that is shown, and warnings."""

    arrays: Arrays
    summary: Json
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Batch:
    """Padded examples for one step of training, or for scoring.

    Inputs are (batch, time, features): float32 for VECTORS; int64 for TOKENS, whose first column is the
    token itself, 0 = padding and 1 = unknown in every column. Targets, as the kind of output wants them:
    QUANTILES (batch, time, horizon) float32; LABEL (batch,), LABELS and NEXT (batch, time) int64; SEQUENCE
    (batch, target time) int64 from `BEGIN` to `END`.
    """

    inputs: npt.NDArray[Any]
    lengths: Ints  # (batch,)
    targets: npt.NDArray[Any]
    weights: Floats  # of the targets' shape; 0 = not observed or not scored


class Split(Protocol):
    """A set of examples a batch can be gathered from by index."""

    lengths: Ints  # (examples,) steps of each example, for bucketing
    carried: bool  # each example goes on where the one before it ended: the network's state is carried over

    def batch(self, rows: Ints, rng: "np.random.Generator | None") -> Batch:
        """Gather examples; with `rng` a random view of each (training), without it the canonical one."""
        ...


@dataclass(frozen=True)
class Plan:
    """All that training needs of a data set: what the network looks like outside, and the splits."""

    state: Json  # JSON from which encode and decode work; goes into the manifest
    input: Input
    output: Output
    features: int  # width of an input step: numbers of a vector, or columns of a token
    outputs: int  # width of the head: quantiles of all lead times, labels, or tokens
    train: Split
    valid: Split
    test: Split
    judged: Split | None = None  # the validation data as `score` wants them, where `valid` is not so
    refit: Split | None = None  # all data, for a final fit of as many steps as the best one took
    network: Json = field(default_factory=dict)  # what else the network's configuration needs
    tables: Arrays = field(default_factory=dict)  # what it begins with, by the names of its buffers
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Defaults:
    """What a job gets where it says nothing, over the service's own defaults.

    A network or training option that is in neither does not exist for this task and data set.
    """

    network: Json
    training: Json


@dataclass(frozen=True)
class Example:
    """One instance as the network sees it, with what decoding needs to make the answer."""

    inputs: npt.NDArray[Any]  # (time, features) float32, or int64 for tokens
    context: Any
    search: Json | None = None  # how to decode, where the network is asked step by step; JSON


@dataclass(frozen=True)
class Found:
    """What decoding step by step found, whole or so far."""

    tokens: Ints  # (n,)
    note: Json  # such as why it ended, a score, attention weights


@dataclass(frozen=True)
class TensorField:
    """A field of an instance or of a prediction as a tensor, one row an instance; its batch is implied.

    As an input it is named like the instance's field; an output's mapping becomes its last axis, in order.
    """

    name: str
    datatype: str  # of the Open Inference Protocol, such as FP64 or BYTES
    shape: tuple[int, ...]  # of one row; -1 = variable
    required: bool = True
    missing: bool = False  # NaN, `null` in JSON, stands for a missing value


class Instances(Protocol):
    """The examples of a data set as instances, each made only when it is asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...


class Task(Protocol):
    """One kind of sequence learning. Everything is stateless: `state` comes from the plan."""

    name: ClassVar[str]
    bidirectional: ClassVar[bool]  # whether reading the sequence backwards too makes sense
    formats: ClassVar[tuple[str, ...]]
    columns: ClassVar[tuple[str, ...]]  # canonical columns a mapping may name
    options: ClassVar[type[BaseModel]]
    instance: ClassVar[type[msgspec.Struct]]
    parameters: ClassVar[type[msgspec.Struct]]
    typical: ClassVar[dict[str, tuple[Json, Json]]]  # what its defaults differ by: summary and options
    loss_of: ClassVar[frozenset[str]]  # settings that change what a loss is of, so that it cannot judge them
    tensor_inputs: ClassVar[tuple[TensorField, ...]]  # how tensors tell an instance
    tensor_outputs: ClassVar[tuple[TensorField, ...]]  # how they tell a prediction

    def read(self, source: Source, faults: Faults) -> Reading:
        """Check a file and turn it into arrays; every fault goes to `faults`."""
        ...

    def check(self, summary: Json, options: Any) -> list[Problem]:
        """Why a data set with this summary cannot be trained on with these options; pointers into the job."""
        ...

    def defaults(self, summary: Json, options: Any) -> Defaults:
        """What suits a data set with this summary, for a job that names nothing but these options."""
        ...

    def measures(self, summary: Json) -> dict[str, bool]:
        """Metrics of `score` that networks can be compared by, and whether more of each is better."""
        ...

    def plan(self, arrays: Arrays, options: Any, seed: int, bptt_steps: int | None = None) -> Plan:
        """Split the data and fit whatever the encoding needs, on training data only; cut streams in steps."""
        ...

    def settle(self, state: Json, split: Split, outputs: list[Any]) -> Json:
        """The state with what is learned from outputs on the validation split; not for NEXT and SEQUENCE."""
        ...

    def misfits(self, summary: Json, state: Json, parameters: Any) -> list[Problem]:
        """Why a data set with this summary cannot be predicted so; pointers at `/dataset`, `/parameters`."""
        ...

    def instances(self, arrays: Arrays, state: Json) -> Instances:
        """All examples of a data set in order, as requests tell them; the arrays may be memory-mapped."""
        ...

    def encode(self, state: Json, instance: Any, parameters: Any) -> Example:
        """Turn one instance into the network's input; raises `Invalid` with a pointer below the instance."""
        ...

    def decode(self, state: Json, example: Example, outputs: Any, parameters: Any) -> Json:
        """Turn the network's outputs for one example into the answer of the API.

        They are for QUANTILES and LABEL float32 (width,), for LABELS the best tags (time,), for NEXT and
        SEQUENCE what was `Found`.
        """
        ...

    def score(self, state: Json, split: Split, outputs: list[Any]) -> tuple[Json, Json]:
        """Metrics of the network and of the non-neural baseline on the same examples, in split order.

        Outputs are as for `decode`, but for NEXT the negative log-likelihood of each target, in nats (time,).
        """
        ...
