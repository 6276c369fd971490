import numpy as np

from app.tasks.contract import UNKNOWN
from app.tasks.shared.ragged import Ragged
from app.tasks.tagging.encoding import EncodedSentences, WordTable
from app.tasks.tagging.vocabulary import learn_vocabulary

WORDS = ["", "a", "b", "B", "c"]
COUNTS = np.array([0, 1, 4, 4, 0])


def table(rare: float = 1.0) -> WordTable:
    vocabulary = learn_vocabulary(WORDS, COUNTS, min_count=1, max_words=9, lower=True, max_chars=3)
    return WordTable.from_words(vocabulary, WORDS, COUNTS, rare)


def test_a_table_has_padding_first() -> None:
    assert (table().rows[0] == 0).all()
    assert (table().rows[1:, 0] > 0).all()


def test_rare_words_are_dropped_most_often() -> None:
    # `b` and `B` are one word, which training has eight times; `c` is unknown anyway
    np.testing.assert_allclose(table().drop_rates, [0, 1 / 2, 1 / 9, 1 / 9, 0])
    assert (table(0.0).drop_rates == 0).all()


def encoded(rare: float = 1.0) -> EncodedSentences:
    words = Ragged.of([[1, 2], [3, 4, 1], [2]], np.int32)
    return EncodedSentences(table(rare), words, Ragged.of([[0, 1], [2, 0, 1], [1]], np.int16))


def test_sentences_are_gathered_with_padding() -> None:
    inputs, lengths, targets, weights = encoded().gather(np.array([2, 1]), None)
    assert inputs.shape == (2, 3, table().rows.shape[1])
    assert inputs.dtype == targets.dtype == np.int64
    np.testing.assert_array_equal(inputs[1], table().rows[[3, 4, 1]])
    assert (inputs[0, 1:] == 0).all()
    assert lengths.tolist() == [1, 3]
    assert targets.tolist() == [[1, 0, 0], [2, 0, 1]]
    assert weights.tolist() == [[1, 0, 0], [1, 1, 1]]
    assert weights.dtype == np.float32


def test_a_random_view_drops_words_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    plain, lengths, *_ = encoded().gather(np.array([0, 1, 2]), None)
    dropped = np.zeros(plain.shape[:2])
    for _ in range(2_000):
        inputs, *_ = encoded().gather(np.array([0, 1, 2]), rng)
        np.testing.assert_array_equal(inputs[:, :, 1:], plain[:, :, 1:])
        changed = inputs[:, :, 0] != plain[:, :, 0]
        assert (inputs[:, :, 0][changed] == UNKNOWN).all()
        dropped += changed
    share = dropped / 2_000
    np.testing.assert_allclose(share, [[0.5, 0.111, 0], [0.111, 0, 0.5], [0.111, 0, 0]], atol=0.04)
    assert lengths.tolist() == [2, 3, 1]


def test_without_dropout_no_word_is_dropped() -> None:
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(
        encoded(0.0).gather(np.arange(3), rng)[0], encoded().gather(np.arange(3), None)[0]
    )
