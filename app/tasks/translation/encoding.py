"""Pairs of texts as tokens: vocabularies of both sides, and batches for an encoder-decoder."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.arrays import Array
from app.tasks.contract import BEGIN, END
from app.tasks.shared import tokenizers
from app.tasks.shared.ragged import Ragged, Texts, offsets_of
from app.tasks.translation import baseline
from app.tasks.translation.options import TranslationOptions
from app.tasks.translation.reading import Pairs

MAX_VOCABULARY_PAIRS = 200_000  # from which a vocabulary is learned, evenly taken from all
LEXICON_WORDS = 16  # translations of a token that the lexicon lists


def normalize_spaces(text: str) -> str:
    """A text with one space before each word, the first one too, so that a word is the same everywhere."""
    return " " + " ".join(text.split())


def train_tokenizers(pairs: Pairs, rows: Array, options: TranslationOptions) -> list[str]:
    """The tokenizers of the sources and of the targets, trained on some rows; the same if shared."""
    rows = rows[:: -(-len(rows) // MAX_VOCABULARY_PAIRS) or 1]
    sides = [pairs.sources, pairs.targets]
    groups = [sides] if options.shared_vocabulary else [[side] for side in sides]
    trained = [
        tokenizers.train_tokenizer(
            (normalize_spaces(side[int(row)]) for side in group for row in rows),
            tokenizers.TokenUnit(options.tokens),
            options.max_vocabulary,
            lower=options.lower,
            min_count=options.min_count,
            spaced=True,
        )
        for group in groups
    ]
    return trained * (2 // len(trained))


def encode_texts(tokenizer: str, texts: Texts) -> Ragged:
    """The tokens of each text, int32."""
    parts = []
    for start in range(0, len(texts), tokenizers.BATCH_TEXTS):
        batch = texts.pick(range(start, min(start + tokenizers.BATCH_TEXTS, len(texts))))
        tokens = tokenizers.encode_batch(tokenizer, [normalize_spaces(text) for text in batch])
        parts.append(Ragged.of(tokens, np.int32))
    return Ragged.concatenate(parts)


def truncate_rows(rows: Ragged, max_length: int) -> Ragged:
    """The first tokens of each row."""
    lengths = rows.lengths
    step = np.arange(len(rows.values)) - np.repeat(rows.offsets[:-1], lengths)
    return Ragged(rows.values[step < max_length], offsets_of(np.minimum(lengths, max_length)))


def frame_rows(rows: Ragged, first: Sequence[int], last: Sequence[int]) -> Ragged:
    """All rows, each with the tokens `first` before it and `last` behind it."""
    offsets = rows.offsets + (len(first) + len(last)) * np.arange(len(rows) + 1)
    values = np.zeros(offsets[-1], rows.values.dtype)
    is_inner = np.ones(len(values), bool)
    for starts, tokens in ((offsets[:-1], first), (offsets[1:] - len(last), last)):
        for shift, token in enumerate(tokens):
            values[starts + shift] = token
            is_inner[starts + shift] = False
    values[is_inner] = rows.values
    return Ragged(values, offsets)


def select_rows(rows: Ragged, numbers: Array) -> Ragged:
    """The rows with these numbers."""
    lengths = rows.lengths[numbers]
    step = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return Ragged(rows.values[np.repeat(rows.offsets[numbers], lengths) + step], offsets_of(lengths))


@dataclass(frozen=True)
class EncodedPairs:
    """Both sides of every pair: the source up to `END`, the target from `BEGIN` to `END`."""

    sources: Ragged
    targets: Ragged

    @classmethod
    def of(cls, sources: Ragged, targets: Ragged) -> "EncodedPairs":
        """From tokens without `BEGIN` and `END`."""
        return cls(frame_rows(sources, [], [END]), frame_rows(targets, [BEGIN], [END]))

    def gather(self, rows: Array) -> tuple[Array, Array, Array, Array]:
        """Inputs (batch, time, 1), lengths (batch,), targets and weights (batch, target time)."""
        inputs, lengths = self.sources.padded(rows)
        targets, sizes = self.targets.padded(rows)
        step = np.arange(targets.shape[1])
        is_scored = (step > 0) & (step < sizes[:, None])  # (batch, target time): nothing predicts `BEGIN`
        return (
            inputs.astype(np.int64)[:, :, None],
            lengths,
            targets.astype(np.int64),
            is_scored.astype(np.float32),
        )


def lexicon_tables(sources: Ragged, targets: Ragged, sizes: tuple[int, int]) -> dict[str, Array]:
    """The most probable target tokens of each source token, and their probabilities.

    Both are (source tokens, `LEXICON_WORDS`).
    """
    words, shares = baseline.likely_words(sources, targets, sizes, LEXICON_WORDS)
    words[END, 0], shares[END, 0] = END, 1.0  # which ends both sides
    return {"lexicon_words": words, "lexicon_shares": shares}
