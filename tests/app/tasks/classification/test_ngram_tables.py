from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.arrays import Array
from app.tasks.classification import ngram_tables as module
from app.tasks.classification.baseline import naive_bayes
from app.tasks.classification.ngram_tables import TABLES, ngram_tables, pair_rows_for
from app.tasks.classification.options import ClassificationOptions
from app.tasks.classification.text_encoding import EncodedTexts, TextEncoder, fit_encoder, load_encoder
from app.tasks.contract import PADDING, PAIR_FACTOR, UNKNOWN
from app.tasks.shared import tokenizers
from app.tasks.shared.ragged import Texts

WORDS = st.sampled_from(["good", "bad", "film", "not", "!", "a"])
TEXTS = st.lists(WORDS, min_size=1, max_size=6).map(" ".join)
TRAINING = ["good fun", "a good film", "bad film", "a bad bore", "not good", "not bad"]
LABELS = np.array([1, 1, 0, 0, 0, 1])


def encoded(texts: Sequence[str], **options: object) -> tuple[TextEncoder, EncodedTexts, int]:
    sample = Texts.of(texts)
    settings = ClassificationOptions.model_validate({"min_count": 1, **options})
    state = fit_encoder(sample, np.arange(len(sample)), settings)
    encoder = load_encoder(state)
    return encoder, encoder.encode_all(sample), tokenizers.vocabulary_size(state["tokeniser"])


def score(tables: dict[str, Array], tokens: list[int]) -> Array:
    """The sum over tokens and pairs, (labels,)."""
    singles, pairs = tables[TABLES["tokens"]], tables[TABLES["pairs"]]
    known = [singles[one] for one in tokens if one > UNKNOWN]
    both = [
        pairs[(first * PAIR_FACTOR + second) % len(pairs)]
        for first, second in pairwise(tokens)
        if first > UNKNOWN and second > UNKNOWN
    ]
    total: Array = np.sum([np.zeros(singles.shape[1]), *known, *both], axis=0)
    return total


@given(st.lists(TEXTS, min_size=6, max_size=12), st.lists(TEXTS, min_size=1, max_size=8))
def test_with_equally_many_texts_of_each_label_it_is_naive_bayes(
    texts: list[str], requested: list[str]
) -> None:
    texts = texts[: len(texts) // 3 * 3]
    labels = np.arange(len(texts)) % 3
    encoder, rows, vocabulary = encoded(texts)
    tables = ngram_tables(rows, np.arange(len(texts)), labels, (vocabulary, 1024, 3))
    bayes = naive_bayes(texts, labels, requested)
    for text, label in zip(requested, bayes.tolist(), strict=True):
        scores = score(tables, encoder.encode(text)[:, 0].tolist())
        assert scores.max() - scores[label] < 1e-5


@pytest.mark.parametrize("word_length", [0, 4])
def test_what_never_occurred_scores_nothing(word_length: int) -> None:
    encoder, rows, vocabulary = encoded([*TRAINING, "never counted"], word_length=word_length)
    tables = ngram_tables(rows, np.arange(len(TRAINING)), np.append(LABELS, 0), (vocabulary, 1024, 2))
    tokens = rows.table[rows.tokens[len(TRAINING)], 0]
    assert not tables[TABLES["tokens"]][[PADDING, UNKNOWN, *tokens]].any()
    good = encoder.encode("good")[0, 0]
    assert tables[TABLES["tokens"]][good, 1] > 0
    np.testing.assert_allclose(tables[TABLES["tokens"]].sum(axis=1), 0, atol=1e-6)


def test_pairs_tell_what_words_do_not() -> None:
    encoder, rows, vocabulary = encoded(["not bad", "not good", "so good", "so bad"])
    tables = ngram_tables(rows, np.arange(4), np.array([1, 0, 1, 0]), (vocabulary, 1024, 2))
    assert np.argmax(score(tables, encoder.encode("not bad")[:, 0].tolist())) == 1
    assert np.argmax(score(tables, encoder.encode("not good")[:, 0].tolist())) == 0


def test_batches_count_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    _, rows, vocabulary = encoded(TRAINING)
    whole = ngram_tables(rows, np.arange(6), LABELS, (vocabulary, 1024, 2))
    monkeypatch.setattr(module, "BATCH_TEXTS", 2)
    parts = ngram_tables(rows, np.arange(6), LABELS, (vocabulary, 1024, 2))
    assert all(np.array_equal(whole[name], parts[name]) for name in whole)


def test_tables_are_bounded() -> None:
    assert pair_rows_for(0, 2) == pair_rows_for(1_000, 2) == module.MIN_PAIR_ROWS
    assert pair_rows_for(100_000, 2) == 1 << 17
    assert pair_rows_for(10**9, 2) * 2 == module.MAX_CELLS
    assert pair_rows_for(10**9, 150) * 150 <= module.MAX_CELLS
    assert pair_rows_for(10**9, module.MAX_LABELS + 1) == 0
