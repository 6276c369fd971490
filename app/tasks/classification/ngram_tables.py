"""Naive Bayes over tokens and pairs of neighboring tokens, as tables of scores that a network adds up."""

import numpy as np

from app.arrays import Array, Floats, Ints
from app.tasks.classification.text_encoding import EncodedTexts
from app.tasks.contract import PAIR_FACTOR, UNKNOWN

MIN_PAIR_ROWS = 1 << 10
MAX_CELLS = 1 << 21  # rows * labels of the table of pairs
MAX_LABELS = 200  # with more a network has no tables
MAX_COUNTED_TEXTS = 200_000  # evenly taken from all
BATCH_TEXTS = 2_000  # that are counted at once
TABLES = {"tokens": "head.ngrams.tokens", "pairs": "head.ngrams.pairs"}  # buffers of the network


def pair_rows_for(pairs: int, count: int, spare: int = 1) -> int:
    """Rows of a table for that many pairs with `count` labels: a power of two; 0 with too many labels.

    With `spare` times as many rows as pairs, fewer pairs share a row, and fewer that never occurred score.
    """
    if count > MAX_LABELS:
        return 0
    wanted = spare << max(pairs - 1, 1).bit_length()
    return max(MIN_PAIR_ROWS, min(wanted, 1 << (MAX_CELLS // count).bit_length() - 1))


def ngram_keys(encoded: EncodedTexts, rows: Ints, vocabulary: int, pair_rows: int) -> tuple[Ints, Ints]:
    """All known tokens of some texts, and their pairs as `vocabulary` + row, and which text each is of."""
    keys, owners = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for start in range(0, len(rows), BATCH_TEXTS):
        padded, _ = encoded.tokens.padded(rows[start : start + BATCH_TEXTS])
        second = encoded.table[padded, 0].astype(np.int64)  # (batch, time)
        owner = np.broadcast_to(start + np.arange(len(second))[:, None], second.shape)  # (batch, time)
        known = second > UNKNOWN
        both = known[:, 1:] & known[:, :-1]
        hashed = (second[:, :-1] * PAIR_FACTOR + second[:, 1:]) % pair_rows  # (batch, time - 1)
        keys += [second[known], vocabulary + hashed[both]]
        owners += [owner[known], owner[:, 1:][both]]
    return np.concatenate(keys), np.concatenate(owners)


def log_count_ratios(counts: Array) -> Array:
    """Scores of features from how often they occur with each label, both (features, labels).

    The logarithm of a feature's share of all those with a label, with add-one smoothing, less its mean over
    labels; 0 for what never occurs.
    """
    seen = counts.any(axis=1)
    scores: Array = np.log((counts + 1) / (counts.sum(axis=0) + max(int(seen.sum()), 1)))
    scores -= scores.mean(axis=1, keepdims=True)
    scores[~seen] = 0
    return scores


def ngram_tables(
    encoded: EncodedTexts, rows: Ints, labels: Ints, shape: tuple[int, int, int]
) -> dict[str, Floats]:
    """Log-count ratios of tokens (vocabulary, labels) and pairs (pair rows, labels), by a buffer's name.

    Counted in some rows of the texts, whose labels are (texts,); `shape` is (vocabulary, pair rows, labels):
    naive Bayes (Wang & Manning 2012), for any number of labels.
    """
    vocabulary, pair_rows, count = shape
    rows = rows[:: -(-len(rows) // MAX_COUNTED_TEXTS) or 1]
    keys, owners = ngram_keys(encoded, rows, vocabulary, pair_rows)
    size = (vocabulary + pair_rows) * count
    counts = np.bincount(keys * count + labels[rows][owners], minlength=size).reshape(-1, count)
    single, pairs = np.split(log_count_ratios(counts).astype(np.float32), [vocabulary])
    return {TABLES["tokens"]: single, TABLES["pairs"]: pairs}
