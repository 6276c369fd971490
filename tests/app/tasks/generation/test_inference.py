"""A request for text: what is read of the prompt, and what decides how it goes on."""

import json
from functools import cache
from typing import Any

import jsonschema
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Invalid
from app.tasks.contract import END
from app.tasks.generation.inference import (
    MAX_PROMPT_TOKENS,
    PROMPT_TAIL_CHARS,
    GenerationInstance,
    GenerationInstances,
    GenerationParameters,
    decoding_settings,
    encode_prompt,
)
from app.tasks.generation.task import TASK
from app.tasks.shared import tokenizers
from app.tasks.shared.ragged import Texts
from app.tasks.shared.tokenizers import TokenUnit

SAMPLE = "To be, or not to be: that is the question. naïve 日本 🙂\n"


@cache
def tokenizer(unit: TokenUnit = TokenUnit.CHARACTER) -> str:
    return tokenizers.train_tokenizer([SAMPLE] * 3, unit, 400, spaced=True)


def state(unit: TokenUnit = TokenUnit.CHARACTER) -> dict[str, str]:
    return {"tokeniser": tokenizer(unit), "unit": unit}


def parameters(**values: Any) -> GenerationParameters:
    return msgspec.json.decode(json.dumps(values), type=GenerationParameters)


@pytest.mark.parametrize("unit", list(TokenUnit))
def test_a_prompt_is_read_as_a_document_that_begins(unit: TokenUnit) -> None:
    read = encode_prompt(state(unit), "To be")
    assert read.dtype == np.int64
    assert read[0] == [END]
    assert read.shape[1] == 1
    assert tokenizers.decode(tokenizer(unit), read[:, 0].tolist()) == "To be"
    assert encode_prompt(state(unit), "").tolist() == [[END]]


@pytest.mark.parametrize("unit", list(TokenUnit))
def test_of_a_long_prompt_the_last_tokens_are_read(unit: TokenUnit) -> None:
    read = encode_prompt(state(unit), SAMPLE * 3000)
    assert read.shape == (MAX_PROMPT_TOKENS + 1, 1)
    assert read[0] == [END]
    shorter = tokenizers.encode(tokenizer(unit), SAMPLE * 500).ids
    assert read[1:, 0].tolist() == shorter[-MAX_PROMPT_TOKENS:]


def test_half_of_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(Invalid, match="surrogate") as caught:
        encode_prompt(state(), "To \ud83d")
    assert caught.value.problems[0].pointer == "/prompt"
    decoding_settings("To \ud83d", parameters(seed=1))  # whichever is called first


def test_everything_has_a_default() -> None:
    settings = decoding_settings("", GenerationParameters())
    assert 0 <= settings.pop("seed") < 2**63
    assert settings == {"max_tokens": 200, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "stop": []}


def test_decoding_settings_are_json() -> None:
    requested = parameters(max_tokens=7, temperature=0, top_k=5, top_p=0.9, seed=3, stop=["\n", "e\u0301"])
    settings = decoding_settings("a", requested)
    assert json.loads(json.dumps(settings)) == settings
    assert settings["stop"] == ["\n", "é"]  # in normal form, as generated texts are
    values = [settings[name] for name in ("max_tokens", "temperature", "top_k", "top_p")]
    assert values == [7, 0, 5, 0.9]
    assert decoding_settings("a", parameters(stop="END"))["stop"] == ["END"]


def test_nothing_but_the_most_likely_token_is_in_no_probability() -> None:
    settings = decoding_settings("a", parameters(top_p=0, top_k=9))
    assert (settings["top_k"], settings["top_p"]) == (1, 1.0)


@given(st.text(max_size=20), st.text(max_size=20), st.integers(-(2**63), 2**63 - 1))
def test_one_seed_gives_each_prompt_one_way_to_go_on(one: str, other: str, seed: int) -> None:
    requested = GenerationParameters(seed=seed)
    derived = decoding_settings(one, requested)["seed"]
    assert 0 <= derived < 2**63
    assert derived == decoding_settings(one, requested)["seed"]
    assert (derived == decoding_settings(other, requested)["seed"]) == (one == other)
    assert derived != decoding_settings(one, GenerationParameters(seed=seed ^ 1))["seed"]


def test_without_a_seed_it_is_another_one_each_time() -> None:
    assert (
        decoding_settings("a", GenerationParameters())["seed"]
        != decoding_settings("a", GenerationParameters())["seed"]
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_tokens": 0},
        {"max_tokens": 4097},
        {"temperature": -0.1},
        {"temperature": 5.1},
        {"top_k": -1},
        {"top_p": 1.01},
        {"top_p": -0.1},
        {"seed": 2**63},
        {"seed": 1.5},
        {"stop": ""},
        {"stop": ["a", ""]},
        {"stop": ["a"] * 9},
        {"stop": "a" * 257},
        {"stop": 3},
        {"stream": 1},
        {"n": 2},
    ],
)
def test_parameters_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        parameters(**wrong)
    schema = msgspec.json.schema(GenerationParameters)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema)


@pytest.mark.parametrize("wrong", [{}, {"prompt": None}, {"prompt": ["a"]}, {"prompt": "a", "text": "b"}])
def test_an_instance_is_a_prompt(wrong: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, GenerationInstance)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"prompt": "a" * (2**20 + 1)}, GenerationInstance)


def test_documents_are_prompts_of_which_the_end_counts() -> None:
    texts = ["To be", "", "日本🙂" * 40_000, SAMPLE]
    prompts = GenerationInstances(Texts.of(texts), "word")
    assert len(prompts) == 4
    assert [prompts[0].prompt, prompts[1].prompt, prompts[3].prompt] == ["To be", "", SAMPLE]
    assert prompts[2].prompt == texts[2][-PROMPT_TAIL_CHARS["word"] :]
    for unit in TokenUnit:
        prompts = GenerationInstances(Texts.of(texts), unit)
        for index, whole in enumerate(texts):
            read = encode_prompt(state(unit), prompts[index].prompt)
            np.testing.assert_array_equal(read, encode_prompt(state(unit), whole))
    with pytest.raises(IndexError):
        prompts[4]


def test_a_batch_is_not_streamed() -> None:
    assert TASK.check_dataset({}, {}, GenerationParameters()) == []
    problems = TASK.check_dataset({}, {}, GenerationParameters(stream=True))
    assert [problem.pointer for problem in problems] == ["/parameters/stream"]
