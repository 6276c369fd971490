import json
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.errors import DatasetInvalid, Invalid
from app.ingest.readers import Mapping, open_source
from app.tasks.classification.ngram_tables import ngram_tables
from app.tasks.classification.options import (
    DEFAULT_WORD_LENGTH,
    ClassificationInstance,
    ClassificationOptions,
    ClassificationParameters,
)
from app.tasks.classification.reading import LABEL, read_labelled
from app.tasks.classification.task import TASK, ClassificationSplit, classification_split
from app.tasks.classification.text_encoding import EncodedTexts
from app.tasks.contract import UNKNOWN, Input, Plan
from app.tasks.source import Faults
from app.typedefs import Json
from tests.support.factories.labels import curves, jsonl, snippets
from tests.support.fixtures.real_data import shared
from tests.support.single import decode_one, encode_one

PARAMETERS = ClassificationParameters()


@pytest.fixture
def read(tmp_path: Any) -> Any:
    def reading(records: list[Json]) -> tuple[Any, Json, list[str]]:
        path, faults = tmp_path / "content", Faults()
        path.write_bytes(jsonl(records))
        result = read_labelled(open_source(path, "jsonl", Mapping.checked({}, ()), faults), faults)
        faults.check()
        return result.arrays, result.summary, result.warnings

    return reading


def planned(read: Any, records: list[Json], **options: Any) -> Plan:
    return TASK.plan(read(records)[0], ClassificationOptions(**options), 0)


def outputs(plan: Plan, sure: float = 3.0) -> list[Any]:
    """Log-probabilities of a network that is right about the test split."""
    labels = plan.test.batch(np.arange(len(plan.test.lengths)), None).targets
    logits = sure * np.eye(plan.outputs)[labels]
    return list((logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32))


def test_texts_are_summarised(read: Any) -> None:
    records = [one | {"split": "test" if k < 10 else "train"} for k, one in enumerate(snippets(60))]
    _, summary, warnings = read(records)
    assert summary["kind"] == "text"
    assert summary["labels"] == {"neg": 30, "pos": 30}
    assert summary["splits"] == {"train": 50, "valid": 0, "test": 10, "open": 0}
    assert summary["lengths"]["unit"] == "characters"
    assert warnings == []


def test_suspicious_data_are_warned_of(read: Any) -> None:
    same = [one | {"split": "test"} for one in snippets(10)]
    records = [*snippets(200), *same, {"text": "odd one", "label": "rare", "other": 1}]
    warnings = " ".join(read(records)[2])
    assert "fewer than 5 examples" in warnings
    assert "class_weights may help" in warnings
    assert "held out" in warnings
    assert "other" in warnings


def test_labels_may_be_numbers_and_truth_values(read: Any) -> None:
    numbered = [one | {"label": k % 2} for k, one in enumerate(snippets(20))]
    assert read(numbered)[1]["labels"] == {"0": 10, "1": 10}
    truths = [one | {"label": bool(k % 2)} for k, one in enumerate(snippets(20))]
    assert read(truths)[1]["labels"].keys() == {"true", "false"}


def test_a_text_becomes_tokens_of_the_training_vocabulary(read: Any) -> None:
    plan = planned(read, snippets(60))
    assert plan.input == Input.TOKENS
    example = encode_one(TASK, plan.state, ClassificationInstance(text="The FILM zyx"), PARAMETERS)
    assert example.inputs.shape == (3, 1 + DEFAULT_WORD_LENGTH)
    assert example.inputs[2, 0] == UNKNOWN
    lower = encode_one(TASK, plan.state, ClassificationInstance(text="the film zyx"), PARAMETERS)
    np.testing.assert_array_equal(example.inputs[:, 0], lower.inputs[:, 0])
    assert (example.inputs[:, 1:] != lower.inputs[:, 1:]).any()  # characters keep their case
    nothing = encode_one(TASK, plan.state, ClassificationInstance(text=" "), PARAMETERS).inputs
    assert nothing.tolist() == [[UNKNOWN] + [0] * DEFAULT_WORD_LENGTH]


@pytest.mark.parametrize(
    ("options", "word_length"),
    [({}, DEFAULT_WORD_LENGTH), ({"word_length": 0}, 0), ({"word_length": 5}, 5), ({"tokens": "bpe"}, 0)],
)
def test_a_network_may_read_characters_where_tokens_are_words(
    read: Any, options: Json, word_length: int
) -> None:
    arrays, summary, _ = read(snippets(60))
    plan = TASK.plan(arrays, ClassificationOptions(**options), 0)
    assert plan.network["word_length"] == word_length
    assert plan.features == 1 + word_length
    assert bool(plan.network["character_vocabulary"]) == bool(word_length)
    defaults = TASK.defaults(summary, ClassificationOptions(**options)).network
    assert ("characters" in defaults, "character_size" in defaults) == (word_length > 0, word_length > 0)
    assert plan.train.batch(np.arange(5), None).inputs.max() < max(plan.network["vocabularies"][0], 100)
    odd = TASK.check(summary, ClassificationOptions(tokens="bpe", word_length=4))
    assert [problem.pointer for problem in odd] == ["/options/word_length"]


@pytest.mark.parametrize(("steps", "network"), [(49, {}), (50, {"memory_steps": 50})])
def test_a_network_for_long_readings_begins_with_a_memory_as_long(
    read: Any, steps: int, network: Json
) -> None:
    rng = np.random.default_rng(1)
    records = [
        {"values": rng.random((steps if row % 3 else 400, 1)).round(3).tolist(), "label": "ab"[row % 2]}
        for row in range(60)
    ]
    assert planned(read, records).network == network


def test_a_request_is_encoded_as_an_example_of_training(read: Any) -> None:
    records = [*snippets(40), {"text": "Naïve 日本語 👩‍👩‍👧 Cafe\u0301", "label": "pos"}]
    for options in ({}, {"word_length": 0}, {"tokens": "bpe"}, {"tokens": "character", "max_length": 7}):
        arrays, _, _ = read(records)
        plan = TASK.plan(arrays, ClassificationOptions(**options), 0)
        instances = TASK.instances(arrays, plan.state)
        assert isinstance(plan.test, ClassificationSplit)
        for index, row in enumerate(plan.test.rows.tolist()):
            inputs = plan.test.batch(np.array([index]), None).inputs[0]
            requested = encode_one(TASK, plan.state, instances[row], PARAMETERS).inputs
            np.testing.assert_array_equal(inputs, requested)


def test_texts_have_tables_of_ngrams_unless_told_otherwise(read: Any) -> None:
    plan = planned(read, snippets(60), ngrams=True)
    assert plan.tables.keys() == plan.final_tables.keys()
    assert {len(table) for table in plan.tables.values()} == {
        plan.network["vocabularies"][0],
        plan.network["pair_rows"],
    }
    explicit = [one | {"split": ("train", "valid", "test")[k % 3]} for k, one in enumerate(snippets(60))]
    fixed = planned(read, explicit, ngrams=True)  # what a file names as validation data is never counted
    assert all(np.array_equal(fixed.tables[name], fixed.final_tables[name]) for name in fixed.tables)
    of_before = planned(read, snippets(60))  # a job that was submitted when there was no such option
    for other in (
        of_before,
        planned(read, snippets(60), ngrams=False),
        planned(read, curves(60), ngrams=True),
    ):
        assert (other.tables, other.final_tables) == ({}, {})
        assert "pair_rows" not in other.network


def test_a_job_from_before_the_linear_classifier_goes_on_with_its_tables(read: Any) -> None:
    before = planned(read, snippets(60), ngrams=True)
    after = planned(read, snippets(60), ngrams=True, split_unspaced=True)
    assert before.network["pair_rows"] < after.network["pair_rows"]
    data = classification_split(before.train).data
    assert isinstance(data.encoded, EncodedTexts)
    shape = before.network["vocabularies"][0], before.network["pair_rows"], before.outputs
    counted = ngram_tables(data.encoded, data.train, data.arrays[LABEL], shape)
    assert all(np.array_equal(before.final_tables[name], table) for name, table in counted.items())
    unspaced = planned(read, snippets(60), ngrams=True, split_unspaced=False)
    assert unspaced.network["pair_rows"] == after.network["pair_rows"]


def test_rare_words_are_known_where_their_ngrams_count() -> None:
    assert ClassificationOptions().min_occurrences == 1
    assert ClassificationOptions(ngrams=False).min_occurrences == 2
    assert ClassificationOptions(min_count=3).min_occurrences == 3


def test_a_parquet_table_is_read_like_another(tmp_path: Any) -> None:
    records, faults = snippets(20), Faults()
    columns = {"text": [one["text"] for one in records], "label": [k % 2 for k in range(20)]}
    for label in (columns["label"], [float(one) for one in columns["label"]]):
        pq.write_table(pa.table(columns | {"label": label}), tmp_path / "content")
        source = open_source(tmp_path / "content", "parquet", Mapping.checked({}, ()), faults)
        assert read_labelled(source, faults).summary["labels"] == {"0": 10, "1": 10}


def test_few_examples_of_a_second_label_do_only_if_none_of_them_can_be_drawn(read: Any) -> None:
    few = [*[one | {"label": "pos"} for one in snippets(20)], {"text": "no", "label": "neg"}]
    with pytest.raises(DatasetInvalid, match="have 3 examples"):
        read(few)
    marks = ["valid", "valid", "test", *["train"] * 18]
    marked = [one | {"split": split} for one, split in zip(few, marks, strict=True)]
    assert read(marked)[1]["labels"] == {"pos": 20, "neg": 1}


def test_truncated_examples_are_warned_of(read: Any) -> None:
    for records in (snippets(30), curves(30)):
        assert "only the first 5" in planned(read, records, max_length=5).warnings[0]
        assert planned(read, records).warnings == []


def test_a_long_text_is_cut_as_in_training(read: Any) -> None:
    plan = planned(read, snippets(60), max_length=4)
    assert plan.train.lengths.max() == 4
    assert (
        len(encode_one(TASK, plan.state, ClassificationInstance(text="the film " * 50), PARAMETERS).inputs)
        == 4
    )


def test_readings_are_standardised_by_channel(read: Any) -> None:
    plan = planned(read, curves(60))
    assert (plan.input, plan.features) == (Input.VECTORS, 3)
    batch = plan.train.batch(np.arange(len(plan.train.lengths)), None)
    real = np.concatenate([row[:length] for row, length in zip(batch.inputs, batch.lengths, strict=True)])
    np.testing.assert_allclose(real.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(real.std(axis=0), 1, atol=1e-4)
    still = [one | {"values": [[1.0, 2.0]] * 3} for one in curves(20)]
    assert np.isfinite(planned(read, still).train.batch(np.array([0]), None).inputs).all()


@pytest.mark.parametrize(
    ("instance", "pointer"),
    [
        ({}, ""),
        ({"values": [[1.0]]}, ""),
        ({"text": "a", "values": [[1.0]]}, ""),
    ],
)
def test_an_instance_of_another_kind_is_refused(read: Any, instance: Json, pointer: str) -> None:
    state = planned(read, snippets(60)).state
    with pytest.raises(Invalid) as caught:
        encode_one(TASK, state, msgspec.convert(instance, ClassificationInstance), PARAMETERS)
    assert [problem.pointer for problem in caught.value.problems] == [pointer]


@pytest.mark.parametrize("values", [[[1.0, 2.0]], [[1.0, 2.0, 3.0], [1.0]], [], [[float("inf")] * 3]])
def test_readings_that_do_not_fit_are_pointed_at(read: Any, values: Any) -> None:
    state = planned(read, curves(60)).state
    with pytest.raises(Invalid) as caught:
        encode_one(TASK, state, ClassificationInstance(values=values), PARAMETERS)
    assert caught.value.problems[0].pointer == "/values"


def test_the_answer_has_the_most_probable_label_first(read: Any) -> None:
    state = planned(read, snippets(60)).state
    example = encode_one(TASK, state, ClassificationInstance(text="fine"), PARAMETERS)
    logs = np.log(np.array([0.2, 0.8], np.float32))
    prediction = decode_one(TASK, state, example, logs, PARAMETERS)
    assert prediction["label"] == "pos"
    assert list(prediction["scores"]) == ["pos", "neg"]
    assert prediction["scores"]["pos"] == pytest.approx(0.8, abs=1e-5)
    assert decode_one(TASK, state, example, logs, ClassificationParameters(top_k=1))["scores"].keys() == {
        "pos"
    }
    json.dumps(prediction, allow_nan=False)


def test_a_temperature_makes_an_overconfident_network_honest(read: Any) -> None:
    plan = planned(read, snippets(400))
    rng = np.random.default_rng(0)
    labels = plan.valid.batch(np.arange(len(plan.valid.lengths)), None).targets
    predicted = np.where(rng.random(len(labels)) < 0.7, labels, 1 - labels)  # right in 7 of 10 cases
    logs = [np.log(np.where(np.arange(2) == one, 0.99, 0.01)).astype(np.float32) for one in predicted]
    calibrated = TASK.calibrate(plan.state, plan.valid, logs)
    assert calibrated["temperature"] > 2
    sure = decode_one(
        TASK,
        calibrated,
        encode_one(TASK, calibrated, ClassificationInstance(text="a"), PARAMETERS),
        logs[0],
        PARAMETERS,
    )
    assert max(sure["scores"].values()) == pytest.approx((predicted == labels).mean(), abs=0.03)
    metrics, _ = TASK.score(calibrated, plan.valid, logs)
    assert metrics["calibration_error"] < 0.05
    assert metrics["calibration_error_before"] == pytest.approx(0.99 - metrics["accuracy"])
    off = planned(read, snippets(400), calibrate=False)
    assert TASK.calibrate(off.state, off.valid, logs)["temperature"] == 1.0


def test_few_right_answers_make_no_certainty(read: Any) -> None:
    plan = planned(read, snippets(100))
    labels = plan.valid.batch(np.arange(len(plan.valid.lengths)), None).targets
    assert len(labels) == 10
    logs = [np.log(np.where(np.arange(2) == one, 0.9, 0.1)).astype(np.float32) for one in labels]
    calibrated = TASK.calibrate(plan.state, plan.valid, logs)  # the likeliest temperature is the lowest
    assert 0.4 < calibrated["temperature"] < 1


def test_the_baseline_needs_no_validation(read: Any) -> None:
    drawn = planned(read, curves(100)).test
    marks = ["test"] * 10 + ["valid"] * 10 + ["train"] * 80
    records = [one | {"split": mark} for one, mark in zip(curves(100), marks, strict=True)]
    marked = planned(read, records).test
    assert isinstance(drawn, ClassificationSplit)
    assert isinstance(marked, ClassificationSplit)
    assert (len(drawn.data.train), len(marked.data.train)) == (90, 80)


def test_scores_and_baseline_share_their_names(read: Any) -> None:
    for records in (snippets(120), curves(120)):
        plan = planned(read, records)
        metrics, baseline = TASK.score(plan.state, plan.test, outputs(plan))
        assert metrics["accuracy"] == metrics["macro_f1"] == 1.0
        assert baseline.keys() <= metrics.keys()
        assert baseline["accuracy"] > 0.9
        assert sum(row["support"] for row in metrics["per_class"].values()) == len(plan.test.lengths)
        assert np.trace(metrics["confusion_matrix"]["rows"]) == len(plan.test.lengths)
        json.dumps(metrics, allow_nan=False)


def test_class_weights_count_the_rare(read: Any) -> None:
    uneven = [one for k, one in enumerate(snippets(200)) if k % 2 or k % 10 == 0]
    plan = planned(read, uneven, class_weights="balanced")
    batch = plan.train.batch(np.arange(len(plan.train.lengths)), None)
    totals = [batch.weights[batch.targets == label].sum() for label in (0, 1)]
    assert totals[0] == pytest.approx(totals[1], rel=1e-3)
    assert batch.weights.mean() == pytest.approx(1, rel=1e-3)
    named = planned(read, uneven, class_weights={"neg": 3.0})
    batch = named.train.batch(np.arange(len(named.train.lengths)), None)
    assert batch.weights.max() / batch.weights.min() == pytest.approx(3, rel=1e-3)


def test_options_are_checked_against_the_data(read: Any) -> None:
    summary = read(snippets(60))[1]
    few = TASK.check(summary, ClassificationOptions(tokens="bpe", vocabulary_size=100))
    assert [problem.pointer for problem in few] == ["/options/vocabulary_size"]
    odd = TASK.check(summary, ClassificationOptions(class_weights={"a/b": 2.0}))
    assert [problem.pointer for problem in odd] == ["/options/class_weights/a~1b"]
    assert "embedding_size" not in TASK.defaults(read(curves(60))[1], ClassificationOptions()).network


def test_a_model_of_one_kind_predicts_no_data_of_another(read: Any) -> None:
    texts, readings = planned(read, snippets(60)).state, planned(read, curves(60)).state
    assert TASK.check_dataset(read(curves(60))[1], texts, PARAMETERS)
    assert TASK.check_dataset(read(curves(60, channels=2))[1], readings, PARAMETERS)
    assert not TASK.check_dataset(read(curves(60))[1], readings, PARAMETERS)


@pytest.mark.parametrize("tokens", ["word", "bpe", "character"])
def test_every_unit_reads_every_text(read: Any, tokens: str) -> None:
    records = [*snippets(40), {"text": "naïve 日本語 👩‍👩‍👧 \u202e", "label": "pos"}]
    plan = planned(read, records, tokens=tokens)
    assert plan.train.lengths.min() >= 1


@pytest.mark.server
@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("movie_snippets", 0.78, 0.82), ("JapaneseVowels", 0.91, 0.97)],
)
def test_the_baseline_on_real_data_is_as_good_as_the_known_one(name: str, low: float, high: float) -> None:
    faults = Faults()
    source = open_source(shared(f"classification/{name}.jsonl"), "jsonl", Mapping.checked({}, ()), faults)
    plan = TASK.plan(read_labelled(source, faults).arrays, ClassificationOptions(), 0)
    _, baseline = TASK.score(plan.state, plan.test, outputs(plan))
    assert low < baseline["accuracy"] < high
