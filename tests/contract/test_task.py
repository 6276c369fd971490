"""What every task owes: JSON state, fitting shapes, and answers that do not depend on who else asks.

A new task adds one `Sample` here and passes everything below with every cell, or it is not done.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import numpy as np
import pytest
import torch

from app.readers import Mapping, open_source
from app.services.jobs import NETWORK, TRAINING
from app.tasks import TASKS
from app.tasks.base import Batch, Faults, Input, Output, Plan, Reading, Split, Task
from tests.service import monthly
from workers.engines import open_onnx
from workers.export import load_model, read_manifest
from workers.nn.cells import CELLS
from workers.nn.losses import LOSSES
from workers.trainer import Outcome, TrainSpec, train

Json = dict[str, Any]
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
        fields=({"values", "start", "freq", "item_id", "future", "past"}, {"horizon", "quantiles"}),
        answer={"item_id", "mean", "quantiles"},
    ),
}


def test_every_task_is_documented_and_has_a_sample() -> None:
    assert SAMPLES.keys() == TASKS.keys()
    assert TASKS.keys() <= DOCUMENTED


@pytest.fixture(params=sorted(TASKS))
def task(request: pytest.FixtureRequest) -> Task:
    return TASKS[request.param]


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Task], Reading]:
    @cache
    def reading(name: str) -> Reading:
        sample, faults = SAMPLES[name], Faults()
        path = tmp_path_factory.mktemp("read") / "content"
        path.write_bytes(sample.content())
        made = TASKS[name].read(open_source(path, sample.format, Mapping.checked({}, ()), faults), faults)
        faults.check()
        return made

    return lambda task: reading(task.name)


@pytest.fixture(scope="module")
def planned(read: Callable[[Task], Reading]) -> Callable[[Task], Plan]:
    @cache
    def plan(name: str) -> Plan:
        task = TASKS[name]
        options = task.options.model_validate(SAMPLES[name].options, strict=True)
        return task.plan(read(task).arrays, options, 0)

    return lambda task: plan(task.name)


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, read: Callable[[Task], Reading]
) -> Callable[[Task, str], tuple[Path, Outcome]]:
    """One epoch of a small network, once for each task and cell."""

    @cache
    def run(name: str, cell: str) -> tuple[Path, Outcome]:
        task, directory = TASKS[name], tmp_path_factory.mktemp(f"{name}-{cell}")
        arrays: dict[str, Any] = read(task).arrays
        np.savez(directory / "arrays.npz", **arrays)
        network = NETWORK | task.network_defaults | {"cell": cell, "hidden_size": 12}
        training = TRAINING | task.training_defaults | {"epochs": 1, "batch_size": 32, "device": "cpu"}
        options = task.options.model_validate(SAMPLES[name].options).model_dump(mode="json")
        spec = TrainSpec(name, network, training, options)
        outcome = train(spec, directory, directory / "out", on=lambda event: None, should_stop=lambda: False)
        return directory / "out", outcome

    return lambda task, cell: run(task.name, cell)


def test_a_task_says_what_it_is(task: Task) -> None:
    assert TASKS[task.name] is task
    assert isinstance(task.input, Input)
    assert isinstance(task.output, Output)
    assert task.formats
    assert task.output in LOSSES
    assert NETWORK.keys() >= task.network_defaults.keys()
    assert TRAINING.keys() >= task.training_defaults.keys()


def test_its_schemas_are_valid_closed_and_as_documented(task: Task) -> None:
    fields, parameters = SAMPLES[task.name].fields
    options = task.options.model_json_schema()
    jsonschema.Draft202012Validator.check_schema(options)
    assert options["additionalProperties"] is False
    assert all("description" in one for one in options["properties"].values())
    for shape, documented in ((task.instance, fields), (task.parameters, parameters)):
        schema = msgspec.json.schema(shape)
        jsonschema.Draft202012Validator.check_schema(schema)
        (described,) = [one for name, one in schema["$defs"].items() if name == shape.__name__]
        assert described["additionalProperties"] is False
        assert documented <= described["properties"].keys()
        assert shape.__struct_config__.frozen


def test_options_survive_the_database(task: Task) -> None:
    options = task.options.model_validate(SAMPLES[task.name].options, strict=True)
    stored = json.loads(json.dumps(options.model_dump(mode="json"), allow_nan=False))
    assert task.options.model_validate(stored) == options


def test_a_summary_is_json_and_fits_its_own_options(task: Task, read: Callable[[Task], Reading]) -> None:
    reading = read(task)
    summary = json.loads(json.dumps(reading.summary, allow_nan=False))
    options = task.options.model_validate(SAMPLES[task.name].options)
    assert task.check(summary, options) == []
    assert all(array.dtype != object for array in reading.arrays.values())


def test_the_state_is_json_and_the_same_each_time(
    task: Task, read: Callable[[Task], Reading], planned: Callable[[Task], Plan]
) -> None:
    state = planned(task).state
    written = json.dumps(state, allow_nan=False)
    assert json.loads(written) == state
    options = task.options.model_validate(SAMPLES[task.name].options)
    assert json.dumps(task.plan(read(task).arrays, options, 0).state) == written


def checked(task: Task, plan: Plan, batch: Batch, size: int) -> None:
    """One batch against the promises of `Batch`."""
    time = batch.inputs.shape[1]
    if task.input == Input.TOKENS:
        assert batch.inputs.shape == (size, time)
        assert batch.inputs.dtype == np.int64
        assert batch.inputs.min() >= 0
        assert batch.inputs.max() < plan.features
    else:
        assert batch.inputs.shape[0] == size
        assert batch.inputs.shape[-1] == plan.features
        assert batch.inputs.dtype == np.float32
        assert np.isfinite(batch.inputs).all()
    assert batch.lengths.dtype == np.int64
    assert batch.lengths.min() >= 1
    assert batch.lengths.max() == time
    leading = batch.weights.ndim
    assert batch.weights.shape == batch.targets.shape[:leading]
    assert (batch.weights >= 0).all()
    assert np.isfinite(batch.targets).all()


@pytest.mark.parametrize("name", ["train", "valid", "test", "refit"])
def test_batches_have_the_promised_shapes(task: Task, planned: Callable[[Task], Plan], name: str) -> None:
    plan = planned(task)
    split: Split | None = getattr(plan, name)
    if split is None:
        return
    assert len(split.lengths) > 0
    for rows in (np.array([0]), np.arange(len(split.lengths))[:7], np.array([len(split.lengths) - 1, 0])):
        plain, varied = split.batch(rows, None), split.batch(rows, np.random.default_rng(0))
        for batch in (plain, varied):
            checked(task, plan, batch, len(rows))
        np.testing.assert_array_equal(plain.lengths, split.lengths[rows])
        assert (varied.lengths <= split.lengths[rows]).all()  # a random view may leave a part out


def test_the_plain_view_of_an_example_does_not_depend_on_its_neighbours(
    task: Task, planned: Callable[[Task], Plan]
) -> None:
    split = planned(task).test
    rows = np.arange(len(split.lengths))[:5]
    together = split.batch(rows, None)
    for place, row in enumerate(rows):
        alone = split.batch(np.array([row]), None)
        length = int(alone.lengths[0])
        np.testing.assert_array_equal(alone.inputs[0, :length], together.inputs[place, :length])


def encoded(task: Task, state: Json) -> tuple[list[Any], Any]:
    sample = SAMPLES[task.name]
    parameters = msgspec.convert(sample.parameters, task.parameters)
    instances = [msgspec.convert(one, task.instance) for one in sample.instances]
    return [task.encode(state, one, parameters) for one in instances], parameters


def padded(examples: list[Any]) -> tuple[Any, Any]:
    lengths = np.array([len(example.inputs) for example in examples], np.int64)
    shape = (len(examples), lengths.max(), *examples[0].inputs.shape[1:])
    inputs = np.full(shape, 7, examples[0].inputs.dtype)  # what stands in the padding must not matter
    for row, example in enumerate(examples):
        inputs[row, : len(example.inputs)] = example.inputs
    return inputs, lengths


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_what_is_trained_is_scored_stored_and_answers(
    task: Task, cell: str, trained: Callable[[Task, str], tuple[Path, Outcome]]
) -> None:
    directory, outcome = trained(task, cell)
    assert not outcome.stopped
    assert outcome.parameters > 0
    for figures in (outcome.metrics, outcome.baseline):
        json.dumps(figures, allow_nan=False)
    assert outcome.baseline.keys() <= outcome.metrics.keys()
    manifest = read_manifest(directory)
    examples, parameters = encoded(task, manifest["state"])
    engine = open_onnx(directory, "cpu")
    sample = SAMPLES[task.name]
    for example in examples:
        outputs = engine.run(example.inputs[None], np.array([len(example.inputs)], np.int64))
        found = task.decode(manifest["state"], example, outputs[0], parameters)
        assert sample.answer <= json.loads(json.dumps(found, allow_nan=False)).keys()


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_a_batch_of_one_is_a_batch_of_many_in_both_runtimes(
    task: Task, cell: str, trained: Callable[[Task, str], tuple[Path, Outcome]]
) -> None:
    directory, _ = trained(task, cell)
    examples, _ = encoded(task, read_manifest(directory)["state"])
    inputs, lengths = padded(examples)
    engine = open_onnx(directory, "cpu")
    together = engine.run(inputs, lengths)
    model = load_model(directory, torch.device("cpu")).eval()
    with torch.no_grad():
        state = model.initial(len(inputs))
        by_torch = model.at_end(torch.from_numpy(inputs), torch.from_numpy(lengths), state)[0].numpy()
    np.testing.assert_allclose(by_torch, together, atol=1e-4)
    for row, example in enumerate(examples):
        alone = engine.run(example.inputs[None], lengths[row : row + 1])[0]
        np.testing.assert_allclose(alone, together[row], atol=1e-5)


def test_every_example_of_its_data_set_is_an_instance(
    task: Task, read: Callable[[Task], Reading], planned: Callable[[Task], Plan]
) -> None:
    state = planned(task).state
    parameters = msgspec.convert(SAMPLES[task.name].parameters, task.parameters)
    assert task.misfits(read(task).summary, state, parameters) == []
    instances = task.instances(read(task).arrays, state)
    assert len(instances) > 0
    for index in range(len(instances)):
        told = msgspec.json.decode(msgspec.json.encode(instances[index]), type=task.instance)
        one, other = (task.encode(state, instance, parameters) for instance in (instances[index], told))
        np.testing.assert_array_equal(one.inputs, other.inputs)
    with pytest.raises(IndexError):
        instances[len(instances)]


def test_encoding_changes_nothing_and_is_repeatable(task: Task, planned: Callable[[Task], Plan]) -> None:
    state = planned(task).state
    before = json.dumps(state)
    first, _ = encoded(task, state)
    second, _ = encoded(task, json.loads(before))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.inputs, other.inputs)
    assert json.dumps(state) == before
