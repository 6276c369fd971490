"""The task as a whole: a file becomes streams, a request becomes tokens, tokens become text and figures."""

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from app.arrays import Arrays
from app.ingest.readers import Mapping, open_source
from app.tasks.contract import END, DecodedTokens, Input, Output, Plan
from app.tasks.generation.inference import GenerationInstance, GenerationParameters
from app.tasks.generation.options import GenerationOptions
from app.tasks.generation.task import TASK, GenerationEvaluationData, GenerationSplit
from app.tasks.shared import tokenizers
from app.tasks.source import Faults, Reading
from app.typedefs import Json
from tests.support.factories.texts import poems, verses
from tests.support.single import decode_one, encode_one

UNITS = pytest.mark.parametrize("unit", ["character", "bpe", "word"])


def read(path: Path, body: bytes, format_: str) -> Reading:
    path.write_bytes(body)
    faults = Faults()
    return TASK.read(open_source(path, format_, Mapping.checked({}, TASK.columns), faults), faults)


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> Arrays:
    return read(tmp_path_factory.mktemp("poems") / "content", poems(), "jsonl").arrays


@pytest.fixture(scope="module")
def plans(arrays: Arrays) -> dict[str, Plan]:
    sizes = {"character": 100, "bpe": 300, "word": 100}
    return {
        unit: TASK.plan(arrays, GenerationOptions(tokens=unit, vocabulary_size=size), 0, 16)  # type: ignore[arg-type]
        for unit, size in sizes.items()
    }


def pieces(split: Any) -> GenerationSplit:
    assert isinstance(split, GenerationSplit)
    return split


def evenly(plan: Plan) -> list[Any]:
    """What a network that knows nothing costs: the same for every token."""
    return [np.full(length, math.log(plan.outputs), np.float32) for length in plan.test.lengths]


@UNITS
def test_a_plan_says_what_the_network_needs(unit: str, plans: dict[str, Plan]) -> None:
    plan = plans[unit]
    assert (plan.input, plan.output, plan.features) == (Input.TOKENS, Output.NEXT_TOKEN, 1)
    assert plan.outputs == tokenizers.vocabulary_size(plan.state["tokeniser"])
    assert plan.network == {"vocabularies": [plan.outputs], "character_vocabulary": 0, "word_length": 0}
    assert plan.refit is None
    for split in (plan.train, plan.valid, plan.test):
        assert split.carried
        batch = split.batch(np.arange(len(split.lengths)), np.random.default_rng(0))
        assert batch.inputs.shape == (len(split.lengths), 16, 1)
        assert batch.inputs.max() < plan.outputs
        assert batch.weights.sum() == split.lengths.sum()
        flat, expected = batch.inputs[..., 0][batch.weights > 0], batch.targets[batch.weights > 0]
        np.testing.assert_array_equal(flat[1:], expected[:-1])  # each piece goes on where the last one ended
        assert (flat[0], expected[-1]) == (END, END)


@UNITS
def test_the_streams_are_the_documents_of_the_file(unit: str, plans: dict[str, Plan]) -> None:
    plan = plans[unit]
    for split, seeds in ((plan.valid, [0]), (plan.test, [1]), (plan.train, range(2, 12))):
        tokens = pieces(split).encoded.tokens
        assert (tokens == END).sum() == len(list(seeds)) + 1
        if unit != "word":  # which may lack some
            texts = tokenizers.decode(plan.state["tokeniser"], tokens.tolist())
            assert texts == "".join(verses(20, seed) for seed in seeds)


def test_the_vocabulary_knows_nothing_of_held_out_texts(tmp_path: Path) -> None:
    documents = [("train", "ab " * 400), ("valid", "cc" * 50), ("test", "dd" * 50)]
    body = b"".join(json.dumps({"text": text, "split": split}).encode() + b"\n" for split, text in documents)
    plan = TASK.plan(
        read(tmp_path / "content", body, "jsonl").arrays, GenerationOptions(tokens="character"), 0
    )
    assert set(tokenizers.token_bytes(plan.state["tokeniser"])) == {b"", b"a", b"b", b" "}
    assert plan.warnings == [
        "The vocabulary lacks 98.0% of the validation tokens (character, 8,192 at most); `bpe` lacks none."
    ]


def test_a_text_in_one_file_is_split_and_planned_with_usual_steps(tmp_path: Path) -> None:
    whole = verses(300)
    reading = read(tmp_path / "content", whole.encode(), "txt")
    plan = TASK.plan(reading.arrays, GenerationOptions(), 0)
    assert plan.train.lengths[0] == 64
    texts = [
        tokenizers.decode(plan.state["tokeniser"], pieces(split).encoded.tokens.tolist())
        for split in (plan.train, plan.valid, plan.test)
    ]
    assert "".join(texts) == whole
    assert plan.warnings == []
    assert TASK.calibrate(plan.state, plan.valid, []) == plan.state


def test_the_splits_depend_on_the_seed_alone(tmp_path: Path) -> None:
    body = b"".join(json.dumps({"text": verses(9, seed)}).encode() + b"\n" for seed in range(40))
    reading = read(tmp_path / "content", body, "jsonl")
    one, same, other = (
        pieces(TASK.plan(reading.arrays, GenerationOptions(), seed).test) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one.encoded.tokens, same.encoded.tokens)
    assert not np.array_equal(one.encoded.tokens, other.encoded.tokens)


@UNITS
def test_figures_are_those_of_their_definitions(unit: str, plans: dict[str, Plan]) -> None:
    plan = plans[unit]
    metrics, baseline = TASK.score(plan.state, plan.test, evenly(plan))
    data = pieces(plan.test).data
    assert data is not None
    targets, characters = pieces(plan.test).encoded.targets, data.text.characters
    assert characters == len(verses(20, 1))
    assert metrics["perplexity"] == pytest.approx(plan.outputs, rel=1e-4)
    assert metrics["bits_per_token"] == pytest.approx(math.log2(plan.outputs), rel=1e-4)
    bits = targets * math.log2(plan.outputs) / characters
    assert metrics["bits_per_character"] >= bits - 1e-4
    if unit == "bpe":
        assert metrics["bits_per_character"] == pytest.approx(bits, rel=1e-4)
    assert baseline.keys() <= metrics.keys()
    assert ("perplexity" in baseline) == (unit == "character")
    assert 0.5 < baseline["bits_per_character"] < 3
    json.dumps([metrics, baseline], allow_nan=False)


def test_the_baseline_is_the_same_for_every_unit(plans: dict[str, Plan]) -> None:
    bits = {
        TASK.score(plan.state, plan.test, evenly(plan))[1]["bits_per_character"] for plan in plans.values()
    }
    assert len(bits) == 1


def test_words_that_are_lacking_cost_their_letters(plans: dict[str, Plan], arrays: Arrays) -> None:
    few = TASK.plan(arrays, GenerationOptions(tokens="word", vocabulary_size=12), 0, 16)
    outputs = [np.zeros(length, np.float32) for length in few.test.lengths]
    assert TASK.score(few.state, few.test, outputs)[0]["bits_per_character"] > 1
    whole = plans["bpe"]
    nothing = [np.zeros(length, np.float32) for length in whole.test.lengths]
    assert TASK.score(whole.state, whole.test, nothing)[0]["bits_per_character"] == 0


def test_only_a_held_out_part_is_scored(plans: dict[str, Plan]) -> None:
    plan = plans["character"]
    for split in (plan.valid, plan.test):
        assert isinstance(pieces(split).data, GenerationEvaluationData)
    with pytest.raises(TypeError):
        TASK.score(plan.state, plan.train, [])


def answered(state: Json, text: str, note: Json | None = None, end: bool = False, **values: Any) -> Json:
    """The prediction when the network's tokens say this."""
    parameters = msgspec.convert(values, GenerationParameters)
    example = encode_one(TASK, state, GenerationInstance("The king"), parameters)
    tokens = np.array(tokenizers.encode(state["tokeniser"], text).ids + [END] * end, np.int64)
    return decode_one(
        TASK, state, example, DecodedTokens(tokens, note or {"finish_reason": "length"}), parameters
    )


@pytest.mark.parametrize("unit", ["character", "bpe"])
def test_an_answer_is_the_continuation_alone(unit: str, plans: dict[str, Plan]) -> None:
    state = plans[unit].state
    count = len(tokenizers.encode(state["tokeniser"], " sleeps again").ids)
    plain = answered(state, " sleeps again")
    assert plain == {"text": " sleeps again", "finish_reason": "length", "tokens": count}
    ended = answered(state, " sleeps again", end=True)
    assert ended == {"text": " sleeps again", "finish_reason": "stop", "tokens": count}
    reported = answered(state, " sleeps again", {"finish_reason": "stop"})
    assert reported["finish_reason"] == "stop"  # `END` came, and was left out
    stopped = answered(state, " sleeps again", stop=["eps", "again"])
    assert (stopped["text"], stopped["finish_reason"]) == (" sle", "stop")
    assert answered(state, "") == {"text": "", "finish_reason": "length", "tokens": 0}


def test_a_request_becomes_tokens_and_decoding_settings(plans: dict[str, Plan]) -> None:
    state = plans["character"].state
    example = encode_one(TASK, state, GenerationInstance("The king"), GenerationParameters(seed=5, stop="\n"))
    assert example.inputs.shape == (9, 1)
    assert example.decoding is not None
    assert example.decoding["stop"] == ["\n"]
    assert encode_one(TASK, state, GenerationInstance(""), GenerationParameters()).inputs.tolist() == [[END]]


def test_documents_are_prompts_for_a_batch(arrays: Arrays, plans: dict[str, Plan]) -> None:
    instances = TASK.instances(arrays, plans["bpe"].state)
    assert len(instances) == 12
    assert instances[3].prompt == verses(20, 3)
    assert TASK.check_dataset({}, {}, GenerationParameters()) == []
    assert TASK.check_dataset({}, {}, GenerationParameters(stream=True))


def test_defaults_depend_on_unit_and_size() -> None:
    small, large = ({"train_characters": size} for size in (10_000, 50_000_000))
    assert TASK.defaults(small, GenerationOptions(tokens="character")).network["tie_weights"] is False
    assert TASK.defaults(small, GenerationOptions(tokens="word")).network["tie_weights"] is True
    epochs = [TASK.defaults(one, GenerationOptions()).training["epochs"] for one in (small, large)]
    assert epochs[0] > epochs[1]
    assert TASK.check(small, GenerationOptions()) == []
    assert TASK.check({"train_characters": 10}, GenerationOptions())
