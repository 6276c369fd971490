"""Tagging from the file to the answer, with a network that is played by the test."""

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from app.arrays import Arrays
from app.ingest.readers import Mapping, open_source
from app.services.open_inference.codec import InferenceRequest
from app.services.open_inference.predict import instances_from_tensors, stack_field
from app.tasks.contract import UNKNOWN, Input, Output, Plan, Split
from app.tasks.shared import splits
from app.tasks.source import Faults
from app.tasks.tagging.inference import TaggingInstance, TaggingParameters
from app.tasks.tagging.options import TaggingOptions
from app.tasks.tagging.task import TASK, TaggingEvaluationSplit, TaggingSplit
from app.typedefs import Json
from tests.support.factories.tagged import Sentence, entities, parts_of_speech, to_bioes, to_conll, to_jsonl
from tests.support.single import decode_one, encode_one


def arrays_of(directory: Path, rows: list[Sentence], marks: list[str] | None = None) -> Arrays:
    path, faults = directory / "content", Faults()
    path.write_bytes(to_jsonl(rows, marks))
    return TASK.read(open_source(path, "jsonl", Mapping({}), faults), faults).arrays


def plan_of(directory: Path, rows: list[Sentence], marks: list[str] | None = None, **options: Any) -> Plan:
    return TASK.plan(arrays_of(directory, rows, marks), TaggingOptions(**options), 0)


def targets_of(split: Split) -> list[Any]:
    """The outputs of a network without any error: the targets themselves."""
    predicted = []
    for row in range(len(split.lengths)):
        batch = split.batch(np.array([row]), None)
        predicted.append(batch.targets[0])
    return predicted


def held_out(plan: Plan, rows: list[Sentence]) -> list[Sentence]:
    assert isinstance(plan.test, TaggingEvaluationSplit)
    return [rows[row] for row in plan.test.rows.tolist()]


def test_the_plan_describes_the_network(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, entities(100))
    assert (plan.input, plan.output) == (Input.TOKENS, Output.LABELS)
    assert plan.outputs == len(plan.state["tags"]) == 1 + 4 * 2
    assert plan.features == len(plan.network["vocabularies"]) + 16
    assert plan.network["word_length"] == 16
    assert plan.network["character_vocabulary"] > 10
    assert [plan.outputs, plan.state["tags"].index("I-per")] in plan.network["forbidden"]
    assert [len(split.lengths) for split in (plan.train, plan.valid, plan.test)] == [80, 10, 10]
    assert plan.warnings == []
    assert plan.refit is None
    json.dumps([plan.state, plan.network], allow_nan=False)


def test_other_tags_have_no_forbidden_neighbours(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, parts_of_speech(100))
    assert plan.state["scheme"] == plan.state["answers"] == "plain"
    assert plan.network["forbidden"] == []
    assert plan.state["tags"][0] == "NAME"  # the most frequent one


def test_batches_hold_the_sentences(tmp_path: Path) -> None:
    rows = entities(100)
    plan = plan_of(tmp_path, rows)
    assert isinstance(plan.test, TaggingEvaluationSplit)
    expected = held_out(plan, rows)
    batch = plan.test.batch(np.arange(len(expected)), None)
    for row, (tokens, tags) in enumerate(expected):
        length = int(batch.lengths[row])
        assert length == len(tokens)
        example = encode_one(TASK, plan.state, TaggingInstance(tokens=tokens), TaggingParameters())
        np.testing.assert_array_equal(batch.inputs[row, :length], example.inputs)
        assert [plan.state["tags"][tag] for tag in batch.targets[row, :length]] == to_bioes(tags)
        assert batch.weights[row].sum() == length
        assert (batch.inputs[row, length:] == 0).all()


def test_training_reads_rare_words_as_unknown_now_and_then(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, entities(100), rare_dropout=20.0)
    rows, rng = np.arange(80), np.random.default_rng(0)
    plain, varied = plan.train.batch(rows, None), plan.train.batch(rows, rng)
    assert (plain.inputs[:, :, 0] == UNKNOWN).sum() < (varied.inputs[:, :, 0] == UNKNOWN).sum()
    again = plan.train.batch(rows, np.random.default_rng(0))
    np.testing.assert_array_equal(again.inputs, varied.inputs)
    never = plan_of(tmp_path, entities(100), rare_dropout=0.0).train.batch(rows, rng)
    np.testing.assert_array_equal(never.inputs, plain.inputs)


def test_nothing_is_learned_from_what_is_held_out(tmp_path: Path) -> None:
    other: list[Sentence] = [(["Xylophones", "zz"], ["B-thing", "O"])] * 5
    rows, marks = [*entities(50), *other], ["train"] * 50 + ["valid"] * 2 + ["test"] * 3
    plan = plan_of(tmp_path, rows, marks)
    assert "B-thing" not in plan.state["tags"]
    assert "xylophones" not in plan.state["vocabulary"]
    batch = plan.test.batch(np.array([0]), None)
    assert (batch.inputs[0, :, 0] == UNKNOWN).all()
    metrics, _ = TASK.score(plan.state, plan.test, targets_of(plan.test))
    assert metrics["types"]["thing"] == {"precision": 0, "recall": 0, "f1": 0, "support": 3}
    assert metrics["accuracy"] == 0.5


def test_another_seed_draws_another_split(tmp_path: Path) -> None:
    arrays = arrays_of(tmp_path, entities(100))
    rows = []
    for seed in (0, 0, 1):
        test = TASK.plan(arrays, TaggingOptions(), seed).test
        assert isinstance(test, TaggingEvaluationSplit)
        rows.append(test.rows.tolist())
    assert rows[0] == rows[1] != rows[2]


def test_long_sentences_are_cut_for_training_but_tested_whole(tmp_path: Path) -> None:
    long: Sentence = (["Ben", "Okri", "and"] * 20, ["B-per", "I-per", "O"] * 20)
    rows = [*entities(50), long, long, long]
    plan = plan_of(tmp_path, rows, ["train"] * 50 + ["train", "valid", "test"], max_length=20)
    assert plan.warnings == ["Sentences of over 20 tokens are cut for training, 6 times."]
    assert plan.train.lengths.max() <= 20
    assert plan.valid.lengths.tolist() == [20, 19, 20, 1]  # an entity stays whole
    assert plan.test.lengths.tolist() == [60]
    assert plan.train.lengths.sum() == sum(len(tokens) for tokens, _ in rows[:51])


def test_two_thousand_tokens_are_one_piece(tmp_path: Path) -> None:
    long: Sentence = (["w"] * 2_000, ["A", "B"] * 1_000)
    plan = plan_of(tmp_path, [long] * 20, max_length=2_000)
    assert set(plan.train.lengths.tolist()) == {2_000}
    example = encode_one(TASK, plan.state, TaggingInstance(tokens=long[0]), TaggingParameters())
    predicted = decode_one(TASK, plan.state, example, np.zeros(2_000, np.int64), TaggingParameters())
    assert len(predicted["tags"]) == 2_000


@pytest.mark.parametrize("options", [{}, {"scheme": "bio"}])
def test_perfect_entities_get_the_best_score(tmp_path: Path, options: Json) -> None:
    plan = plan_of(tmp_path, entities(200), **options)
    predicted = targets_of(plan.test)
    state = TASK.calibrate(plan.state, plan.valid, targets_of(plan.valid))
    assert state == plan.state
    metrics, baseline = TASK.score(state, plan.test, predicted)
    assert (metrics["f1"], metrics["precision"], metrics["recall"], metrics["accuracy"]) == (1, 1, 1, 1)
    assert metrics["types"].keys() == {"loc", "per"}
    assert 0.5 < baseline["f1"] <= 1
    assert baseline.keys() <= metrics.keys()
    json.dumps([metrics, baseline], allow_nan=False)


def test_perfect_tags_get_the_best_score(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, parts_of_speech(200))
    metrics, baseline = TASK.score(plan.state, plan.test, targets_of(plan.test))
    assert metrics["accuracy"] == 1
    assert baseline["accuracy"] > 0.95
    assert baseline.keys() <= metrics.keys()
    json.dumps([metrics, baseline], allow_nan=False)


@pytest.mark.parametrize("option", ["auto", "bio"])
@pytest.mark.parametrize("written", ["bio", "bioes"])
def test_scores_are_those_of_seqeval_on_what_is_answered(
    seqeval: Any, tmp_path: Path, written: str, option: str
) -> None:
    rows = [(tokens, tags if written == "bio" else to_bioes(tags)) for tokens, tags in entities(200)]
    plan, rng = plan_of(tmp_path, rows, scheme=option), np.random.default_rng(0)
    predicted = [
        np.where(rng.random(len(tags)) < 0.2, rng.integers(0, plan.outputs, len(tags)), tags)
        for tags in targets_of(plan.test)
    ]
    metrics, _ = TASK.score(plan.state, plan.test, predicted)
    expected, answered = [], []
    for (tokens, tags), numbers in zip(held_out(plan, rows), predicted, strict=True):
        example = encode_one(TASK, plan.state, TaggingInstance(tokens=tokens), TaggingParameters())
        answered.append(decode_one(TASK, plan.state, example, numbers, TaggingParameters())["tags"])
        expected.append(tags)
    assert metrics["f1"] == pytest.approx(seqeval.metrics.f1_score(expected, answered))
    assert metrics["accuracy"] == pytest.approx(seqeval.metrics.accuracy_score(expected, answered))
    assert 0.2 < metrics["f1"] < 0.9


def test_entities_may_be_learned_and_scored_as_any_tags(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, entities(100), scheme="plain")
    metrics, baseline = TASK.score(plan.state, plan.test, targets_of(plan.test))
    assert metrics["accuracy"] == 1
    assert "f1" not in metrics.keys() | baseline.keys()
    example = encode_one(TASK, plan.state, TaggingInstance(text="Ann"), TaggingParameters())
    predicted = decode_one(
        TASK, plan.state, example, np.array([plan.state["tags"].index("B-per")]), TaggingParameters()
    )
    assert (predicted["tags"], predicted["entities"]) == (["B-per"], [])


def test_only_the_test_part_can_be_scored(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, entities(30))
    assert isinstance(plan.valid, TaggingSplit)
    with pytest.raises(TypeError):
        TASK.score(plan.state, plan.valid, targets_of(plan.valid))


def test_a_request_is_answered(tmp_path: Path) -> None:
    state = plan_of(tmp_path, entities(50)).state
    example = encode_one(
        TASK, state, msgspec.convert({"text": "Ben Okri left."}, TaggingInstance), TaggingParameters()
    )
    assert example.inputs.dtype == np.int64
    assert example.inputs.shape[0] == 4
    numbers = np.array([state["tags"].index(tag) for tag in ("B-per", "E-per", "O", "O")])
    assert decode_one(TASK, state, example, numbers, TaggingParameters()) == {
        "tokens": ["Ben", "Okri", "left", "."],
        "tags": ["B-per", "I-per", "O", "O"],
        "entities": [{"type": "per", "text": "Ben Okri", "start": 0, "end": 8}],
    }


def test_every_sentence_of_a_data_set_is_an_instance(tmp_path: Path) -> None:
    rows = entities(30)
    arrays = arrays_of(tmp_path, rows)
    np.savez(tmp_path / "arrays.npz", allow_pickle=False, **arrays)
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    mapped = {name: np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in arrays}
    instances = TASK.instances(mapped, {})
    assert [instances[row].tokens for row in range(len(instances))] == [tokens for tokens, _ in rows]
    with pytest.raises(IndexError):
        instances[30]
    assert TASK.check_dataset({}, {}, TaggingParameters()) == []


def test_both_formats_are_planned_alike(tmp_path: Path) -> None:
    path, faults = tmp_path / "columns", Faults()
    path.write_bytes(to_conll(entities(50)))
    arrays = TASK.read(open_source(path, "conll", Mapping({}), faults), faults).arrays
    plan = TASK.plan(arrays, TaggingOptions(), 0)
    assert plan.state == plan_of(tmp_path, entities(50)).state
    assert (arrays["splits"] == splits.UNASSIGNED).all()


def test_defaults_suit_the_data_set(tmp_path: Path) -> None:
    path, faults = tmp_path / "content", Faults()
    path.write_bytes(to_jsonl(entities(50)))
    summary = TASK.read(open_source(path, "jsonl", Mapping({}), faults), faults).summary
    defaults = TASK.defaults(summary, TaggingOptions())
    assert defaults.network["crf"]
    assert defaults.network["bidirectional"]
    assert TASK.check(summary, TaggingOptions()) == []


def tensor_request(**tensors: Any) -> InferenceRequest:
    rows = {
        name: np.array(value, object if name != "lengths" else np.int64) for name, value in tensors.items()
    }
    return InferenceRequest(None, {}, rows, len(next(iter(rows.values()))), {"tags": False})


def test_tensors_become_texts_or_tokens() -> None:
    texts, _ = asyncio.run(instances_from_tensors(TASK, tensor_request(text=["Ann left.", "Lima"]), 30.0))
    assert texts == [TaggingInstance(text="Ann left."), TaggingInstance(text="Lima")]
    tokens, _ = asyncio.run(
        instances_from_tensors(
            TASK, tensor_request(tokens=[["Ann", "left"], ["Lima", ""]], lengths=[2, 1]), 30.0
        )
    )
    assert tokens == [TaggingInstance(tokens=["Ann", "left"]), TaggingInstance(tokens=["Lima"])]


def test_predictions_become_tensors(tmp_path: Path) -> None:
    fields = {field.name: field for field in TASK.tensor_outputs}
    state = plan_of(tmp_path, entities(50)).state
    predicted = []
    for text in ("Ann left.", "Lima"):
        example = encode_one(TASK, state, TaggingInstance(text=text), TaggingParameters())
        predicted.append(
            decode_one(TASK, state, example, np.zeros(len(example.inputs), np.int64), TaggingParameters())
        )
    assert stack_field(fields["tags"], [one["tags"] for one in predicted]).array.tolist() == [
        ["O", "O", "O"],
        ["O", "", ""],
    ]
