from itertools import pairwise

import numpy as np
import pytest

from app.arrays import Array, Ints
from app.tasks.classification import linear_path as module
from app.tasks.classification.linear_path import linear_tables
from app.tasks.classification.ngram_tables import TABLES
from app.tasks.classification.options import ClassificationOptions
from app.tasks.classification.text_encoding import TextEncoder, fit_encoder, load_encoder
from app.tasks.contract import PADDING, PAIR_FACTOR, UNKNOWN
from app.tasks.shared import tokenizers
from app.tasks.shared.label_metrics import fit_temperature
from app.tasks.shared.ragged import Texts

WORDS = ("good", "fine", "bad", "dull", "film", "plot", "a")
PAIR_ROWS = 1 << 12


def samples(count: int) -> tuple[list[str], Ints]:
    """Texts of random words, whose label the last one tells."""
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, len(WORDS), (count, 5))
    labels = rng.integers(0, 2, count)
    numbers[:, -1] = np.where(labels == 1, 0, 2) + rng.integers(0, 2, count)
    return [" ".join(WORDS[number] for number in row) for row in numbers], labels


def fitted(texts: list[str], labels: Ints, count: int = 2) -> tuple[TextEncoder, dict[str, Array]]:
    sample, rows = Texts.of(texts), np.arange(len(texts))
    state = fit_encoder(sample, rows, ClassificationOptions(min_count=1))
    encoder = load_encoder(state)
    shape = tokenizers.vocabulary_size(state["tokeniser"]), PAIR_ROWS, count
    return encoder, linear_tables(encoder.encode_all(sample), rows, rows, labels, shape)[1]


def score(encoder: TextEncoder, tables: dict[str, Array], text: str) -> Array:
    singles, pairs = tables[TABLES["tokens"]], tables[TABLES["pairs"]]
    tokens = [one for one in encoder.encode(text)[:, 0].tolist() if one > UNKNOWN]
    both = [pairs[(first * PAIR_FACTOR + second) % len(pairs)] for first, second in pairwise(tokens)]
    total: Array = singles[PADDING] + np.sum([np.zeros(singles.shape[1]), *singles[tokens], *both], axis=0)
    return total


@pytest.mark.parametrize("most", [0, 1_000])
def test_words_that_tell_score_for_their_label(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(module, "MAX_FITTED_TEXTS", most)
    encoder, tables = fitted(*samples(300))
    for text, label in (("a good film", 1), ("a fine plot", 1), ("bad", 0), ("a dull film", 0)):
        assert score(encoder, tables, text).argmax() == label
    assert not tables[TABLES["tokens"]][UNKNOWN].any()


def test_sums_are_calibrated() -> None:
    texts, labels = samples(1_200)
    encoder, tables = fitted(texts[:400], labels[:400])
    scores = np.stack([score(encoder, tables, text) for text in texts[400:]])  # (texts, labels)
    assert fit_temperature(scores, labels[400:]) == pytest.approx(1, rel=0.3)


def test_the_more_frequent_label_scores_before_any_token() -> None:
    encoder, tables = fitted(["one two", "two one", "one", "two"] * 10, np.array([0, 1, 1, 1] * 10))
    assert score(encoder, tables, "unheard of").argmax() == 1


@pytest.mark.parametrize("labels", [[0, 1, 2], [0, 0, 0], [0, 2, 2]])
def test_very_few_texts_have_tables_too(labels: list[int]) -> None:
    _, tables = fitted(["one", "two", "three"], np.array(labels), 3)
    assert all(np.isfinite(table).all() for table in tables.values())


def test_words_that_tell_nothing_score_nothing() -> None:
    encoder, tables = fitted(["one two"] * 6, np.array([0, 1] * 3))
    assert np.ptp(score(encoder, tables, "one two")) == pytest.approx(0, abs=0.1)


def test_logistic_regression_tells_what_naive_bayes_does_not() -> None:
    texts = [f"the {'well ' * (k % 4)}known {WORDS[k % 7]}" for k in range(200)]
    labels = np.array([k % 4 == 0 for k in range(200)], np.int64)
    encoder, tables = fitted(texts, labels)
    right = [
        score(encoder, tables, text).argmax() == label for text, label in zip(texts, labels, strict=True)
    ]
    assert np.mean(right) == 1
