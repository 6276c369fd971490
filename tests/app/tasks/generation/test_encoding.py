"""A corpus as tokens, and the pieces that a training loop gathers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.tasks import contract
from app.tasks.contract import END, UNKNOWN
from app.tasks.generation import encoding
from app.tasks.generation.corpus import CorpusPart
from app.tasks.generation.encoding import EncodedCorpus, encode_corpus, train_corpus_tokenizer, unknown_texts
from app.tasks.shared import tokenizers
from app.tasks.shared.tokenizers import TokenUnit

PLAY = "To be, or not to be: that's the question.\n\n  Whether 'tis nobler — naïve 日本 🙂\tin the mind\n" * 5
UNITS = pytest.mark.parametrize("unit", list(TokenUnit))


@given(st.integers(1, 40), st.integers(1, 12), st.data())
def test_pieces_are_consecutive_and_each_token_has_the_next_as_target(
    targets: int, steps: int, data: st.DataObject
) -> None:
    tokens = np.arange(100, 101 + targets, dtype=np.int32)
    encoded = EncodedCorpus(tokens, steps)
    assert encoded.lengths.sum() == encoded.targets == targets
    assert encoded.lengths.dtype == np.int64
    assert (encoded.lengths[:-1] == steps).all()
    every = range(len(encoded.lengths))
    rows = np.array(data.draw(st.lists(st.sampled_from(every), min_size=1, max_size=6)))
    inputs, lengths, expected, weights = encoded.gather(rows)
    assert inputs.shape == (*expected.shape, 1)
    assert expected.shape == weights.shape == (len(rows), lengths.max())
    assert [one.dtype.name for one in (inputs, expected, weights)] == ["int64", "int64", "float32"]
    for index, row in enumerate(rows):
        length = encoded.lengths[row]
        assert lengths[index] == length
        piece = tokens[row * steps : row * steps + length]
        np.testing.assert_array_equal(inputs[index, :length, 0], piece)
        np.testing.assert_array_equal(expected[index, :length], piece + 1)
        np.testing.assert_array_equal(weights[index], np.arange(lengths.max()) < length)
        assert not inputs[index, length:].any()
        assert not expected[index, length:].any()


@UNITS
def test_texts_come_back_from_their_tokens_as_they_were(unit: TokenUnit) -> None:
    tokenizer = train_corpus_tokenizer(CorpusPart([PLAY]), unit, 1000, 1)
    tokens = encode_corpus(tokenizer, CorpusPart([PLAY, "To be"]))
    assert tokens.dtype == np.int32
    ends = np.flatnonzero(tokens == END)
    assert [0, len(tokens) - 1] == [ends[0], ends[-1]]
    assert len(ends) == 3
    assert tokenizers.decode(tokenizer, tokens[: ends[1]].tolist()) == PLAY
    assert tokenizers.decode(tokenizer, tokens[ends[1] :].tolist()) == "To be"
    pieces = tokenizers.token_bytes(tokenizer)
    assert b"".join(pieces[token] for token in tokens).decode() == PLAY + "To be"
    assert len(pieces) == tokenizers.vocabulary_size(tokenizer)
    np.testing.assert_array_equal(
        encode_corpus(tokenizer, CorpusPart([PLAY, "To be"], ended=False)), tokens[:-1]
    )


@UNITS
def test_blocks_change_nothing_that_matters(unit: TokenUnit, monkeypatch: pytest.MonkeyPatch) -> None:
    part = CorpusPart([PLAY, PLAY[:50], "x"])
    tokenizer = train_corpus_tokenizer(part, unit, 1000, 1)
    whole = encode_corpus(tokenizer, part)
    monkeypatch.setattr(encoding, "BLOCK_CHARS", 64)
    monkeypatch.setattr(encoding, "BATCH_CHARS", 200)
    cut = encode_corpus(tokenizer, part)
    pieces = tokenizers.token_bytes(tokenizer)
    texts = [b"".join(pieces[token] for token in tokens).decode() for tokens in (whole, cut)]
    assert texts == [PLAY + PLAY[:50] + "x"] * 2
    assert (cut == END).sum() == (whole == END).sum() == 4
    assert len(cut) <= 1.1 * len(whole)
    if unit == TokenUnit.CHARACTER:
        np.testing.assert_array_equal(cut, whole)
        assert train_corpus_tokenizer(part, unit, 1000, 1) == tokenizer


@UNITS
def test_the_vocabulary_has_no_more_tokens_than_requested(unit: TokenUnit) -> None:
    assert tokenizers.vocabulary_size(train_corpus_tokenizer(CorpusPart([PLAY]), unit, 280, 2)) <= 280
    small = train_corpus_tokenizer(CorpusPart(["aaaa bbb cc d"]), unit, 1000, 2)
    assert b"d" not in tokenizers.token_bytes(small) or unit == TokenUnit.BPE


def test_of_a_huge_corpus_a_vocabulary_is_learned_from_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "BLOCK_CHARS", 8)
    monkeypatch.setattr(encoding, "MAX_VOCABULARY_CHARS", 100)
    part = CorpusPart(["aaaaaaa bbbbbbb " * 50, "ccccccc ddddddd " * 50])
    assert {"a", "b", "c", "d"} > {piece.decode().strip() for piece in tokenizers.token_bytes(
        train_corpus_tokenizer(part, TokenUnit.CHARACTER, 50, 1)
    )} - {""}  # fmt: skip


def test_unknown_tokens_are_looked_up_in_the_text() -> None:
    words = train_corpus_tokenizer(CorpusPart(["to be or not to be\n" * 2]), TokenUnit.WORD, 100, 2)
    part = CorpusPart(["to see or not\n", "be seen 🙂"])
    assert unknown_texts(words, part) == [" see", "be", " seen", " 🙂"]  # "be" was behind a space only
    assert (encode_corpus(words, part) == UNKNOWN).sum() == 4
    characters = train_corpus_tokenizer(CorpusPart(["to be " * 9]), TokenUnit.CHARACTER, 100, 2)
    assert unknown_texts(characters, CorpusPart(["to see"])) == ["s"]
    assert unknown_texts(train_corpus_tokenizer(CorpusPart(["to be"]), TokenUnit.BPE, 300, 2), part) == []


@UNITS
def test_a_text_cannot_write_marks(unit: TokenUnit) -> None:
    written = "a ⟨s⟩ b ⟨/s⟩ ⟨unk⟩⟨pad⟩ <s> </s> <unk>"
    tokenizer = train_corpus_tokenizer(CorpusPart([written * 5]), unit, 400, 1)
    tokens = encode_corpus(tokenizer, CorpusPart([written]))
    assert (tokens[1:-1] > END).all()
    assert tokenizers.decode(tokenizer, tokens.tolist()) == written


def test_every_vocabulary_begins_with_the_same_tokens() -> None:
    marks = (contract.PADDING, contract.UNKNOWN, contract.BEGIN, contract.END)
    assert marks == (0, 1, 2, 3)
    for unit in TokenUnit:
        tokenizer = train_corpus_tokenizer(CorpusPart([PLAY]), unit, 400, 1)
        assert [tokenizers.token_text(tokenizer, mark) for mark in marks] == tokenizers.SPECIAL_TOKENS


def test_words_of_other_tasks_are_as_they_were() -> None:
    plain = tokenizers.train_tokenizer(["the end, the end"], TokenUnit.WORD, 100)
    assert [tokenizers.token_text(plain, number) for number in tokenizers.encode(plain, "the end,").ids] == [
        "the",
        "end",
        ",",
    ]
