"""Translation from the file to the answer, with a network that is played by the test."""

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from app.arrays import Arrays
from app.ingest.readers import Mapping, open_source
from app.tasks.contract import BEGIN, END, PADDING, UNKNOWN, DecodedTokens, Input, Output, Plan, Split
from app.tasks.shared import splits, tokenizers
from app.tasks.source import Faults
from app.tasks.translation import baseline as lexicon
from app.tasks.translation.options import TranslationInstance, TranslationOptions, TranslationParameters
from app.tasks.translation.task import TASK, TranslationSplit
from tests.support.factories.bilingual import Pair, sentences, tsv
from tests.support.fixtures.real_data import shared
from tests.support.single import decode_one, encode_one


def arrays_of(directory: Path, sample: list[Pair], marks: list[str] | None = None) -> Arrays:
    path, faults = directory / "content", Faults()
    path.write_bytes(tsv(sample, marks))
    return TASK.read(open_source(path, "tsv", Mapping({}), faults), faults).arrays


def plan_of(directory: Path, sample: list[Pair], marks: list[str] | None = None, **options: Any) -> Plan:
    requested = {"vocabulary_size": 300} | options
    return TASK.plan(arrays_of(directory, sample, marks), TranslationOptions(**requested), 0)


def perfect(split: Split, **note: Any) -> list[DecodedTokens]:
    """What a network would generate that has learned everything: the targets themselves."""
    outputs = []
    for row in range(len(split.lengths)):
        targets = split.batch(np.array([row]), None).targets[0]
        outputs.append(DecodedTokens(targets[1:-1], {"score": -0.5, "finish_reason": "stop", **note}))
    return outputs


def test_the_plan_says_what_the_network_looks_like(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, sentences(100))
    assert (plan.input, plan.output, plan.features) == (Input.TOKENS, Output.SEQUENCE, 1)
    assert plan.outputs == tokenizers.vocabulary_size(plan.state["target"]) <= 300
    assert plan.network["vocabularies"] == [tokenizers.vocabulary_size(plan.state["source"])]
    assert plan.refit is None
    assert not any(split.carried for split in (plan.train, plan.valid, plan.test))
    assert [len(split.lengths) for split in (plan.train, plan.valid, plan.test)] == [80, 10, 10]
    json.dumps(plan.state, allow_nan=False)


@pytest.mark.parametrize("options", [{}, {"tokens": "word"}, {"tokens": "character"}])
def test_batches_hold_the_pairs(tmp_path: Path, options: dict[str, Any]) -> None:
    sample = sentences(100)
    plan = plan_of(tmp_path, sample, **options)
    batch = plan.train.batch(np.arange(80), np.random.default_rng(0))
    decoded = set()
    for inputs, length, targets, weights in zip(
        batch.inputs[:, :, 0], batch.lengths, batch.targets, batch.weights, strict=True
    ):
        assert inputs[length - 1] == END
        assert (inputs[length:] == PADDING).all()
        size = int(weights.sum()) + 1
        assert (targets[0], targets[size - 1], weights[0]) == (BEGIN, END, 0)
        assert (targets[size:] == PADDING).all()
        assert (weights[1:size] == 1).all()
        pieces = [tokenizers.token_bytes(plan.state[side]) for side in ("source", "target")]
        source = b"".join(pieces[0][token] for token in inputs[:length]).decode().strip()
        target = b"".join(pieces[1][token] for token in targets[:size]).decode().strip()
        decoded.add((source, target))
    assert decoded <= set(sample)
    assert len(decoded) > 70
    assert batch.inputs[batch.inputs != PADDING].min() >= UNKNOWN


def test_the_split_of_the_file_stays_and_nothing_is_learned_from_the_rest(tmp_path: Path) -> None:
    sample = [*sentences(50), *[("xylophone xylophone", "xilófono xilófono")] * 10]
    marks = ["train"] * 50 + ["valid"] * 5 + ["test"] * 5
    plan = plan_of(tmp_path, sample, marks, tokens="word")
    assert [len(split.lengths) for split in (plan.train, plan.valid, plan.test)] == [50, 5, 5]
    inputs = plan.test.batch(np.array([0]), None).inputs
    assert inputs[0, :, 0].tolist() == [UNKNOWN, UNKNOWN, END]


def test_another_seed_draws_another_split(tmp_path: Path) -> None:
    arrays = arrays_of(tmp_path, sentences(100))
    rows = []
    for seed in (0, 0, 1):
        test = TASK.plan(arrays, TranslationOptions(vocabulary_size=300), seed).test
        assert isinstance(test, TranslationSplit)
        rows.append(test.rows.tolist())
    assert rows[0] == rows[1] != rows[2]


def test_long_pairs_are_left_out_of_the_training_with_a_warning(tmp_path: Path) -> None:
    sample = [*sentences(50), ("dog " * 30, "perro"), ("dog", "perro " * 30), ("dog " * 30, "perro " * 30)]
    marks = ["train"] * 44 + ["valid"] * 3 + ["test"] * 3 + ["train", "valid", "test"]
    plan = plan_of(tmp_path, sample, marks, tokens="word", max_length=20)
    assert [len(split.lengths) for split in (plan.train, plan.valid, plan.test)] == [44, 3, 4]
    assert plan.warnings == ["2 pairs with a text of more than 20 tokens are left out of the training."]
    assert plan.test.lengths.max() == 31  # all the tokens and the end: requests may be twice as long
    plan = plan_of(tmp_path, sample, marks, tokens="word", max_length=14)
    assert plan.test.lengths.max() == 2 * 14 + 1


def test_a_pair_is_always_left(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, sentences(100), tokens="character", max_length=8)
    assert len(plan.train.lengths) > 0
    assert "left out" in plan.warnings[0]


def test_the_plan_does_not_learn_the_baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(lexicon, "learn_lexicon")
    plan_of(tmp_path, sentences(50))


@pytest.mark.parametrize("options", [{}, {"tokens": "word"}, {"tokens": "character"}])
def test_perfect_translations_get_the_best_score(tmp_path: Path, options: dict[str, Any]) -> None:
    plan = plan_of(tmp_path, sentences(400), **options)
    state = TASK.calibrate(plan.state, plan.valid, perfect(plan.valid))
    assert state == plan.state
    metrics, baseline = TASK.score(state, plan.test, perfect(plan.test))
    assert metrics["bleu"] == pytest.approx(100)
    assert metrics["exact_match"] == 1
    assert metrics["baseline_pairs"] == 320
    assert 5 < baseline["bleu"] < 95  # it never puts an adjective behind its noun
    assert baseline["chrf"] < metrics["chrf"] == pytest.approx(100)
    assert baseline.keys() <= metrics.keys()
    json.dumps([metrics, baseline], allow_nan=False)


def test_references_are_the_targets_as_they_were_uploaded(tmp_path: Path) -> None:
    sample = [(source, target.upper()) for source, target in sentences(100)]
    plan = plan_of(tmp_path, sample, lower=True)
    metrics, _ = TASK.score(plan.state, plan.test, perfect(plan.test))
    assert metrics["exact_match"] == 0
    assert metrics["bleu"] < 20


def test_unknown_words_are_copied_in_the_score_too(tmp_path: Path) -> None:
    sample = [*sentences(50), *[(f"Zoë{number} sees", f"Zoë{number} ve") for number in range(3)]]
    plan = plan_of(tmp_path, sample, ["train"] * 50 + ["test"] * 3, tokens="word")
    outputs = perfect(plan.test, attention=[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    assert all(one.tokens[0] == UNKNOWN for one in outputs)
    assert TASK.score(plan.state, plan.test, outputs)[0]["exact_match"] == 1


def test_an_example_of_a_split_says_how_to_search(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, sentences(100))
    assert isinstance(plan.test, TranslationSplit)
    for row in range(3):
        source = plan.test.pairs.sources[int(plan.test.rows[row])]
        example = encode_one(TASK, plan.state, TranslationInstance(source), TranslationParameters())
        assert plan.test.decoding(row) == example.decoding
        np.testing.assert_array_equal(plan.test.batch(np.array([row]), None).inputs[0], example.inputs)


def test_only_splits_of_pairs_can_be_scored(tmp_path: Path) -> None:
    class Other:
        lengths = np.zeros(0, np.int64)
        carried = False

        def batch(self, rows: Any, rng: Any) -> Any:
            raise NotImplementedError

    with pytest.raises(TypeError):
        TASK.score({}, Other(), [])


def test_a_request_is_answered(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, sentences(100))
    parameters = msgspec.convert({"beam_size": 3, "attention": True}, TranslationParameters)
    example = encode_one(
        TASK, plan.state, msgspec.convert({"text": " The cat hears\nit "}, TranslationInstance), parameters
    )
    assert example.inputs.dtype == np.int64
    assert example.decoding is not None
    assert example.decoding["attention"] is True
    tokens = np.array(tokenizers.encode(plan.state["target"], " El gato lo oye").ids)
    weights = np.full((len(tokens), len(example.inputs)), 1 / len(example.inputs))
    prediction = decode_one(
        TASK, plan.state, example, DecodedTokens(tokens, {"score": -2.0, "attention": weights}), parameters
    )
    assert (prediction["text"], prediction["score"]) == ("El gato lo oye", -2.0)
    assert "".join(prediction["attention"]["source"][:-1]).strip() == "The cat hears it"
    assert {field.name for field in TASK.tensor_outputs} <= prediction.keys()
    json.dumps(prediction, allow_nan=False)


def test_every_source_of_a_data_set_is_an_instance_when_it_is_requested(tmp_path: Path) -> None:
    sample = sentences(30)
    arrays = arrays_of(tmp_path, sample)
    instances = TASK.instances(arrays, {})
    assert [instances[row].text for row in range(len(instances))] == [source for source, _ in sample]
    with pytest.raises(IndexError):
        instances[30]
    assert TASK.check_dataset({}, {}, TranslationParameters()) == []


def test_defaults_suit_translation(tmp_path: Path) -> None:
    defaults = TASK.defaults({}, TranslationOptions())
    assert defaults.network["attention"] == "general"
    assert defaults.network["bidirectional"]
    assert defaults.training["label_smoothing"] == 0.1


@pytest.mark.slow
def test_real_pairs_are_planned() -> None:
    faults = Faults()
    path = shared("translation/bible_en_es.jsonl")
    arrays = TASK.read(open_source(path, "jsonl", Mapping({}), faults), faults).arrays
    plan = TASK.plan(arrays, TranslationOptions(), 0)
    assert plan.outputs == plan.network["vocabularies"][0] == 4_000
    assert len(plan.test.lengths) == int((arrays["splits"] == splits.TEST).sum()) == 1_341
    assert len(plan.train.lengths) > 27_900
    assert 1 < plan.state["stretch"] < 3
    assert np.median(plan.train.lengths) < 40
    assert isinstance(plan.test, TranslationSplit)
    source = plan.test.pairs.sources[int(plan.test.rows[0])]
    assert source == "The whole earth was of one language and of one speech."
