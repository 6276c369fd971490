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
from app.tasks.generation.inference import (
    LOOKED_AT,
    READ,
    Instance,
    Parameters,
    Prompts,
    misfits,
    read_prompt,
    search,
)
from app.tasks.shared import tokenizers
from app.tasks.shared.ragged import Texts
from app.tasks.shared.tokenizers import END, Unit

SAMPLE = "To be, or not to be: that is the question. naïve 日本 🙂\n"


@cache
def tokeniser(unit: Unit = Unit.CHARACTER) -> str:
    return tokenizers.learn([SAMPLE] * 3, unit, 400, spaced=True)


def state(unit: Unit = Unit.CHARACTER) -> dict[str, str]:
    return {"tokeniser": tokeniser(unit), "unit": unit}


def parameters(**given: Any) -> Parameters:
    return msgspec.json.decode(json.dumps(given), type=Parameters)


@pytest.mark.parametrize("unit", list(Unit))
def test_a_prompt_is_read_as_a_document_that_begins(unit: Unit) -> None:
    read = read_prompt(state(unit), "To be")
    assert read.dtype == np.int64
    assert read[0] == [END]
    assert read.shape[1] == 1
    assert tokenizers.decode(tokeniser(unit), read[:, 0].tolist()) == "To be"
    assert read_prompt(state(unit), "").tolist() == [[END]]


@pytest.mark.parametrize("unit", list(Unit))
def test_of_a_long_prompt_the_last_tokens_are_read(unit: Unit) -> None:
    read = read_prompt(state(unit), SAMPLE * 3000)
    assert read.shape == (READ + 1, 1)
    assert read[0] == [END]
    shorter = tokenizers.encode(tokeniser(unit), SAMPLE * 500).ids
    assert read[1:, 0].tolist() == shorter[-READ:]


def test_half_of_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(Invalid, match="surrogate") as caught:
        read_prompt(state(), "To \ud83d")
    assert caught.value.problems[0].pointer == "/prompt"
    search("To \ud83d", parameters(seed=1))  # whatever is asked first


def test_everything_has_a_default() -> None:
    found = search("", Parameters())
    assert 0 <= found.pop("seed") < 2**63
    assert found == {"max_tokens": 200, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "stop": []}


def test_what_is_asked_for_is_told_as_json() -> None:
    asked = parameters(max_tokens=7, temperature=0, top_k=5, top_p=0.9, seed=3, stop=["\n", "e\u0301"])
    found = search("a", asked)
    assert json.loads(json.dumps(found)) == found
    assert found["stop"] == ["\n", "é"]  # in normal form, as what is generated
    assert (found["max_tokens"], found["temperature"], found["top_k"], found["top_p"]) == (7, 0, 5, 0.9)
    assert search("a", parameters(stop="END"))["stop"] == ["END"]


def test_nothing_but_the_most_likely_token_is_in_no_probability() -> None:
    found = search("a", parameters(top_p=0, top_k=9))
    assert (found["top_k"], found["top_p"]) == (1, 1.0)


@given(st.text(max_size=20), st.text(max_size=20), st.integers(-(2**63), 2**63 - 1))
def test_one_seed_gives_each_prompt_one_way_to_go_on(one: str, other: str, seed: int) -> None:
    asked = Parameters(seed=seed)
    found = search(one, asked)["seed"]
    assert 0 <= found < 2**63
    assert found == search(one, asked)["seed"]
    assert (found == search(other, asked)["seed"]) == (one == other)
    assert found != search(one, Parameters(seed=seed ^ 1))["seed"]


def test_without_a_seed_it_is_another_one_each_time() -> None:
    assert search("a", Parameters())["seed"] != search("a", Parameters())["seed"]


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
    schema = msgspec.json.schema(Parameters)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema)


@pytest.mark.parametrize("wrong", [{}, {"prompt": None}, {"prompt": ["a"]}, {"prompt": "a", "text": "b"}])
def test_an_instance_is_a_prompt(wrong: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, Instance)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"prompt": "a" * (2**20 + 1)}, Instance)


def test_documents_are_prompts_of_which_the_end_counts() -> None:
    texts = ["To be", "", "日本🙂" * 40_000, SAMPLE]
    prompts = Prompts(Texts.of(texts), "word")
    assert len(prompts) == 4
    assert [prompts[0].prompt, prompts[1].prompt, prompts[3].prompt] == ["To be", "", SAMPLE]
    assert prompts[2].prompt == texts[2][-LOOKED_AT["word"] :]
    for unit in Unit:
        prompts = Prompts(Texts.of(texts), unit)
        for index, whole in enumerate(texts):
            read = read_prompt(state(unit), prompts[index].prompt)
            np.testing.assert_array_equal(read, read_prompt(state(unit), whole))
    with pytest.raises(IndexError):
        prompts[4]


def test_a_batch_is_not_streamed() -> None:
    assert misfits(Parameters()) == []
    assert [problem.pointer for problem in misfits(Parameters(stream=True))] == ["/parameters/stream"]
