"""Classification: one label for a text, or for a sequence of sensor readings."""

from dataclasses import dataclass
from typing import ClassVar

import msgspec
import numpy as np
from pydantic import BaseModel

from app.errors import Invalid, Problem
from app.tasks.classification import text_encoding
from app.tasks.classification.baseline import bayes
from app.tasks.classification.metrics import calibration_error, details, judge, probabilities, temperature
from app.tasks.classification.nearest import nearest
from app.tasks.classification.options import Instance, Options, Parameters, check_options, defaults
from app.tasks.classification.reading import LABEL, SPLIT, TEXT, VALUES, read_labelled, read_values
from app.tasks.classification.sensor_encoding import Measured, learn_scale, scaled, weights_of
from app.tasks.classification.text_encoding import Spelled
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
from app.tasks.shared.ragged import Ragged, Texts
from app.tasks.shared.splits import VALID, Rows, partition
from app.typedefs import Json


@dataclass(frozen=True)
class Told:
    """The whole data set, from which the answers without a network are learned."""

    arrays: Arrays
    sequences: Spelled | Measured
    train: Ints  # rows, those that were drawn for validation too


class Examples:
    """Some rows as the split a training loop reads."""

    def __init__(self, rows: Ints, told: Told, weights: Floats) -> None:
        self.rows, self.told = rows, told
        self._weights = weights  # (labels,)
        self.lengths: Ints = told.sequences.lengths[rows]  # (examples,)
        self.labels: Ints = told.arrays[LABEL][rows]  # (examples,)
        self.carried = False

    def batch(self, rows: Ints, rng: "np.random.Generator | None") -> Batch:
        """Gather examples as the LABEL loss wants them."""
        del rng
        inputs, lengths = self.told.sequences.gather(self.rows[rows])
        labels = self.labels[rows]
        return Batch(inputs, lengths, labels, self._weights[labels])


class Requests:
    """The examples of a data set as instances, each read when it is asked for."""

    def __init__(self, arrays: Arrays) -> None:
        self._texts = Texts.from_arrays(arrays, TEXT) if TEXT in arrays else None
        self._readings = Ragged.from_arrays(arrays, VALUES) if VALUES in arrays else None
        self._count = len(arrays[LABEL])

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Instance:
        if self._texts is not None:
            return Instance(text=self._texts[index])
        if self._readings is None:
            raise IndexError(index)
        return Instance(values=self._readings[index].astype(np.float64).tolist())


class Classification:
    """Texts become tokens, readings are standardised by channel; probabilities are calibrated."""

    name: ClassVar[str] = "classification"
    bidirectional: ClassVar[bool] = True
    formats: ClassVar[tuple[str, ...]] = ("csv", "tsv", "jsonl", "parquet")
    columns: ClassVar[tuple[str, ...]] = (TEXT, VALUES, LABEL, SPLIT)
    options: ClassVar[type[BaseModel]] = Options
    instance: ClassVar[type[msgspec.Struct]] = Instance
    parameters: ClassVar[type[msgspec.Struct]] = Parameters
    typical: ClassVar[dict[str, tuple[Json, Json]]] = {
        "10,000 texts": ({"kind": TEXT, "examples": 10_000}, {}),
        "sensor readings": ({"kind": VALUES, "examples": 1_000}, {}),
    }
    loss_of: ClassVar[frozenset[str]] = frozenset()
    tensor_inputs: ClassVar[tuple[TensorField, ...]] = (
        TensorField(TEXT, "BYTES", (), required=False),
        TensorField(VALUES, "FP64", (-1, -1), required=False),  # (time, channels)
    )
    tensor_outputs: ClassVar[tuple[TensorField, ...]] = (
        TensorField(LABEL, "BYTES", ()),
        TensorField("scores", "FP64", (-1,)),  # (labels,)
    )

    def read(self, source: Source, faults: Faults) -> Reading:
        """Read texts or readings with their labels."""
        return Reading(*read_labelled(source, faults))

    def check(self, summary: Json, options: Options) -> list[Problem]:
        """A vocabulary too small for its unit, or weights of labels that are not there."""
        return check_options(summary, options)

    def defaults(self, summary: Json, options: Options) -> Defaults:
        """By kind of data."""
        return Defaults(*defaults(summary, options))

    def measures(self, summary: Json) -> dict[str, bool]:
        """How many are right, of each label alike, or how likely the right ones are."""
        del summary
        return {"accuracy": True, "macro_f1": True, "log_loss": False}

    def plan(self, arrays: Arrays, options: Options, seed: int, bptt_steps: int | None = None) -> Plan:
        """Split by label, and learn vocabulary or scale from the training part."""
        del bptt_steps  # a sequence has one loss
        kind = TEXT if TEXT in arrays else VALUES
        labels = Texts.from_arrays(arrays, "labels")
        rows = partition(arrays[SPLIT], seed, arrays[LABEL])
        state: Json = {"kind": kind, "labels": labels.pick(range(len(labels))), "temperature": 1.0}
        state["longest"], state["calibrate"] = options.longest(kind), options.calibrate
        sequences, network = _sequences(arrays, rows, options, state)
        drawn = rows.valid[arrays[SPLIT][rows.valid] != VALID]
        told, weights = (
            Told(arrays, sequences, np.union1d(rows.train, drawn)),
            weights_of(arrays[LABEL][rows.train], state, options),
        )
        even = np.ones(len(labels), np.float32)
        return Plan(
            state=state,
            input=Input.TOKENS if kind == TEXT else Input.VECTORS,
            output=Output.LABEL,
            features=sequences.width,
            outputs=len(labels),
            train=Examples(rows.train, told, weights),
            valid=Examples(rows.valid, told, even),
            test=Examples(rows.test, told, even),
            network=network,
            warnings=_warnings(sequences, state["longest"]),
        )

    def settle(self, state: Json, split: Split, outputs: list[Floats]) -> Json:
        """Find the temperature."""
        if not state["calibrate"]:
            return state
        return state | {"temperature": temperature(np.stack(outputs), examples_of(split).labels)}

    def misfits(self, summary: Json, state: Json, parameters: Parameters) -> list[Problem]:
        """Another kind of data, or other channels."""
        del parameters
        if summary["kind"] != state["kind"]:
            told = f"its examples are {summary['kind']}, the model was trained on {state['kind']}"
            return [Problem("/dataset", told)]
        if summary["kind"] == VALUES and summary["channels"] != len(state["mean"]):
            told = f"its examples have {summary['channels']} channels, the model takes {len(state['mean'])}"
            return [Problem("/dataset", told)]
        return []

    def instances(self, arrays: Arrays, state: Json) -> Requests:
        """Each example without its label."""
        del state
        return Requests(arrays)

    def encode(self, state: Json, instance: Instance, parameters: Parameters) -> Example:
        """A text as tokens and their characters (time, columns), or readings (time, channels) scaled."""
        del parameters
        given = instance.text if state["kind"] == TEXT else instance.values
        other = instance.values if state["kind"] == TEXT else instance.text
        if given is None or other is not None:
            raise Invalid(problems=[Problem("", f"this model takes {state['kind']}, and nothing else")])
        if isinstance(given, str):
            return Example(text_encoding.load(state["spelling"]).rows(given), None)
        found = read_values(given, len(state["mean"]))
        if isinstance(found, str):
            raise Invalid(problems=[Problem("/values", found)])
        return Example(scaled(found[: state["longest"]], state), None)

    def decode(self, state: Json, example: Example, outputs: Floats, parameters: Parameters) -> Json:
        """The likeliest label, and the probabilities of labels, the likeliest first."""
        del example
        likely = probabilities(outputs, state["temperature"])
        order = np.argsort(-likely, kind="stable")[: parameters.top_k]
        scores = {state["labels"][place]: float(likely[place]) for place in order.tolist()}
        return {"label": next(iter(scores)), "scores": scores}

    def score(self, state: Json, split: Split, outputs: list[Floats]) -> tuple[Json, Json]:
        """Accuracy, F1 and calibration; of naive Bayes or the nearest neighbour too."""
        examples, logs, labels = examples_of(split), np.stack(outputs), state["labels"]
        told, wanted = examples.told, examples.labels
        likely = probabilities(logs, state["temperature"])
        said = likely.argmax(axis=1)
        metrics = judge(said, wanted, labels) | {
            "calibration_error": calibration_error(likely, wanted),
            "calibration_error_before": calibration_error(probabilities(logs, 1.0), wanted),
            "log_loss": float(-np.log(np.maximum(likely[np.arange(len(wanted)), wanted], 1e-12)).mean()),
        }
        every: Ints = told.arrays[LABEL]
        if state["kind"] == TEXT:
            texts = Texts.from_arrays(told.arrays, TEXT)
            known = (texts.pick(told.train), every[told.train])
            counted = bayes(*known, texts.pick(examples.rows), len(labels))
        else:
            assert isinstance(told.sequences, Measured)  # noqa: S101 - as the kind says
            counted = nearest(told.sequences.readings, every, told.train, examples.rows)
        return metrics | details(said, wanted, labels), judge(counted, wanted, labels)


def _sequences(arrays: Arrays, rows: Rows, options: Options, state: Json) -> tuple[Spelled | Measured, Json]:
    """All examples as a network reads them, and what it must know of them; encoding goes into the state."""
    if state["kind"] == VALUES:
        return learn_scale(arrays, rows, options, state), {}
    texts = Texts.from_arrays(arrays, TEXT)
    state["spelling"] = text_encoding.learn(texts, rows.train, options)
    speller = text_encoding.load(state["spelling"])
    return speller.table(texts), speller.network


def _warnings(sequences: Spelled | Measured, longest: int | None) -> list[str]:
    if not sequences.cuts:
        return []
    return [f"Of {sequences.cuts:,} examples only the first {longest:,} tokens or steps are read."]


def examples_of(split: Split) -> Examples:
    """A split of ours; raises `TypeError` for another."""
    if isinstance(split, Examples):
        return split
    raise TypeError("only labelled examples can be scored")


TASK = Classification()
