"""Classification: one label for a text, or for a sequence of sensor readings."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import msgspec
import numpy as np
from pydantic import BaseModel

from app.arrays import Arrays, Floats, Ints
from app.errors import Invalid, Problem
from app.tasks.classification import baseline
from app.tasks.classification.demo import DEMO
from app.tasks.classification.evaluation import EVALUATION
from app.tasks.classification.instances import ClassificationInstances
from app.tasks.classification.linear_path import linear_tables
from app.tasks.classification.ngram_tables import ngram_tables, pair_rows_for
from app.tasks.classification.options import (
    EXAMPLE_INSTANCE,
    EXAMPLE_PREDICTION,
    ClassificationInstance,
    ClassificationOptions,
    ClassificationParameters,
    check_options,
    default_hyperparameters,
    workload,
)
from app.tasks.classification.preview import ClassificationPreviewRow, preview_examples
from app.tasks.classification.reading import LABEL, LABELS, VALUES, read_labelled, read_values
from app.tasks.classification.sensor_encoding import (
    EncodedReadings,
    encode_readings,
    standardize,
)
from app.tasks.classification.text_encoding import EncodedTexts, fit_encoder, load_encoder
from app.tasks.contract import Batch, Defaults, Example, Input, Output, Plan, Split, TensorField
from app.tasks.demonstration import Demo
from app.tasks.encode_instances import encode_each
from app.tasks.evaluation.contract import TaskEvaluation
from app.tasks.preview import PreviewRows
from app.tasks.shared import label_metrics
from app.tasks.shared.label_weights import label_weights
from app.tasks.shared.ragged import Texts
from app.tasks.shared.splits import SPLIT, VALID, SplitRows, partition_rows
from app.tasks.shared.text_checks import TEXT
from app.tasks.source import Faults, Reading, Source
from app.tasks.workload import Workload
from app.typedefs import Json

SPARE_ROWS = 8  # rows of the table of pairs for each pair


@dataclass(frozen=True)
class ClassificationEvaluationData:
    """The whole data set, from which the baseline learns."""

    arrays: Arrays
    encoded: EncodedTexts | EncodedReadings
    train: Ints  # rows for the baseline: the training split, and a validation split that was sampled from it


class ClassificationSplit:
    """Some rows of a data set as the split a training loop reads."""

    def __init__(self, rows: Ints, data: ClassificationEvaluationData, weights: Floats) -> None:
        self.rows, self.data = rows, data
        self._weights = weights  # (labels,)
        self.lengths: Ints = data.encoded.lengths[rows]  # (examples,)
        self.labels: Ints = data.arrays[LABEL][rows]  # (examples,)
        self.carried = False

    def batch(self, rows: Ints, rng: "np.random.Generator | None") -> Batch:
        """Gather examples as the LABEL loss expects them."""
        del rng
        inputs, lengths = self.data.encoded.gather(self.rows[rows])
        labels = self.labels[rows]
        return Batch(inputs, lengths, labels, self._weights[labels])


class Classification:
    """Texts become tokens, readings are standardized by channel; probabilities are calibrated."""

    name: ClassVar[str] = "classification"
    bidirectional: ClassVar[bool] = True
    formats: ClassVar[tuple[str, ...]] = ("csv", "tsv", "jsonl", "parquet")
    columns: ClassVar[tuple[str, ...]] = (TEXT, VALUES, LABEL, SPLIT)
    options: ClassVar[type[BaseModel]] = ClassificationOptions
    instance: ClassVar[type[msgspec.Struct]] = ClassificationInstance
    parameters: ClassVar[type[msgspec.Struct]] = ClassificationParameters
    prediction: ClassVar[type[object]] = label_metrics.LabelPrediction
    preview_row: ClassVar[type[object]] = ClassificationPreviewRow
    example_instance: ClassVar[Json] = EXAMPLE_INSTANCE
    example_prediction: ClassVar[Json] = EXAMPLE_PREDICTION
    example_datasets: ClassVar[dict[str, tuple[Json, Json]]] = {
        "10,000 texts": ({"kind": TEXT, "examples": 10_000}, {}),
        "sensor readings": ({"kind": VALUES, "examples": 1_000}, {}),
    }
    slow_to_encode: ClassVar[bool] = False
    loss_changing: ClassVar[frozenset[str]] = frozenset()
    tensor_inputs: ClassVar[tuple[TensorField, ...]] = (
        TensorField(TEXT, "BYTES", (), required=False, alternative=True),
        TensorField(VALUES, "FP64", (-1, -1), required=False, alternative=True),  # (time, channels)
    )
    tensor_outputs: ClassVar[tuple[TensorField, ...]] = (
        TensorField(LABEL, "BYTES", ()),
        TensorField("scores", "FP64", (-1,)),  # (labels,)
    )
    instance_names: ClassVar[dict[str, str]] = {}
    demo: ClassVar[Demo] = DEMO
    evaluation: ClassVar[TaskEvaluation] = EVALUATION

    def read(self, source: Source, faults: Faults) -> Reading:
        """Read texts or readings, with their labels where they have them."""
        return read_labelled(source, faults)

    def read_instances(self, source: Source, faults: Faults) -> list[Json]:
        """One instance a record."""
        del faults
        return [record for _, record in source.records()]

    def check(self, summary: Json, options: ClassificationOptions) -> list[Problem]:
        """Report a vocabulary too small for its unit, and weights of labels that no example has."""
        return check_options(summary, options)

    def defaults(self, summary: Json, options: ClassificationOptions) -> Defaults:
        """Defaults for texts or for readings."""
        return Defaults(*default_hyperparameters(summary, options))

    def workload(
        self, summary: Json, options: ClassificationOptions, network: Json, training: Json
    ) -> Workload:
        """How much a training computes at once."""
        return workload(summary, options, network, training)

    def sweep_metrics(self, summary: Json) -> dict[str, bool]:
        """Accuracy over examples, F1 averaged over labels, and the likelihood of the expected labels."""
        del summary
        return {"accuracy": True, "macro_f1": True, "log_loss": False}

    def plan(
        self, arrays: Arrays, options: ClassificationOptions, seed: int, bptt_steps: int | None = None
    ) -> Plan:
        """Split by label, and fit vocabulary or scale on the training part."""
        del bptt_steps  # a sequence has one loss
        kind = TEXT if TEXT in arrays else VALUES
        labels = Texts.from_arrays(arrays, LABELS)
        rows = partition_rows(arrays[SPLIT], seed, arrays[LABEL])
        state: Json = {"kind": kind, "labels": labels.pick(range(len(labels))), "temperature": 1.0}
        state["longest"], state["calibrate"] = options.max_steps(kind), options.calibrate
        encoded, network = _encode_all(arrays, rows, options, state)
        sampled = rows.valid[arrays[SPLIT][rows.valid] != VALID]
        data = ClassificationEvaluationData(arrays, encoded, np.union1d(rows.train, sampled))
        weights = label_weights(arrays[LABEL][rows.train], state["labels"], options.class_weights)
        equal = np.ones(len(labels), np.float32)
        plan = Plan(
            state=state,
            input=Input.TOKENS if kind == TEXT else Input.VECTORS,
            output=Output.LABEL,
            features=encoded.width,
            outputs=len(labels),
            train=ClassificationSplit(rows.train, data, weights),
            valid=ClassificationSplit(rows.valid, data, equal),
            test=ClassificationSplit(rows.test, data, equal),
            network=network,
            warnings=_truncation_warnings(encoded, state["longest"]),
        )
        # A job that was submitted before there were n-grams goes on without them: its checkpoints have none.
        has_ngrams = options.ngrams and "ngrams" in options.model_fields_set
        if isinstance(encoded, EncodedReadings) or not has_ngrams:
            return plan
        return _with_ngrams(encoded, rows.train, data, plan, counts_only=options.counts_only)

    def calibrate(self, state: Json, split: Split, outputs: list[Floats]) -> Json:
        """The state with the temperature that calibrates the outputs, if the job is to calibrate."""
        if not state["calibrate"]:
            return state
        labels = classification_split(split).labels
        return state | {"temperature": label_metrics.fit_temperature(np.stack(outputs), labels)}

    def check_dataset(
        self, summary: Json, state: Json, parameters: ClassificationParameters
    ) -> list[Problem]:
        """Report another kind of data, or another number of channels, than the model was trained on."""
        del parameters
        if summary["kind"] != state["kind"]:
            detail = f"its examples are {summary['kind']}, the model was trained on {state['kind']}"
            return [Problem("/dataset", detail)]
        if summary["kind"] == VALUES and summary["channels"] != len(state["mean"]):
            detail = f"its examples have {summary['channels']} channels, the model takes {len(state['mean'])}"
            return [Problem("/dataset", detail)]
        return []

    def instances(self, arrays: Arrays, state: Json) -> ClassificationInstances:
        """Each example without its label."""
        del state
        return ClassificationInstances(arrays)

    def preview(self, arrays: Arrays) -> PreviewRows:
        """The texts or readings with their labels."""
        return preview_examples(arrays)

    def encode(
        self,
        state: Json,
        instances: Iterable[ClassificationInstance],
        parameters: ClassificationParameters,
    ) -> list[Example]:
        """Texts as tokens with characters (time, columns), or standardized readings (time, channels)."""
        del parameters
        return encode_each(instances, partial(_encode_instance, state))

    def decode(
        self,
        state: Json,
        examples: Sequence[Example],
        outputs: Sequence[Floats],
        parameters: ClassificationParameters,
    ) -> list[Json]:
        """The most probable label, and the probabilities of labels in falling order."""
        del examples
        return [label_metrics.label_answer(state, row, parameters.top_k) for row in outputs]

    def step_labels(self, state: Json, instance: ClassificationInstance, example: Example) -> list[str]:
        """The words or other tokens of a text, or the numbers of the readings."""
        if state["kind"] == VALUES:
            return [str(number) for number in range(1, 1 + len(example.inputs))]
        return load_encoder(state["spelling"]).labels(instance.text or "")

    def score(self, state: Json, split: Split, outputs: list[Floats]) -> tuple[Json, Json]:
        """Accuracy, F1 and calibration; of naive Bayes or the nearest neighbor accuracy and F1."""
        examples, log_probabilities = classification_split(split), np.stack(outputs)
        expected = examples.labels
        network = label_metrics.evaluate_labels(state, expected, log_probabilities)
        return network, label_metrics.overall_scores(_predict_baseline(examples), expected)


def _encode_instance(state: Json, instance: ClassificationInstance) -> Example:
    """A text or readings as the network's input; raises `Invalid` with a pointer."""
    value = instance.text if state["kind"] == TEXT else instance.values
    other = instance.values if state["kind"] == TEXT else instance.text
    if value is None or other is not None:
        raise Invalid(problems=[Problem("", f"this model takes {state['kind']}, and nothing else")])
    if isinstance(value, str):
        return Example(load_encoder(state["spelling"]).encode(value), None)
    readings = read_values(value, len(state["mean"]))
    if isinstance(readings, str):
        raise Invalid(problems=[Problem("/values", readings)])
    return Example(standardize(readings[: state["longest"]], state), None)


def _encode_all(
    arrays: Arrays, rows: SplitRows, options: ClassificationOptions, state: Json
) -> tuple[EncodedTexts | EncodedReadings, Json]:
    """All examples as inputs, and the network's configuration of them; the encoding goes into the state."""
    if state["kind"] == VALUES:
        readings = encode_readings(arrays, rows, options, state)
        return readings, readings.network(rows.train)
    texts = Texts.from_arrays(arrays, TEXT)
    state["spelling"] = fit_encoder(texts, rows.train, options)
    encoder = load_encoder(state["spelling"])
    return encoder.encode_all(texts), encoder.network


def _with_ngrams(
    encoded: EncodedTexts,
    train: Ints,
    data: ClassificationEvaluationData,
    plan: Plan,
    *,
    counts_only: bool,
) -> Plan:
    """The plan of a network that adds the scores of n-grams to its own.

    Their weight is chosen with tables of the training rows; the final tables are of all rows that the
    baseline learns from.
    """
    pairs = int(encoded.lengths[data.train].sum())
    rows = pair_rows_for(pairs, plan.outputs, 1 if counts_only else SPARE_ROWS)
    if not rows:
        return plan
    shape, labels = (plan.network["vocabularies"][0], rows, plan.outputs), data.arrays[LABEL]
    if counts_only:
        tables, final = (ngram_tables(encoded, part, labels, shape) for part in (train, data.train))
    else:
        tables, final = linear_tables(encoded, train, data.train, labels, shape)
    return replace(plan, network=plan.network | {"pair_rows": rows}, tables=tables, final_tables=final)


def _truncation_warnings(encoded: EncodedTexts | EncodedReadings, max_steps: int | None) -> list[str]:
    if not encoded.truncated:
        return []
    return [f"Of {encoded.truncated:,} examples only the first {max_steps:,} tokens or steps are read."]


def _predict_baseline(examples: ClassificationSplit) -> Ints:
    """The baseline's label of each example, (examples,)."""
    data = examples.data
    labels: Ints = data.arrays[LABEL]
    if isinstance(data.encoded, EncodedReadings):
        return baseline.nearest_neighbor(data.encoded.readings, labels, data.train, examples.rows)
    texts = Texts.from_arrays(data.arrays, TEXT)
    return baseline.naive_bayes(texts.pick(data.train), labels[data.train], texts.pick(examples.rows))


def classification_split(split: Split) -> ClassificationSplit:
    """The split as one of this task; raises `TypeError` for another."""
    if isinstance(split, ClassificationSplit):
        return split
    raise TypeError("only labelled examples can be scored")


TASK = Classification()
