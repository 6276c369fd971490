from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.tasks.contract import BEGIN, END, UNKNOWN
from app.tasks.shared import tokenizers
from app.tasks.shared.ragged import Ragged, Texts
from app.tasks.translation import encoding
from app.tasks.translation.encoding import (
    EncodedPairs,
    encode_texts,
    frame_rows,
    normalize_spaces,
    truncate_rows,
)
from app.tasks.translation.options import TranslationOptions
from app.tasks.translation.reading import Pairs
from tests.support.factories.bilingual import sentences

lists = st.lists(st.lists(st.integers(4, 99), max_size=6), min_size=1, max_size=8)


def ragged(rows: list[list[int]]) -> Ragged:
    return Ragged.of([np.array(row, np.int32) for row in rows], np.int32)


def rows_of(rows: Ragged) -> list[list[int]]:
    return [rows[row].tolist() for row in range(len(rows))]


@given(lists, st.integers(1, 7))
def test_rows_are_cut(rows: list[list[int]], max_length: int) -> None:
    assert rows_of(truncate_rows(ragged(rows), max_length)) == [row[:max_length] for row in rows]


@given(lists, st.lists(st.integers(0, 3), max_size=2), st.lists(st.integers(0, 3), max_size=2))
def test_rows_are_framed(rows: list[list[int]], first: list[int], last: list[int]) -> None:
    framed = frame_rows(ragged(rows), first, last)
    assert rows_of(framed) == [[*first, *row, *last] for row in rows]
    assert framed.values.dtype == np.int32


def test_a_batch_is_padded_and_nothing_predicts_its_beginning() -> None:
    encoded = EncodedPairs.of(ragged([[4, 5, 6], [7], [8, 9]]), ragged([[10], [11, 12], [13, 14, 15]]))
    inputs, lengths, targets, weights = encoded.gather(np.array([2, 0]))
    assert inputs[:, :, 0].tolist() == [[8, 9, END, 0], [4, 5, 6, END]]
    assert lengths.tolist() == [3, 4]
    assert targets.tolist() == [[BEGIN, 13, 14, 15, END], [BEGIN, 10, END, 0, 0]]
    assert weights.tolist() == [[0, 1, 1, 1, 1], [0, 1, 1, 0, 0]]
    assert [array.dtype.name for array in (inputs, targets, weights)] == ["int64", "int64", "float32"]


def pairs_of(texts: list[tuple[str, str]]) -> Pairs:
    sides = [Texts.of([pair[side] for pair in texts]) for side in (0, 1)]
    return Pairs(sides[0], sides[1], np.full(len(texts), -1, np.int8))


def learn(texts: list[tuple[str, str]], rows: Any = None, **options: Any) -> list[str]:
    selected = np.arange(len(texts)) if rows is None else np.array(rows)
    return encoding.train_tokenizers(pairs_of(texts), selected, TranslationOptions(**options))


def ids(tokeniser: str, line: str) -> list[int]:
    return tokenizers.encode(tokeniser, normalize_spaces(line)).ids


def test_vocabularies_come_from_the_training_rows() -> None:
    texts = [("dog dog", "perro perro"), ("cat cat", "gato gato")]
    source, target = learn(texts, [0], tokens="word")
    assert ids(source, "dog") != [UNKNOWN]
    assert ids(source, "cat") == [UNKNOWN]
    assert ids(target, "perro") != [UNKNOWN]
    assert ids(target, "gato") == [UNKNOWN]


def test_both_sides_can_share_one() -> None:
    source, target = learn(sentences(50), tokens="word", shared_vocabulary=True)
    assert source == target
    assert UNKNOWN not in ids(source, "the cat") + ids(source, "el gato")


@pytest.mark.parametrize("tokens", ["bpe", "word", "character"])
def test_options_are_followed(tokens: str) -> None:
    source, _ = learn(sentences(200), tokens=tokens, vocabulary_size=300, lower=True)
    assert tokenizers.vocabulary_size(source) <= 300
    assert ids(source, "THE") == ids(source, "the")
    rare = learn([*sentences(50), ("aardvark", "ζ")], tokens="word", min_count=1)
    assert UNKNOWN not in ids(rare[0], "aardvark")


def test_many_pairs_are_thinned_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "MAX_VOCABULARY_PAIRS", 1)
    source, _ = learn([("one one", "uno uno"), ("two two", "dos dos")], tokens="word")
    assert ids(source, "two") == [UNKNOWN]


def test_all_texts_are_tokenised_as_each_would_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizers, "BATCH_TEXTS", 7)
    texts = sentences(30)
    source, _ = learn(texts, vocabulary_size=300)
    encoded = encode_texts(source, pairs_of(texts).sources)
    assert rows_of(encoded) == [ids(source, line) for line, _ in texts]


def test_space_is_read_alike() -> None:
    assert normalize_spaces(" The \n cat\u00a0sees\u3000it\t") == " The cat sees it"
