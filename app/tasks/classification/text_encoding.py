"""Texts as inputs of a network: the number of each token and, where they are read, its word's characters."""

import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from app.arrays import Array
from app.tasks.classification.options import DEFAULT_MAX_LENGTHS, ClassificationOptions
from app.tasks.contract import PADDING, UNKNOWN
from app.tasks.shared import tokenizers
from app.tasks.shared.ragged import Ragged, Texts, offsets_of
from app.tasks.shared.word_features import clip_word
from app.typedefs import Json

FIRST_CHARACTER = UNKNOWN + 1  # the number of the first character of the alphabet
MAX_ALPHABET = 8_192  # characters
MIN_CHARACTER_TEXTS = 2  # a character in fewer texts is unknown
MAX_VOCABULARY_TEXTS = 200_000  # texts that a vocabulary is learned from, evenly taken from all
CHARS_PER_TOKEN = 64  # characters of a text that are looked at for each token that may be read
MAX_CACHED_ENCODERS = 64
MAX_CACHED_ROWS = 1 << 15  # of each encoder


@dataclass(frozen=True)
class EncodedTexts:
    """All texts of a data set; each token is a row of a table of the distinct ones."""

    table: Array  # (distinct tokens, features) int32; the first row is padding
    tokens: Ragged  # rows of the table, int32
    truncated: int  # how many texts lost tokens

    @property
    def width(self) -> int:
        """The number of features of a step."""
        return int(self.table.shape[1])

    @property
    def lengths(self) -> Array:
        """Tokens of each text, (texts,)."""
        return self.tokens.lengths

    def gather(self, rows: Array) -> tuple[Array, Array]:
        """Inputs (batch, time, features) int64 and lengths (batch,)."""
        tokens, lengths = self.tokens.padded(rows)  # (batch, time)
        return self.table[tokens].astype(np.int64), lengths


class TextEncoder:
    """Encodes texts with a tokenizer and an alphabet, as `fit_encoder` made them."""

    def __init__(self, tokenizer: str, alphabet: str, word_length: int, max_tokens: int) -> None:
        self._tokenizer, self._word_length, self._max_tokens = tokenizer, word_length, max_tokens
        self._alphabet = {character: number for number, character in enumerate(alphabet, FIRST_CHARACTER)}
        self._rows: dict[tuple[int, str], bytes] = {}  # a cache for `encode`

    @property
    def network(self) -> Json:
        """Fields of the network's configuration that describe its inputs."""
        return {
            "vocabularies": [tokenizers.vocabulary_size(self._tokenizer)],
            "character_vocabulary": FIRST_CHARACTER + len(self._alphabet) if self._word_length else 0,
            "word_length": self._word_length,
        }

    def encode(self, text: str) -> Array:
        """One text as (time, features) int64; a text without tokens is a single unknown token."""
        rows = b"".join(map(self._row, self._pairs(text)[: self._max_tokens]))
        return np.frombuffer(rows, np.int64).reshape(-1, 1 + self._word_length).copy()

    def labels(self, text: str) -> list[str]:
        """The name of each step of `encode`: its characters."""
        normalized = normalize(text, self._max_tokens)
        spans = tokenizers.encode(self._tokenizer, normalized).spans[: self._max_tokens]
        labels = tokenizers.piece_labels(tokenizers.pieces(normalized, spans))
        return labels or [tokenizers.SPECIAL_TOKENS[UNKNOWN]]

    def encode_all(self, texts: Texts) -> EncodedTexts:
        """Many texts; each distinct word is encoded once."""
        if not self._word_length:
            return self._encode_tokens(texts)
        known: dict[tuple[int, str], int] = {(PADDING, ""): 0}
        rows, lengths = [], np.zeros(len(texts), np.int64)
        for number in range(len(texts)):
            pairs = self._pairs(texts[number])
            lengths[number] = len(pairs)
            row = [known.setdefault(pair, len(known)) for pair in pairs[: self._max_tokens]]
            rows.append(np.array(row, np.int32))
        table = np.array([(token, *self._characters(word)) for token, word in known], np.int32)
        tokens = Ragged(np.concatenate(rows), offsets_of(np.minimum(lengths, self._max_tokens)))
        return EncodedTexts(table, tokens, int((lengths > self._max_tokens).sum()))

    def _encode_tokens(self, texts: Texts) -> EncodedTexts:
        """Many texts without characters; the table has the number of each token of the vocabulary."""
        parts, truncated = [], 0
        for start in range(0, len(texts), tokenizers.BATCH_TEXTS):
            rows = range(start, min(start + tokenizers.BATCH_TEXTS, len(texts)))
            batch = [normalize(text, self._max_tokens) for text in texts.pick(rows)]
            tokens = tokenizers.encode_batch(self._tokenizer, batch)
            parts.append(Ragged.of([ids[: self._max_tokens] or [UNKNOWN] for ids in tokens], np.int32))
            truncated += sum(len(ids) > self._max_tokens for ids in tokens)
        table = np.arange(tokenizers.vocabulary_size(self._tokenizer), dtype=np.int32)[:, None]
        return EncodedTexts(table, Ragged.concatenate(parts), truncated)

    def _pairs(self, text: str) -> list[tuple[int, str]]:
        """The tokens of a text, each with the characters of its word that are read."""
        normalized = normalize(text, self._max_tokens)
        tokens = tokenizers.encode(self._tokenizer, normalized)
        words = [clip_word(normalized[begin:end], self._word_length) for begin, end in tokens.spans]
        return list(zip(tokens.ids, words, strict=True)) or [(UNKNOWN, "")]

    def _row(self, pair: tuple[int, str]) -> bytes:
        row = self._rows.get(pair)
        if row is None:
            if len(self._rows) >= MAX_CACHED_ROWS:
                self._rows.clear()
            row = self._rows[pair] = np.array([pair[0], *self._characters(pair[1])], np.int64).tobytes()
        return row

    def _characters(self, word: str) -> list[int]:
        """The numbers of a word's characters, padded."""
        numbers = [self._alphabet.get(character, UNKNOWN) for character in word]
        return numbers + [PADDING] * (self._word_length - len(numbers))


def normalize(text: str, max_tokens: int) -> str:
    """A text in normal form (NFC), without what lies far behind its first `max_tokens` tokens."""
    return unicodedata.normalize("NFC", text[: CHARS_PER_TOKEN * max_tokens])


def fit_encoder(texts: Texts, rows: Array, options: ClassificationOptions) -> Json:
    """The state of an encoder, as JSON, fitted to some of the texts; `load_encoder` takes it."""
    max_tokens = options.max_length or DEFAULT_MAX_LENGTHS[options.tokens]
    rows = rows[:: -(-len(rows) // MAX_VOCABULARY_TEXTS) or 1]
    tokenizer = tokenizers.train_tokenizer(
        (normalize(texts[int(row)], max_tokens) for row in rows),
        tokenizers.TokenUnit(options.tokens),
        options.max_vocabulary,
        lower=options.lower,
        min_count=options.min_occurrences,
        split_unspaced=options.splits_unspaced,
    )
    counts: Counter[str] = Counter()  # texts by character
    for row in rows if options.characters_per_word else ():
        counts.update(set(normalize(texts[int(row)], max_tokens)))
    frequent = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MAX_ALPHABET]
    return {
        "tokeniser": tokenizer,
        "alphabet": "".join(character for character, count in frequent if count >= MIN_CHARACTER_TEXTS),
        "letters": options.characters_per_word,
        "longest": max_tokens,
    }


def load_encoder(state: Json) -> TextEncoder:
    """The encoder with a state of `fit_encoder`."""
    return _load(state["tokeniser"], state["alphabet"], state["letters"], state["longest"])


@lru_cache(MAX_CACHED_ENCODERS)
def _load(tokenizer: str, alphabet: str, word_length: int, max_tokens: int) -> TextEncoder:
    return TextEncoder(tokenizer, alphabet, word_length, max_tokens)
