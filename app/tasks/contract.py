"""The contract of a task. A task is data, not a network: it never imports torch.

It turns an uploaded file into arrays, arrays into batches, a request into an example and the network's
outputs into an answer, and it has the metrics of answers.
"""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Protocol, TypedDict, runtime_checkable

import msgspec
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from app.arrays import Array, Arrays, Floats, Ints
from app.errors import Problem
from app.tasks.demonstration import Demo
from app.tasks.preview import PreviewRows, RowBounds
from app.tasks.source import Faults, Reading, Source
from app.typedefs import Json

PADDING, UNKNOWN, BEGIN, END = range(4)  # the first tokens of every vocabulary of words
PAIR_FACTOR = 1_000_003  # tokens (a, b) are in row (a * PAIR_FACTOR + b) % rows of a table of token pairs


class Input(StrEnum):
    """The kind of a network's inputs; `workers/inputs` has the code for each."""

    TOKENS = "tokens"  # token numbers, one column or several
    VECTORS = "vectors"  # one vector a step
    FRAMES = "frames"  # vectors at a high rate: a strided convolution reads `stride` of them as one step
    CLIPS = "clips"  # small images, one a step: a convolutional network reads each

    @property
    def dtype(self) -> "np.dtype[Any]":
        """The type of an input array: int64 for TOKENS, uint8 for CLIPS, else float32."""
        return np.dtype({Input.TOKENS: np.int64, Input.CLIPS: np.uint8}.get(self, np.float32))

    @property
    def datatype(self) -> str:
        """The same in the words of the Open Inference Protocol."""
        return {Input.TOKENS: "INT64", Input.CLIPS: "UINT8"}.get(self, "FP32")


class Output(StrEnum):
    """The kind of a network's outputs; `workers/outputs` has the code for each."""

    LABEL = "label"  # one label a sequence
    LABELS = "labels"  # one label a step
    QUANTILES = "quantiles"  # quantiles of the steps that follow
    NEXT_TOKEN = "next"  # noqa: S105 - the token that follows each step
    SEQUENCE = "sequence"  # another sequence of tokens, written by a decoder
    ALIGNED = "aligned"  # a shorter sequence of labels in the order of the steps (CTC, Graves et al. 2006)

    @property
    def stepwise(self) -> bool:
        """Whether a network is asked for one token after the other, by `workers/decoding`."""
        return self in (Output.NEXT_TOKEN, Output.SEQUENCE)

    @property
    def has_decoder(self) -> bool:
        """Whether a second network, the decoder, writes the outputs."""
        return self is Output.SEQUENCE

    @property
    def has_time_axis(self) -> bool:
        """Whether outputs have an axis of steps, so that each row has a length of its own."""
        return self in (Output.LABELS, Output.SEQUENCE, Output.ALIGNED)


def strided_lengths(lengths: "Ints", stride: int) -> "Ints":
    """Steps (rows,) that are left of `lengths` (rows,) input steps when each `stride` of them become one."""
    return -(-lengths // stride)


@dataclass(frozen=True)
class Batch:
    """Padded examples for one step of training, or for scoring.

    Inputs are (batch, time, features): float32 for VECTORS and FRAMES; int64 for TOKENS, whose first column
    is the token itself, 0 = padding and 1 = unknown in every column; uint8 for CLIPS, whose features are the
    pixels of an image, channel after channel and row after row. Targets, as the kind of output wants them:
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
    """What training needs of a data set: the splits, and the inputs and outputs of the network."""

    state: Json  # JSON from which encode and decode work; goes into the manifest
    input: Input
    output: Output
    features: int  # width of an input step: numbers of a vector, or columns of a token
    outputs: int  # width of the head: quantiles of all lead times, labels, or tokens
    train: Split
    valid: Split
    test: Split
    valid_for_score: Split | None = None  # the validation split in the form `score` takes, if `valid` is not
    refit: Split | None = None  # all data, for a final fit of as many steps as the best one took
    network: Json = field(default_factory=dict)  # further fields of the network's configuration
    tables: Arrays = field(default_factory=dict)  # initial values of the network's buffers, by their names
    final_tables: Arrays = field(default_factory=dict)  # those of the trained network, if other ones
    # Fields of the network's configuration with other values, for a second network whose metrics become the
    # baseline: it shows what that part of the network is worth.
    ablation: Json | None = None
    ablation_train: Split | None = None  # its training split, if not `train`
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Defaults:
    """The options of a job that names none, over the service's own defaults.

    A network or training option that neither has does not exist for this task and data set.
    """

    network: Json
    training: Json


@dataclass(frozen=True)
class Example:
    """One instance as the network reads it, with the context that `Task.decode` needs."""

    inputs: npt.NDArray[Any]  # (time, features) of the input kind's dtype
    context: Any
    decoding: Json | None = None  # settings of the decoding, where a network is asked token by token


@dataclass(frozen=True)
class DecodedTokens:
    """The tokens of an instance that is decoded token by token, all or so far."""

    tokens: Ints  # (n,)
    note: Json  # such as the reason of its end, a score, attention weights


@dataclass(frozen=True)
class TensorField:
    """A field of an instance or of a prediction as a tensor, one row an instance; its batch is implied.

    As an input it is named like the instance's field; an output's mapping becomes its last axis, in order.
    In a `binary` field, of datatype BYTES, the elements are `bytes` such as files: as they are in binary
    tensors, base64 in JSON. The field of the instance is then of the type `bytes`, and that of a prediction
    holds `bytes`, see `bytes_to_json`.
    """

    name: str
    datatype: str  # of the Open Inference Protocol, such as FP64 or BYTES
    shape: tuple[int, ...]  # of one row; -1 = variable
    required: bool = True
    missing: bool = False  # NaN, `null` in JSON, stands for a missing value
    binary: bool = False  # the elements are bytes, not text
    alternative: bool = False  # an instance has exactly one of the fields that are


def may_be_empty(inputs: Sequence[TensorField]) -> bool:
    """Whether an instance needs none of these fields, such as music that is composed from nothing."""
    return not any(field.required or field.alternative for field in inputs)


def bytes_to_json(value: object) -> str:
    """Base64 of bytes, as msgspec reads it into a field of type `bytes`; the `default` for orjson."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} is not JSON")


class Prediction(TypedDict, total=False):
    """What every prediction may have; a task's own type adds its fields."""

    warnings: list[str]


def with_warnings(prediction: Json, warnings: Sequence[str]) -> Json:
    """The prediction with the warnings about its instance, if there are any."""
    return prediction | {"warnings": list(warnings)} if warnings else prediction


class Instances(Protocol):
    """The examples of a data set as instances; each is made when it is read."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...


class Task(Protocol):
    """One kind of sequence learning. It is stateless: `state` comes from the plan."""

    name: ClassVar[str]
    bidirectional: ClassVar[bool]  # whether a network may read the sequence backwards too
    formats: ClassVar[tuple[str, ...]]
    columns: ClassVar[tuple[str, ...]]  # canonical columns that a mapping may name
    options: ClassVar[type[BaseModel]]
    instance: ClassVar[type[msgspec.Struct]]
    parameters: ClassVar[type[msgspec.Struct]]
    prediction: ClassVar[type[object]]  # a `Prediction`: the documented form of what `decode` returns
    preview_row: ClassVar[type[object]]  # a `PreviewRow`: the documented form of a row of `preview`
    example_instance: ClassVar[Json]
    example_prediction: ClassVar[Json]  # of that instance, as it might be
    example_datasets: ClassVar[dict[str, tuple[Json, Json]]]  # summaries and options with other defaults
    loss_changing: ClassVar[frozenset[str]]  # settings whose losses cannot be compared with each other
    slow_to_encode: ClassVar[
        bool
    ]  # whether encoding one instance would keep the event loop from other requests
    tensor_inputs: ClassVar[tuple[TensorField, ...]]  # of an instance
    tensor_outputs: ClassVar[tuple[TensorField, ...]]  # of a prediction
    instance_names: ClassVar[
        dict[str, str]
    ]  # column of a data set -> the instance's field, if named otherwise
    demo: ClassVar[Demo]

    def read(self, source: Source, faults: Faults) -> Reading:
        """The arrays of a file, its summary and warnings; every fault goes to `faults`."""
        ...

    def read_instances(self, source: Source, faults: Faults) -> list[Json]:
        """The examples of a file for prediction, as JSON; their fields may have the columns' names."""
        ...

    def check(self, summary: Json, options: Any) -> list[Problem]:
        """Reasons why a data set cannot be trained on with these options; pointers into the job."""
        ...

    def defaults(self, summary: Json, options: Any) -> Defaults:
        """The network and training that suit a data set, for a job that names only these options."""
        ...

    def sweep_metrics(self, summary: Json) -> dict[str, bool]:
        """The metrics of `score` by which networks can be compared, and whether more of each is better."""
        ...

    def plan(self, arrays: Arrays, options: Any, seed: int, bptt_steps: int | None = None) -> Plan:
        """Split the data and fit the encoding on the training split; streams are cut in `bptt_steps`."""
        ...

    def calibrate(self, state: Json, split: Split, outputs: list[Any]) -> Json:
        """The state with what outputs on the validation split teach; not called for stepwise outputs."""
        ...

    def check_dataset(self, summary: Json, state: Json, parameters: Any) -> list[Problem]:
        """Reasons why a model cannot predict a data set; pointers at `/dataset` and `/parameters`."""
        ...

    def instances(self, arrays: Arrays, state: Json) -> Instances:
        """All examples of a data set in order, as instances; the arrays may be memory-mapped."""
        ...

    def preview(self, arrays: Arrays, bounds: RowBounds) -> PreviewRows:
        """All examples in order, for people, within bounds; whole rows have the bytes of a file."""
        ...

    def encode(self, state: Json, instances: Iterable[Any], parameters: Any) -> list[Example]:
        """The network's input for each instance, the same whatever the others are.

        Raises `InvalidInstance` about the first that cannot be encoded, or `Invalid` about the parameters.
        """
        ...

    def decode(
        self, state: Json, examples: Sequence[Example], outputs: Sequence[Any], parameters: Any
    ) -> list[Json]:
        """The prediction that the network's outputs for each example mean, the same whatever the others are.

        Outputs of an example are, for QUANTILES and LABEL, float32 (width,); for LABELS the best labels
        (time,); for ALIGNED log-probabilities (steps, labels); for NEXT_TOKEN and SEQUENCE `DecodedTokens`.
        """
        ...

    def step_labels(self, state: Json, instance: Any, example: Example) -> list[str]:
        """A name for people of each step that the network reads of an encoded instance, such as its words.

        Of FRAMES the steps are those after the convolution, `strided_lengths` of the input's.
        """
        ...

    def score(self, state: Json, split: Split, outputs: list[Any]) -> tuple[Json, Json]:
        """Metrics of the network and of the non-neural baseline on the same examples, in split order.

        Outputs are as for `decode`, but for NEXT_TOKEN the negative log-likelihood of each target (time,), in
        nats.
        """
        ...


class StreamDetokenizer(Protocol):
    """Incremental detokenizer for one instance; text it has emitted is never retracted."""

    @property
    def ended(self) -> bool:
        """Whether the text has ended, so that further tokens add nothing."""
        ...

    @property
    def tokens(self) -> int:
        """How many tokens the text has."""
        ...

    def push(self, tokens: Sequence[int], /) -> str:
        """The text that some more tokens add."""
        ...

    def close(self) -> str:
        """The rest of the text, after the last token."""
        ...


def batch_stream_problems(*, stream: bool) -> list[Problem]:
    """The problem of a batch of predictions whose parameters ask for a stream."""
    return [Problem("/parameters/stream", "A batch of predictions cannot be streamed.")] if stream else []


@runtime_checkable
class StreamingTask(Protocol):
    """A task whose predictions are texts that can be streamed."""

    def detokenizer(self, state: Json, decoding: Json) -> StreamDetokenizer:
        """A detokenizer for the tokens that are decoded with these settings."""
        ...


class PieceReader(Protocol):
    """Reads the outputs for pieces of one instance's input, one after the other."""

    @property
    def pieces(self) -> Sequence[tuple[int, int]]:
        """The steps of each piece, the end exclusive; one may begin where the one before it did."""
        ...

    @property
    def tokens(self) -> int:
        """How many tokens the text has."""
        ...

    def push(self, outputs: Array, /) -> str:
        """The text that the outputs for the next piece add; it is never retracted."""
        ...

    def close(self) -> Json:
        """The prediction, after the last piece."""
        ...


class Listener(Protocol):
    """Hears one recording while it is spoken; the messages are JSON for the client."""

    def feed(self, pcm: bytes, /, *, ended: bool = False) -> Floats | None:
        """Hear some more 16-bit samples: the network's input to compute now, or None to hear more first.

        Where the recording has `ended`, call it until it gives None.
        """
        ...

    def push(self, outputs: Array, /) -> Json:
        """The message that the outputs for the last input mean: a text that may change, or a final one."""
        ...

    def close(self) -> Json:
        """The last message: the prediction for all that was heard."""
        ...


@runtime_checkable
class ListeningTask(Protocol):
    """A task that can answer while its instance is being recorded."""

    def listener(self, state: Json, parameters: Any, sample_rate: int | None) -> Listener:
        """A listener for samples at a rate in Hz, None: the model's own; raises `Invalid`."""
        ...


@runtime_checkable
class PiecewiseTask(Protocol):
    """A task whose networks answer at once, and whose texts are streamed piece by piece of the input."""

    def piece_reader(self, state: Json, example: Example, parameters: Any, *, causal: bool) -> PieceReader:
        """A reader for one instance; the outputs of a `causal` network do not depend on later inputs."""
        ...
