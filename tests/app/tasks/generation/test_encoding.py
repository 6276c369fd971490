"""A corpus as tokens, and the pieces that a training loop gathers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.tasks import contract
from app.tasks.generation import encoding
from app.tasks.generation.corpus import Part
from app.tasks.generation.encoding import Stream, learn, tokenise, unknown_texts
from app.tasks.shared import tokenizers
from app.tasks.shared.tokenizers import END, UNKNOWN, Unit

PLAY = "To be, or not to be: that's the question.\n\n  Whether 'tis nobler — naïve 日本 🙂\tin the mind\n" * 5
UNITS = pytest.mark.parametrize("unit", list(Unit))


@given(st.integers(1, 40), st.integers(1, 12), st.data())
def test_pieces_are_consecutive_and_each_token_has_the_next_as_target(
    targets: int, steps: int, data: st.DataObject
) -> None:
    tokens = np.arange(100, 101 + targets, dtype=np.int32)
    made = Stream(tokens, steps)
    assert made.lengths.sum() == made.targets == targets
    assert made.lengths.dtype == np.int64
    assert (made.lengths[:-1] == steps).all()
    every = range(len(made.lengths))
    rows = np.array(data.draw(st.lists(st.sampled_from(every), min_size=1, max_size=6)))
    inputs, lengths, wanted, weights = made.gather(rows)
    assert inputs.shape == (*wanted.shape, 1)
    assert wanted.shape == weights.shape == (len(rows), lengths.max())
    assert [one.dtype.name for one in (inputs, wanted, weights)] == ["int64", "int64", "float32"]
    for place, row in enumerate(rows):
        length = made.lengths[row]
        assert lengths[place] == length
        piece = tokens[row * steps : row * steps + length]
        np.testing.assert_array_equal(inputs[place, :length, 0], piece)
        np.testing.assert_array_equal(wanted[place, :length], piece + 1)
        np.testing.assert_array_equal(weights[place], np.arange(lengths.max()) < length)
        assert not inputs[place, length:].any()
        assert not wanted[place, length:].any()


@UNITS
def test_texts_come_back_from_their_tokens_as_they_were(unit: Unit) -> None:
    tokeniser = learn(Part([PLAY]), unit, 1000, 1)
    tokens = tokenise(tokeniser, Part([PLAY, "To be"]))
    assert tokens.dtype == np.int32
    ends = np.flatnonzero(tokens == END)
    assert [0, len(tokens) - 1] == [ends[0], ends[-1]]
    assert len(ends) == 3
    assert tokenizers.decode(tokeniser, tokens[: ends[1]].tolist()) == PLAY
    assert tokenizers.decode(tokeniser, tokens[ends[1] :].tolist()) == "To be"
    spelled = tokenizers.pieces(tokeniser)
    assert b"".join(spelled[token] for token in tokens).decode() == PLAY + "To be"
    assert len(spelled) == tokenizers.size(tokeniser)
    np.testing.assert_array_equal(tokenise(tokeniser, Part([PLAY, "To be"], ended=False)), tokens[:-1])


@UNITS
def test_blocks_change_nothing_that_matters(unit: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    part = Part([PLAY, PLAY[:50], "x"])
    tokeniser = learn(part, unit, 1000, 1)
    whole = tokenise(tokeniser, part)
    monkeypatch.setattr(encoding, "BLOCK", 64)
    monkeypatch.setattr(encoding, "TOGETHER", 200)
    cut = tokenise(tokeniser, part)
    spelled = tokenizers.pieces(tokeniser)
    said = [b"".join(spelled[token] for token in tokens).decode() for tokens in (whole, cut)]
    assert said == [PLAY + PLAY[:50] + "x"] * 2
    assert (cut == END).sum() == (whole == END).sum() == 4
    assert len(cut) <= 1.1 * len(whole)
    if unit == Unit.CHARACTER:
        np.testing.assert_array_equal(cut, whole)
        assert learn(part, unit, 1000, 1) == tokeniser


@UNITS
def test_the_vocabulary_has_no_more_than_was_asked_for(unit: Unit) -> None:
    assert tokenizers.size(learn(Part([PLAY]), unit, 280, 2)) <= 280
    small = learn(Part(["aaaa bbb cc d"]), unit, 1000, 2)
    assert b"d" not in tokenizers.pieces(small) or unit == Unit.BPE


def test_of_a_huge_corpus_a_vocabulary_is_learned_from_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "BLOCK", 8)
    monkeypatch.setattr(encoding, "LEARNED", 100)
    part = Part(["aaaaaaa bbbbbbb " * 50, "ccccccc ddddddd " * 50])
    assert {"a", "b", "c", "d"} > {piece.decode().strip() for piece in tokenizers.pieces(
        learn(part, Unit.CHARACTER, 50, 1)
    )} - {""}  # fmt: skip


def test_what_is_not_known_is_found_in_the_text() -> None:
    words = learn(Part(["to be or not to be\n" * 2]), Unit.WORD, 100, 2)
    part = Part(["to see or not\n", "be seen 🙂"])
    assert unknown_texts(words, part) == [" see", "be", " seen", " 🙂"]  # "be" was behind a space only
    assert (tokenise(words, part) == UNKNOWN).sum() == 4
    characters = learn(Part(["to be " * 9]), Unit.CHARACTER, 100, 2)
    assert unknown_texts(characters, Part(["to see"])) == ["s"]
    assert unknown_texts(learn(Part(["to be"]), Unit.BPE, 300, 2), part) == []


@UNITS
def test_a_text_cannot_write_marks(unit: Unit) -> None:
    written = "a ⟨s⟩ b ⟨/s⟩ ⟨unk⟩⟨pad⟩ <s> </s> <unk>"
    tokeniser = learn(Part([written * 5]), unit, 400, 1)
    tokens = tokenise(tokeniser, Part([written]))
    assert (tokens[1:-1] > END).all()
    assert tokenizers.decode(tokeniser, tokens.tolist()) == written


def test_every_vocabulary_begins_with_the_same_tokens() -> None:
    marks = (contract.PADDING, contract.UNKNOWN, contract.BEGIN, contract.END)
    assert marks == (tokenizers.PADDING, tokenizers.UNKNOWN, tokenizers.BEGIN, tokenizers.END)
    for unit in Unit:
        tokeniser = learn(Part([PLAY]), unit, 400, 1)
        assert [tokenizers.token(tokeniser, mark) for mark in marks] == tokenizers.SPECIALS


def test_words_of_other_tasks_are_as_they_were() -> None:
    plain = tokenizers.learn(["the end, the end"], Unit.WORD, 100)
    assert [tokenizers.token(plain, number) for number in tokenizers.encode(plain, "the end,").ids] == [
        "the",
        "end",
        ",",
    ]
