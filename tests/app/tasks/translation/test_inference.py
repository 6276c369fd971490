import json
from typing import Any

import numpy as np
import pytest

from app.errors import Invalid
from app.tasks.shared import tokenizers
from app.tasks.shared.tokenizers import END, UNKNOWN, Unit
from app.tasks.translation.encoding import plain
from app.tasks.translation.inference import answer, read_instance, read_text, search, write
from app.tasks.translation.options import Instance, Parameters

LINES = ["The cat sees the dog.", "the dog sees the cat!", "El gato, ¿ve el perro?", "ve el niño 日本語"] * 3


def state_of(unit: Unit, **changes: Any) -> dict[str, Any]:
    made = tokenizers.learn(map(plain, LINES), unit, 400, least=2, spaced=True)
    known = {"unit": unit.value, "source": made, "target": made, "longest": 12, "stretch": 1.5}
    return {**known, "copies": unit != Unit.BPE, **changes}


def target(state: dict[str, Any], line: str) -> Any:
    return np.array(tokenizers.encode(state["target"], plain(line)).ids, np.int64)


@pytest.mark.parametrize("unit", list(Unit))
@pytest.mark.parametrize("line", LINES[:4])
def test_tokens_become_the_text_they_were(unit: Unit, line: str) -> None:
    state = state_of(unit, longest=100)
    original = read_text(state, f"  {line}\n")
    assert "".join(original.pieces) == plain(line)
    written, pieces = write(state, original, target(state, line), {})
    assert written == line
    assert "".join(pieces) == plain(line)
    assert original.inputs[-1, 0] == END
    assert original.inputs.shape == (len(original.pieces) + 1, 1)
    assert not original.cut


def test_a_character_of_several_tokens_is_written_when_it_is_whole() -> None:
    state = state_of(Unit.BPE, longest=100)
    line = "ñ ☂"  # no merges for the umbrella
    tokens = target(state, line)
    written, pieces = write(state, read_text(state, line), tokens, {})
    assert written == line
    assert len(pieces) == len(tokens) > 3
    assert "" in pieces
    assert "☂" in pieces
    assert read_text(state, line).pieces.count("☂") == 1  # of the source as well
    assert write(state, read_text(state, line), tokens[:-1], {})[0] == "ñ"  # and never in part


def test_an_unknown_word_is_the_one_that_the_network_looks_at() -> None:
    state = state_of(Unit.WORD)
    original = read_text(state, "The unicorn sees Zoë!")
    assert [UNKNOWN if n == UNKNOWN else 0 for n in original.ids] == [0, UNKNOWN, 0, UNKNOWN, 0]
    tokens = np.array([*target(state, "El"), UNKNOWN, *target(state, "ve"), UNKNOWN])
    looks = np.full((4, 6), 0.01)  # five pieces and the end
    looks[1, 1] = looks[3, 3] = 0.5
    looks[:, 5] = 0.9  # what stands behind the last piece cannot be copied
    written, pieces = write(state, original, tokens, {"attention": looks.tolist()})
    assert written == "El unicorn ve Zoë"
    assert pieces == [" El", " unicorn", " ve", " Zoë"]
    assert write(state, original, tokens, {})[0] == "El ve"  # nobody knows where it looked


def test_copied_words_do_not_stick_together() -> None:
    state = state_of(Unit.WORD)
    original = read_text(state, "“Zoë unicorn")
    looks = np.zeros((3, len(original.pieces) + 1))
    looks[0, original.pieces.index("Zoë")] = looks[1, 2] = looks[2, 2] = 1
    assert (
        write(state, original, np.full(3, UNKNOWN), {"attention": looks.tolist()})[0] == "Zoë unicorn unicorn"
    )
    looks[1:] = looks[0]
    written, _ = write(state, original, np.full(3, UNKNOWN), {"attention": looks.tolist()})
    assert written == "Zoë Zoë Zoë"


def test_copied_characters_do() -> None:
    state = state_of(Unit.CHARACTER)
    original = read_text(state, "xyz")
    looks = np.eye(4)[1:]
    assert write(state, original, np.full(3, UNKNOWN), {"attention": looks.tolist()})[0] == "xyz"


def test_an_empty_translation_is_an_answer() -> None:
    state = state_of(Unit.WORD)
    note = {"score": -3.5, "finish_reason": "stop", "attention": []}
    found = answer(state, read_text(state, "cat"), np.zeros(0, np.int64), note, Parameters(attention=True))
    assert found["text"] == ""
    assert found["attention"] == {"source": [" cat", tokenizers.SPECIALS[END]], "target": [], "weights": []}


def test_attention_is_told_if_it_is_asked_for() -> None:
    state = state_of(Unit.BPE)
    original, tokens = read_text(state, "the cat"), target(state, "el gato")
    looks = np.random.default_rng(0).dirichlet(np.ones(len(original.ids) + 1), len(tokens))
    note = {"score": np.float32(-1.25), "attention": looks}
    assert answer(state, original, tokens, note, Parameters()) == {"text": "el gato", "score": -1.25}
    found = answer(state, original, tokens, note, Parameters(attention=True))["attention"]
    assert (len(found["target"]), len(found["source"])) == looks.shape
    np.testing.assert_allclose(found["weights"], looks, atol=1e-4)
    assert "".join(found["target"]) == " el gato"
    json.dumps(found)


def test_what_is_too_long_is_cut_and_the_answer_says_so() -> None:
    state = state_of(Unit.WORD)
    original = read_text(state, "the cat " * 6 + "sees")
    assert len(original.inputs) == 13
    assert original.cut
    found = answer(state, original, target(state, "el"), {"score": 0.0}, Parameters())
    assert found["truncated"] is True


@pytest.mark.parametrize(
    ("unit", "asked", "expected"),
    [
        (Unit.BPE, {}, {"beam_size": 5, "max_tokens": 16, "attention": False}),
        (Unit.WORD, {}, {"attention": True}),
        (Unit.CHARACTER, {}, {"attention": True}),
        (
            Unit.BPE,
            {"attention": True, "max_tokens": 3, "beam_size": 2},
            {"attention": True, "max_tokens": 3},
        ),
        (Unit.BPE, {"length_penalty": 0, "coverage_penalty": 0.2}, {"coverage_penalty": 0.2}),
    ],
)
def test_how_to_search(unit: Unit, asked: dict[str, Any], expected: dict[str, Any]) -> None:
    found = search(state_of(unit), 4, Parameters(**asked))
    assert found.keys() == {"beam_size", "max_tokens", "length_penalty", "coverage_penalty", "attention"}
    assert found | expected == found
    json.dumps(found)


def test_a_translation_never_has_more_than_512_tokens() -> None:
    assert search(state_of(Unit.BPE, stretch=400.0), 100, Parameters())["max_tokens"] == 512


@pytest.mark.parametrize(("line", "word"), [(" \n", "empty"), ("a\ud800", "surrogate"), ("a\0b", "NUL")])
def test_a_request_that_is_no_text_is_refused(line: str, word: str) -> None:
    with pytest.raises(Invalid, match=word) as caught:
        read_instance(state_of(Unit.BPE), Instance(line))
    assert caught.value.problems[0].pointer == "/text"


@pytest.mark.parametrize("unit", list(Unit))
def test_signs_of_the_vocabulary_are_only_signs(unit: Unit) -> None:
    original = read_text(state_of(unit, longest=100), "".join(tokenizers.SPECIALS))
    assert END not in original.ids
    assert 0 not in original.ids
