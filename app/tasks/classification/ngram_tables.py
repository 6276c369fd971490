"""Naive Bayes over tokens and pairs of neighboring tokens, as tables of scores that a network adds up."""

import numpy as np

from app.tasks.arrays import Array, Floats, Ints
from app.tasks.classification.text_encoding import EncodedTexts
from app.tasks.contract import PAIR_FACTOR, UNKNOWN

MIN_PAIR_ROWS = 1 << 10
MAX_CELLS = 1 << 21  # rows * labels of the table of pairs
MAX_LABELS = 200  # with more a network has no tables
MAX_COUNTED_TEXTS = 200_000  # evenly taken from all
BATCH_TEXTS = 2_000  # that are counted at once
TABLES = {"tokens": "head.ngrams.tokens", "pairs": "head.ngrams.pairs"}  # buffers of the network


def pair_rows_for(pairs: int, count: int) -> int:
    """Rows of a table for that many pairs with `count` labels: a power of two; 0 with too many labels."""
    if count > MAX_LABELS:
        return 0
    wanted = 1 << max(pairs - 1, 1).bit_length()
    return max(MIN_PAIR_ROWS, min(wanted, 1 << (MAX_CELLS // count).bit_length() - 1))


def ngram_tables(
    encoded: EncodedTexts, rows: Ints, labels: Ints, shape: tuple[int, int, int]
) -> dict[str, Floats]:
    """Log-count ratios of tokens (vocabulary, labels) and pairs (pair rows, labels), by a buffer's name.

    Counted in some rows of the texts, whose labels are (texts,); `shape` is (vocabulary, pair rows, labels).
    A ratio is the logarithm of a token's or pair's share of all those with a label, with add-one smoothing,
    less its mean over labels: Wang & Manning (2012), for any number of labels. What never occurs scores 0.
    """
    vocabulary, pair_rows, count = shape
    rows = rows[:: -(-len(rows) // MAX_COUNTED_TEXTS) or 1]
    tokens, pairs = np.zeros(vocabulary * count), np.zeros(pair_rows * count)
    for start in range(0, len(rows), BATCH_TEXTS):
        batch = rows[start : start + BATCH_TEXTS]
        padded, _ = encoded.tokens.padded(batch)
        second = encoded.table[padded, 0].astype(np.int64)  # (batch, time)
        label = np.broadcast_to(labels[batch][:, None], second.shape)  # (batch, time)
        known = second > UNKNOWN
        tokens += np.bincount(second[known] * count + label[known], minlength=len(tokens))
        both = known[:, 1:] & known[:, :-1]
        hashed = (second[:, :-1] * PAIR_FACTOR + second[:, 1:]) % pair_rows  # (batch, time - 1)
        pairs += np.bincount(hashed[both] * count + label[:, 1:][both], minlength=len(pairs))
    return _log_count_ratios(tokens.reshape(-1, count), pairs.reshape(-1, count))


def _log_count_ratios(tokens: Array, pairs: Array) -> dict[str, Floats]:
    """Counts (features, labels) as scores by a buffer's name; the shares are of tokens and pairs together."""
    kinds = int(tokens.any(axis=1).sum() + pairs.any(axis=1).sum())
    totals = tokens.sum(axis=0) + pairs.sum(axis=0) + max(kinds, 1)  # (labels,)
    tables = {}
    for kind, counts in (("tokens", tokens), ("pairs", pairs)):
        scores = np.log((counts + 1) / totals)  # (features, labels)
        scores -= scores.mean(axis=1, keepdims=True)
        scores[~counts.any(axis=1)] = 0
        tables[TABLES[kind]] = scores.astype(np.float32)
    return tables
