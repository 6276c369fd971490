"""What every task owes: JSON state, fitting shapes, and answers that do not depend on who else asks.

A new task adds one `Sample` here and passes everything below with every cell, or it is not done.
"""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import numpy as np
import orjson
import pytest

from app.errors import Invalid
from app.hyperparameters.options import NETWORK, TRAINING, NetworkIn, TrainingIn
from app.ingest.readers import Mapping, open_source
from app.prediction.explanation_request import GRADIENT, INTEGRATED_GRADIENTS, MAX_EXPLAINED_STEPS
from app.tasks import TASKS
from app.tasks.contract import (
    Batch,
    DecodedTokens,
    Example,
    Input,
    Output,
    Plan,
    Split,
    Task,
    bytes_to_json,
    strided_lengths,
)
from app.tasks.preview import BRIEF, MAX_PREVIEW_ROWS, WHOLE, encode_preview
from app.tasks.source import Faults, Reading
from app.typedefs import Json
from tests.support.factories import clips, labels, music, recordings
from tests.support.factories.bilingual import jsonl, sentences, tsv
from tests.support.factories.tagged import entities, parts_of_speech, to_conll, to_jsonl
from tests.support.factories.texts import poems, verses
from tests.support.fixtures.made_once import made_once
from tests.support.fixtures.service import monthly
from tests.support.single import decode_one, encode_one
from workers.artifact.export import read_manifest
from workers.decoding.scheduler import decode_all
from workers.explanation.explain import explain
from workers.inference.engines import Engine, open_onnx, unpadded
from workers.inference.torch_engine import open_torch
from workers.nn.recurrent.cells import CELLS
from workers.training.run import train
from workers.training.stages import TrainingResult, TrainSpec

DOCUMENTED = {
    "forecasting", "classification", "tagging", "generation", "translation", "speech", "video", "music",
}  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """A tiny file and requests to what is trained on it; `fields` are those of the documented instance."""

    format: str
    content: Callable[[], bytes]
    options: Json
    instances: list[Json]  # of different lengths
    parameters: Json
    fields: tuple[set[str], set[str]]  # of an instance, and of the parameters, as documented
    answer: set[str] = field(default_factory=set)  # keys of a prediction


SAMPLES = {
    "classification": Sample(
        format="jsonl",
        content=lambda: labels.jsonl(labels.snippets(120)),
        options={},
        instances=[
            {"text": "a lovely film"},
            {"text": "The plot was dull, and the cast boring."},
            {"text": ""},
        ],
        parameters={"top_k": 2},
        fields=({"text", "values"}, {"top_k"}),
        answer={"label", "scores"},
    ),
    "classification: readings": Sample(
        format="jsonl",
        content=lambda: labels.jsonl(labels.curves(120)),
        options={},
        instances=[{"values": one["values"]} for one in labels.curves(4, seed=1)],
        parameters={},
        fields=({"text", "values"}, {"top_k"}),
        answer={"label", "scores"},
    ),
    "forecasting": Sample(
        format="csv",
        content=monthly,
        options={"horizon": 4},
        instances=[
            {"values": [100.0 + 3 * k for k in range(40)], "item_id": "long"},
            {"values": [5.0, None, 7.0]},
            {"values": [1.0]},
            {"values": [9.0, 8.0] * 30, "start": "2020-01-01"},
        ],
        parameters={"horizon": 3, "quantiles": [0.1, 0.5]},
        fields=({"values", "start", "freq", "item_id", "future", "past", "static"}, {"horizon", "quantiles"}),
        answer={"item_id", "mean", "median", "quantiles"},
    ),
    "generation": Sample(
        format="txt",
        content=lambda: verses().encode(),
        options={},
        instances=[{"prompt": "The king"}, {"prompt": ""}, {"prompt": "☂"}, {"prompt": "Night sings. " * 20}],
        parameters={"max_tokens": 8, "temperature": 0.8, "top_k": 5, "top_p": 0.9, "seed": 1, "stop": ["."]},
        fields=({"prompt"}, {"max_tokens", "temperature", "top_k", "top_p", "seed", "stop"}),
        answer={"text", "finish_reason", "tokens"},
    ),
    "generation: characters": Sample(
        format="jsonl",
        content=poems,
        options={"tokens": "character", "vocabulary_size": 100},
        instances=[{"prompt": "The king"}, {"prompt": ""}, {"prompt": "☂"}],
        parameters={"max_tokens": 8, "temperature": 0, "stop": "king"},
        fields=({"prompt"}, {"max_tokens", "temperature", "top_k", "top_p", "seed", "stop"}),
        answer={"text", "finish_reason", "tokens"},
    ),
    "speech": Sample(
        format="zip",
        content=recordings.songs,
        options={},
        instances=[
            {"audio_base64": base64.b64encode(content).decode()}
            for content in (
                recordings.written(recordings.sung("ab c", np.random.default_rng(0))),
                recordings.written(recordings.tone(0.01, 44_100, 2), 44_100, "WAV", "PCM_24"),
                recordings.written(np.zeros((16_000, 1)), 16_000, "OGG", "OPUS"),
                recordings.written(recordings.sung("abc", np.random.default_rng(1)), container="FLAC"),
            )
        ],
        parameters={"beam_size": 3},
        fields=({"audio_base64"}, {"beam_size"}),
        answer={"text", "duration_seconds", "words", "confidence"},
    ),
    "speech: byte pairs": Sample(
        format="zip",
        content=lambda: recordings.songs(40, seed=1),
        options={
            "tokens": "bpe",
            "vocabulary_size": 300,
            "normalize": "data",
            "language_model": "on",
            "speed": 0.25,
            "stride": 2,
            "mel_bins": 20,
        },
        instances=[
            {"audio_base64": base64.b64encode(recordings.written(recordings.tone(seconds))).decode()}
            for seconds in (0.4, 0.1)
        ],
        parameters={},
        fields=({"audio_base64"}, {"beam_size"}),
        answer={"text", "duration_seconds", "words", "confidence"},
    ),
    "music": Sample(
        format="zip",
        content=music.chorales,
        options={},
        instances=[{}, {"midi_base64": bytes_to_json(music.chorale(99, 3))}, {"midi_base64": ""}],
        parameters={"seconds": 2, "temperature": 0.8, "top_k": 5, "top_p": 0.9, "seed": 1},
        fields=({"midi_base64"}, {"seconds", "temperature", "top_k", "top_p", "seed", "stream"}),
        answer={"midi_base64", "notes"},
    ),
    "music: performances": Sample(
        format="zip",
        content=music.performances,
        options={"stretch": 0.1},
        instances=[{}, {"midi_base64": bytes_to_json(music.performance(99, 5))}],
        parameters={"seconds": 1.5, "temperature": 0},
        fields=({"midi_base64"}, {"seconds", "temperature", "top_k", "top_p", "seed", "stream"}),
        answer={"midi_base64", "notes"},
    ),
    "tagging": Sample(
        format="conll",
        content=lambda: to_conll(entities(80)),
        options={"min_count": 2},
        instances=[
            {"tokens": ["Ann", "visits", "New", "York", "."]},
            {"text": "Ann  visits Ben Okri, New York"},
            {"text": "☂"},
            {"tokens": ["Lima"] * 40},
        ],
        parameters={},
        fields=({"tokens", "text"}, set()),
        answer={"tokens", "tags", "entities"},
    ),
    "tagging: parts of speech": Sample(
        format="jsonl",
        content=lambda: to_jsonl(parts_of_speech(80)),
        options={"word_length": 5, "lower": False, "max_length": 8},
        instances=[{"text": "The old harbour!"}, {"tokens": ["x"]}, {"tokens": ["10 000", "visits"]}],
        parameters={},
        fields=({"tokens", "text"}, set()),
        answer={"tokens", "tags", "entities"},
    ),
    "translation": Sample(
        format="tsv",
        content=lambda: tsv(sentences(80)),
        options={"vocabulary_size": 300},
        instances=[{"text": "The red cat."}, {"text": "x"}, {"text": "☂"}, {"text": "The dog sees. " * 20}],
        parameters={"beam_size": 2, "max_tokens": 6, "attention": True},
        fields=({"text"}, {"beam_size", "max_tokens"}),
        answer={"text", "score", "attention"},
    ),
    "translation: words": Sample(
        format="jsonl",
        content=lambda: jsonl(sentences(80)),
        options={"tokens": "word", "shared_vocabulary": True, "lower": True},
        instances=[{"text": "The red cat."}, {"text": "Umbrellas"}, {"text": "The dog, the unicorn?"}],
        parameters={"beam_size": 1, "length_penalty": 0.6, "coverage_penalty": 0.2},
        fields=({"text"}, {"beam_size", "max_tokens"}),
        answer={"text", "score"},
    ),
    "video": Sample(
        format="zip",
        content=lambda: clips.sides(24),
        options={"size": 12, "frames": 8, "color": True},
        instances=[
            {"video_base64": bytes_to_json(clips.encode(clips.moving_square(right=True, count=count)))}
            for count in (5, 1, 12)
        ],
        parameters={"top_k": 1},
        fields=({"video_base64"}, {"top_k"}),
        answer={"label", "scores"},
    ),
}


@dataclass(frozen=True)
class Case:
    """A task with one of its samples, named `task` or `task: what is special about it`."""

    name: str

    @property
    def task(self) -> Task:
        return TASKS[self.name.partition(":")[0]]

    @property
    def sample(self) -> Sample:
        return SAMPLES[self.name]


def test_every_task_is_documented_and_has_a_sample() -> None:
    assert {Case(name).task.name for name in SAMPLES} == TASKS.keys()
    assert TASKS.keys() <= DOCUMENTED


@pytest.fixture(params=sorted(SAMPLES))
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], Reading]:
    @cache
    def reading(case: Case) -> Reading:
        sample, faults = case.sample, Faults()
        path = tmp_path_factory.mktemp("read") / "content"
        path.write_bytes(sample.content())
        made = case.task.read(open_source(path, sample.format, Mapping.checked({}, ()), faults), faults)
        faults.check()
        return made

    return reading


@pytest.fixture(scope="module")
def planned(read: Callable[[Case], Reading]) -> Callable[[Case], Plan]:
    @cache
    def plan(case: Case) -> Plan:
        options = case.task.options.model_validate(case.sample.options, strict=True)
        return case.task.plan(read(case).arrays, options, 0)

    return plan


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, read: Callable[[Case], Reading]
) -> Callable[[Case, str], tuple[Path, TrainingResult]]:
    """One epoch of a small network, once for each case and cell in all files that need it."""

    def train_into(directory: Path, case: Case, cell: str) -> TrainingResult:
        task = case.task
        arrays: dict[str, Any] = read(case).arrays
        np.savez(directory / "arrays.npz", **arrays)
        options = task.options.model_validate(case.sample.options)
        defaults = task.defaults(read(case).summary, options)
        small = {
            "cell": cell,
            "hidden_size": 12,
            **({"embedding_size": 12} if "embedding_size" in defaults.network else {}),
        }
        network = NETWORK | defaults.network | small
        training = TRAINING | defaults.training | {"epochs": 1, "batch_size": 16, "device": "cpu"}
        training["judged_by"] = next(iter(task.sweep_metrics(read(case).summary)))
        spec = TrainSpec(task.name, network, training, options.model_dump(mode="json"))
        return train(spec, directory, directory / "out", on=lambda event: None, should_stop=lambda: False)

    @cache
    def run(case: Case, cell: str) -> tuple[Path, TrainingResult]:
        name = f"{case.name}-{cell}".replace(": ", "-").replace(" ", "-")
        directory, outcome = made_once(
            tmp_path_factory, name, lambda directory: train_into(directory, case, cell)
        )
        return directory / "out", outcome

    return run


def test_a_task_says_what_it_is(
    case: Case, read: Callable[[Case], Reading], planned: Callable[[Case], Plan]
) -> None:
    task, plan = case.task, planned(case)
    assert TASKS[task.name] is task
    assert isinstance(plan.input, Input)
    assert isinstance(plan.output, Output)
    assert task.formats
    defaults = task.defaults(read(case).summary, task.options.model_validate(case.sample.options))
    NetworkIn.model_validate(defaults.network)
    TrainingIn.model_validate(defaults.training)
    assert task.bidirectional or not defaults.network.get("bidirectional")


def test_its_schemas_are_valid_closed_and_as_documented(case: Case) -> None:
    fields, parameters = case.sample.fields
    options = case.task.options.model_json_schema()
    jsonschema.Draft202012Validator.check_schema(options)
    assert options["additionalProperties"] is False
    assert all("description" in one for one in options["properties"].values())
    for shape, documented in ((case.task.instance, fields), (case.task.parameters, parameters)):
        schema = msgspec.json.schema(shape)
        jsonschema.Draft202012Validator.check_schema(schema)
        (described,) = [one for name, one in schema["$defs"].items() if name == shape.__name__]
        assert described["additionalProperties"] is False
        assert documented <= described["properties"].keys()
        assert shape.__struct_config__.frozen


def test_options_survive_the_database(case: Case) -> None:
    options = case.task.options.model_validate(case.sample.options, strict=True)
    stored = json.loads(json.dumps(options.model_dump(mode="json"), allow_nan=False))
    assert case.task.options.model_validate(stored) == options


def test_a_summary_is_json_and_fits_its_own_options(case: Case, read: Callable[[Case], Reading]) -> None:
    reading = read(case)
    summary = json.loads(json.dumps(reading.summary, allow_nan=False))
    options = case.task.options.model_validate(case.sample.options)
    assert case.task.check(summary, options) == []
    assert all(array.dtype != object for array in reading.arrays.values())


def test_the_state_is_json_and_the_same_each_time(
    case: Case, read: Callable[[Case], Reading], planned: Callable[[Case], Plan]
) -> None:
    state = planned(case).state
    written = json.dumps(state, allow_nan=False)
    assert json.loads(written) == state
    options = case.task.options.model_validate(case.sample.options)
    assert json.dumps(case.task.plan(read(case).arrays, options, 0).state) == written


def checked(case: Case, plan: Plan, batch: Batch, size: int) -> None:
    """One batch against the promises of `Batch`."""
    time = batch.inputs.shape[1]
    if plan.input == Input.TOKENS:
        assert batch.inputs.shape == (size, time, plan.features)
        assert batch.inputs.dtype == np.int64
        assert batch.inputs.min() >= 0
        sizes = plan.network["vocabularies"]
        assert (batch.inputs[:, :, : len(sizes)] < sizes).all()
        assert len(sizes) + plan.network["word_length"] == plan.features
    else:
        assert batch.inputs.shape[0] == size
        assert batch.inputs.shape[-1] == plan.features
        assert batch.inputs.dtype == plan.input.dtype
        assert np.isfinite(batch.inputs).all()
    assert batch.lengths.dtype == np.int64
    assert batch.lengths.min() >= 1
    assert batch.lengths.max() == time
    leading = batch.weights.ndim
    assert batch.weights.shape == batch.targets.shape[:leading]
    assert (batch.weights >= 0).all()
    assert np.isfinite(batch.targets).all()


@pytest.mark.parametrize("name", ["train", "valid", "valid_for_score", "test", "refit"])
def test_batches_have_the_promised_shapes(case: Case, planned: Callable[[Case], Plan], name: str) -> None:
    plan = planned(case)
    split: Split | None = getattr(plan, name)
    if split is None:
        return
    assert len(split.lengths) > 0
    for rows in (np.array([0]), np.arange(len(split.lengths))[:7], np.array([len(split.lengths) - 1, 0])):
        plain, varied = split.batch(rows, None), split.batch(rows, np.random.default_rng(0))
        for batch in (plain, varied):
            checked(case, plan, batch, len(rows))
        np.testing.assert_array_equal(plain.lengths, split.lengths[rows])
        # A random view may leave a part out, or be up to a third slower.
        assert (varied.lengths <= np.ceil(4 / 3 * split.lengths[rows])).all()


def test_the_plain_view_of_an_example_does_not_depend_on_its_neighbours(
    case: Case, planned: Callable[[Case], Plan]
) -> None:
    split = planned(case).test
    rows = np.arange(len(split.lengths))[:5]
    together = split.batch(rows, None)
    for place, row in enumerate(rows):
        alone = split.batch(np.array([row]), None)
        length = int(alone.lengths[0])
        np.testing.assert_array_equal(alone.inputs[0, :length], together.inputs[place, :length])


def encoded(case: Case, state: Json) -> tuple[list[Any], Any]:
    sample = case.sample
    parameters = msgspec.convert(sample.parameters, case.task.parameters)
    instances = [msgspec.convert(one, case.task.instance) for one in sample.instances]
    return [encode_one(case.task, state, one, parameters) for one in instances], parameters


def padded(examples: list[Any]) -> tuple[Any, Any]:
    lengths = np.array([len(example.inputs) for example in examples], np.int64)
    shape = (len(examples), lengths.max(), *examples[0].inputs.shape[1:])
    inputs = np.full(shape, 7, examples[0].inputs.dtype)  # what stands in the padding must not matter
    for row, example in enumerate(examples):
        inputs[row, : len(example.inputs)] = example.inputs
    return inputs, lengths


def computed(engine: Engine, examples: list[Example]) -> list[Any]:
    """What a network makes of examples that are asked for together, as `decode` wants it."""
    inputs, lengths = padded(examples)
    if engine.decoder is not None:
        return list(
            decode_all(
                engine.decoder, [one.inputs for one in examples], [one.decoding or {} for one in examples]
            )
        )
    return list(unpadded(engine, engine.run(inputs, lengths), lengths))


def alike(one: Any, other: Any) -> None:
    """Both are the same but for the last digits."""
    if isinstance(one, DecodedTokens):
        assert one.tokens.tolist() == other.tokens.tolist()
    else:
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_predictions_are_explained(
    case: Case, cell: str, trained: Callable[[Case, str], tuple[Path, TrainingResult]]
) -> None:
    directory, _ = trained(case, cell)
    engine, state = open_onnx(directory, "cpu"), read_manifest(directory)["state"]
    examples, parameters = encoded(case, state)
    explained = case.sample.instances if cell == "gru" else case.sample.instances[:2]
    for method, instance, example in zip(
        cycle((GRADIENT, INTEGRATED_GRADIENTS)), explained, examples, strict=False
    ):
        body = {"instances": [instance], "parameters": case.sample.parameters, "method": method}
        found = json.loads(explain(directory, json.dumps(body).encode()))
        steps = int(strided_lengths(np.array([len(example.inputs)]), engine.stride)[0])
        assert len(found["steps"]) == len(found["influence"]) == steps
        assert all(label and isinstance(label, str) for label in found["steps"])
        assert sum(found["influence"]) == pytest.approx(1, abs=1e-4)
        assert min(found["influence"]) >= 0
        assert 1 <= found["memory_length"] <= steps
        assert found["method"] == method
        rows = [*found["gates"].values(), found["hidden"]]
        assert {len(one) for one in rows} == {len(found["layers"])}
        assert {len(row) for one in rows for row in one} == {steps}
        assert found["prediction"].keys() >= case.sample.answer
        (outputs,) = computed(engine, [example])
        expected = decode_one(case.task, state, example, outputs, parameters)
        for name in ("label", "text", "tags"):  # what does not hang on the last digits of a number
            assert found["prediction"].get(name) == expected.get(name)


def test_explanations_have_a_longest_input(
    trained: Callable[[Case, str], tuple[Path, TrainingResult]],
) -> None:
    directory, _ = trained(Case("classification: readings"), "gru")
    (sample, *_) = labels.curves(1)
    values = (sample["values"] * (1 + MAX_EXPLAINED_STEPS))[: 1 + MAX_EXPLAINED_STEPS]
    with pytest.raises(Invalid) as refused:
        explain(directory, json.dumps({"instances": [{"values": values}]}).encode())
    (found,) = refused.value.problems
    assert found.pointer == "/instances/0"
    assert "8,193 steps; an explanation takes at most 8,192" in found.detail


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_what_is_trained_is_scored_stored_and_answers(
    case: Case,
    cell: str,
    trained: Callable[[Case, str], tuple[Path, TrainingResult]],
    read: Callable[[Case], Reading],
) -> None:
    directory, outcome = trained(case, cell)
    assert not outcome.stopped
    assert outcome.parameters > 0
    for figures in (outcome.metrics, outcome.baseline):
        json.dumps(figures, allow_nan=False)
    assert outcome.baseline.keys() <= outcome.metrics.keys()
    sweep_metrics = case.task.sweep_metrics(read(case).summary)
    assert sweep_metrics.keys() <= outcome.metrics.keys()
    assert np.isfinite(outcome.metrics[f"valid_{next(iter(sweep_metrics))}"])
    manifest = read_manifest(directory)
    examples, parameters = encoded(case, manifest["state"])
    engine = open_onnx(directory, "cpu")
    for example in examples:
        (outputs,) = computed(engine, [example])
        found = decode_one(case.task, manifest["state"], example, outputs, parameters)
        written = json.dumps(found, allow_nan=False, default=bytes_to_json)
        assert case.sample.answer <= json.loads(written).keys()
        assert json.loads(written).keys() <= case.task.prediction.__annotations__.keys()
        msgspec.json.decode(written, type=case.task.prediction)


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_a_batch_of_one_is_a_batch_of_many_in_both_runtimes(
    case: Case, cell: str, trained: Callable[[Case, str], tuple[Path, TrainingResult]]
) -> None:
    directory, _ = trained(case, cell)
    examples, _ = encoded(case, read_manifest(directory)["state"])
    ours, theirs = open_onnx(directory, "cpu"), open_torch(directory, "cpu")
    together = computed(ours, examples)
    for one, other in zip(together, computed(theirs, examples), strict=True):
        alike(one, other)
    for row, example in enumerate(examples):
        alike(computed(ours, [example])[0], together[row])


def test_every_example_of_its_data_set_is_an_instance(
    case: Case, read: Callable[[Case], Reading], planned: Callable[[Case], Plan]
) -> None:
    state = planned(case).state
    parameters = msgspec.convert(case.sample.parameters, case.task.parameters)
    assert case.task.check_dataset(read(case).summary, state, parameters) == []
    instances = case.task.instances(read(case).arrays, state)
    assert len(instances) > 0
    for index in range(len(instances)):
        told = msgspec.json.decode(msgspec.json.encode(instances[index]), type=case.task.instance)
        one, other = (
            encode_one(case.task, state, instance, parameters) for instance in (instances[index], told)
        )
        np.testing.assert_array_equal(one.inputs, other.inputs)
    with pytest.raises(IndexError):
        instances[len(instances)]


def test_its_preview_is_small_json_as_documented(case: Case, read: Callable[[Case], Reading]) -> None:
    rows = case.task.preview(read(case).arrays, BRIEF)
    assert rows.total > 0
    shown = json.loads(encode_preview(rows))
    assert shown["examples"] == rows.total
    assert len(shown["rows"]) == min(rows.total, MAX_PREVIEW_ROWS)
    schema = msgspec.json.schema(case.task.preview_row)
    (described,) = [one for name, one in schema["$defs"].items() if name == case.task.preview_row.__name__]
    for row in shown["rows"]:
        jsonschema.validate(row, schema)
        assert row.keys() <= described["properties"].keys()
        assert row["truncated"] in (True, False)
        assert len(json.dumps(row)) < 20_000


def test_an_example_as_a_whole_is_not_cut_and_has_its_file(
    case: Case, read: Callable[[Case], Reading], planned: Callable[[Case], Plan]
) -> None:
    brief, whole = (case.task.preview(read(case).arrays, bounds) for bounds in (BRIEF, WHOLE))
    instances = case.task.instances(read(case).arrays, planned(case).state)
    files = [field.name for field in case.task.tensor_inputs if field.binary]
    schema = msgspec.json.schema(case.task.preview_row)
    assert whole.total == brief.total
    for index in range(whole.total):
        row = json.loads(orjson.dumps(whole.row(index), default=bytes_to_json))
        jsonschema.validate(row, schema)
        assert row["truncated"] is False
        assert row.keys() >= brief.row(index).keys()
        for name in files:  # as an instance has it, so that a model can be asked with it
            assert row[name] == bytes_to_json(getattr(instances[index], name))
            assert name not in brief.row(index)


def test_encoding_changes_nothing_and_is_repeatable(case: Case, planned: Callable[[Case], Plan]) -> None:
    state = planned(case).state
    before = json.dumps(state)
    first, _ = encoded(case, state)
    second, _ = encoded(case, json.loads(before))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.inputs, other.inputs)
    assert json.dumps(state) == before
