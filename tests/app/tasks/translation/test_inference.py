import json
from typing import Any

import numpy as np
import pytest

from app.errors import Invalid
from app.tasks.contract import END, UNKNOWN
from app.tasks.shared import tokenizers
from app.tasks.shared.tokenizers import TokenUnit
from app.tasks.translation.encoding import normalize_spaces
from app.tasks.translation.inference import (
    build_prediction,
    decode_text,
    decoding_settings,
    encode_instance,
    encode_source,
)
from app.tasks.translation.options import TranslationInstance, TranslationParameters

PARAMETERS, ATTENTION = TranslationParameters(), TranslationParameters(attention=True)
LINES = ["The cat sees the dog.", "the dog sees the cat!", "El gato, ¿ve el perro?", "ve el niño 日本語"] * 3


def state_of(unit: TokenUnit, **changes: Any) -> dict[str, Any]:
    tokenizer = tokenizers.train_tokenizer(map(normalize_spaces, LINES), unit, 400, min_count=2, spaced=True)
    known = {"unit": unit.value, "source": tokenizer, "target": tokenizer, "longest": 12, "stretch": 1.5}
    return {**known, "copies": unit != TokenUnit.BPE, **changes}


def target(state: dict[str, Any], line: str) -> Any:
    return np.array(tokenizers.encode(state["target"], normalize_spaces(line)).ids, np.int64)


@pytest.mark.parametrize("unit", list(TokenUnit))
@pytest.mark.parametrize("line", LINES[:4])
def test_tokens_become_the_text_they_were(unit: TokenUnit, line: str) -> None:
    state = state_of(unit, longest=100)
    source = encode_source(state, f"  {line}\n")
    assert "".join(source.pieces) == normalize_spaces(line)
    written, pieces = decode_text(state, source, target(state, line), {})
    assert written == line
    assert "".join(pieces) == normalize_spaces(line)
    assert source.inputs[-1, 0] == END
    assert source.inputs.shape == (len(source.pieces) + 1, 1)
    assert not source.truncated


def test_a_character_of_several_tokens_is_written_when_it_is_whole() -> None:
    state = state_of(TokenUnit.BPE, longest=100)
    line = "ñ ☂"  # no merges for the umbrella
    tokens = target(state, line)
    written, pieces = decode_text(state, encode_source(state, line), tokens, {})
    assert written == line
    assert len(pieces) == len(tokens) > 3
    assert "" in pieces
    assert "☂" in pieces
    assert encode_source(state, line).pieces.count("☂") == 1  # of the source as well
    assert decode_text(state, encode_source(state, line), tokens[:-1], {})[0] == "ñ"  # and never in part


def test_an_unknown_word_is_the_one_that_the_network_looks_at() -> None:
    state = state_of(TokenUnit.WORD)
    source = encode_source(state, "The unicorn sees Zoë!")
    assert [UNKNOWN if n == UNKNOWN else 0 for n in source.ids] == [0, UNKNOWN, 0, UNKNOWN, 0]
    tokens = np.array([*target(state, "El"), UNKNOWN, *target(state, "ve"), UNKNOWN])
    attention = np.full((4, 6), 0.01)  # five pieces and the end
    attention[1, 1] = attention[3, 3] = 0.5
    attention[:, 5] = 0.9  # what stands behind the last piece cannot be copied
    written, pieces = decode_text(state, source, tokens, {"attention": attention.tolist()})
    assert written == "El unicorn ve Zoë"
    assert pieces == [" El", " unicorn", " ve", " Zoë"]
    assert decode_text(state, source, tokens, {})[0] == "El ve"  # without attention there is nothing to copy


def test_copied_words_do_not_stick_together() -> None:
    state = state_of(TokenUnit.WORD)
    source = encode_source(state, "“Zoë unicorn")
    attention = np.zeros((3, len(source.pieces) + 1))
    attention[0, source.pieces.index("Zoë")] = attention[1, 2] = attention[2, 2] = 1
    assert (
        decode_text(state, source, np.full(3, UNKNOWN), {"attention": attention.tolist()})[0]
        == "Zoë unicorn unicorn"
    )
    attention[1:] = attention[0]
    written, _ = decode_text(state, source, np.full(3, UNKNOWN), {"attention": attention.tolist()})
    assert written == "Zoë Zoë Zoë"


def test_copied_characters_do() -> None:
    state = state_of(TokenUnit.CHARACTER)
    source = encode_source(state, "xyz")
    attention = np.eye(4)[1:]
    assert decode_text(state, source, np.full(3, UNKNOWN), {"attention": attention.tolist()})[0] == "xyz"


@pytest.mark.parametrize("line", ["", " \n"])
@pytest.mark.parametrize("unit", list(TokenUnit))
def test_nothing_is_translated_to_nothing(line: str, unit: TokenUnit) -> None:
    state = state_of(unit)
    source = encode_instance(state, TranslationInstance(line))
    assert source.inputs.tolist() == [[END]]
    assert decoding_settings(state, len(source.ids), PARAMETERS)["max_tokens"] == 1
    note = {"score": -3.5, "finish_reason": "length", "attention": [[1.0]]}
    prediction = build_prediction(state, source, np.array([5]), note, PARAMETERS)
    assert prediction == {"text": "", "score": 0.0}


def test_an_empty_translation_is_an_answer() -> None:
    state = state_of(TokenUnit.WORD)
    note = {"score": -3.5, "finish_reason": "stop", "attention": []}
    prediction = build_prediction(state, encode_source(state, "cat"), np.zeros(0, np.int64), note, ATTENTION)
    assert prediction["text"] == ""
    assert prediction["attention"] == {
        "source": [" cat", tokenizers.SPECIAL_TOKENS[END]],
        "target": [],
        "weights": [],
    }


def test_attention_is_returned_if_it_is_requested() -> None:
    state = state_of(TokenUnit.BPE)
    source, tokens = encode_source(state, "the cat"), target(state, "el gato")
    attention = np.random.default_rng(0).dirichlet(np.ones(len(source.ids) + 1), len(tokens))
    note = {"score": np.float32(-1.25), "attention": attention}
    assert build_prediction(state, source, tokens, note, PARAMETERS) == {
        "text": "el gato",
        "score": -1.25,
    }
    prediction = build_prediction(state, source, tokens, note, ATTENTION)["attention"]
    assert (len(prediction["target"]), len(prediction["source"])) == attention.shape
    np.testing.assert_allclose(prediction["weights"], attention, atol=1e-4)
    assert "".join(prediction["target"]) == " el gato"
    json.dumps(prediction)


def test_a_long_source_is_truncated_and_the_answer_says_so() -> None:
    state = state_of(TokenUnit.WORD)
    source = encode_source(state, "the cat " * 6 + "sees")
    assert len(source.inputs) == 13
    assert source.truncated
    prediction = build_prediction(state, source, target(state, "el"), {"score": 0.0}, PARAMETERS)
    assert prediction["truncated"] is True


@pytest.mark.parametrize(
    ("unit", "requested", "expected"),
    [
        (TokenUnit.BPE, {}, {"beam_size": 5, "max_tokens": 16, "attention": False}),
        (TokenUnit.WORD, {}, {"attention": True}),
        (TokenUnit.CHARACTER, {}, {"attention": True}),
        (
            TokenUnit.BPE,
            {"attention": True, "max_tokens": 3, "beam_size": 2},
            {"attention": True, "max_tokens": 3},
        ),
        (TokenUnit.BPE, {"length_penalty": 0, "coverage_penalty": 0.2}, {"coverage_penalty": 0.2}),
    ],
)
def test_decoding_settings(unit: TokenUnit, requested: dict[str, Any], expected: dict[str, Any]) -> None:
    settings = decoding_settings(state_of(unit), 4, TranslationParameters(**requested))
    assert settings.keys() == {"beam_size", "max_tokens", "length_penalty", "coverage_penalty", "attention"}
    assert settings | expected == settings
    json.dumps(settings)


def test_a_translation_never_has_more_than_512_tokens() -> None:
    assert decoding_settings(state_of(TokenUnit.BPE, stretch=400.0), 100, PARAMETERS)["max_tokens"] == 512


@pytest.mark.parametrize(("line", "word"), [("a\ud800", "surrogate"), ("a\0b", "NUL")])
def test_a_request_that_is_no_text_is_refused(line: str, word: str) -> None:
    with pytest.raises(Invalid, match=word) as caught:
        encode_instance(state_of(TokenUnit.BPE), TranslationInstance(line))
    assert caught.value.problems[0].pointer == "/text"


@pytest.mark.parametrize("unit", list(TokenUnit))
def test_signs_of_the_vocabulary_are_only_signs(unit: TokenUnit) -> None:
    source = encode_source(state_of(unit, longest=100), "".join(tokenizers.SPECIAL_TOKENS))
    assert END not in source.ids
    assert 0 not in source.ids
