"""Texts as rows of numbers: each token, and behind it the characters of its word where they are read too."""

import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from app.tasks.classification.options import LENGTH, Options
from app.tasks.contract import Array
from app.tasks.shared import tokenizers
from app.tasks.shared.ragged import Ragged, Texts, offsets_of
from app.tasks.shared.tokenizers import PADDING, UNKNOWN
from app.tasks.shared.word_features import ends
from app.typedefs import Json

FIRST = UNKNOWN + 1  # the number of the first character
MOST_CHARACTERS = 8_192
LEAST_CHARACTER = 2  # texts that a known character is in
LEARNED = 200_000  # texts that a vocabulary is learned from, evenly taken from all
TOGETHER = 10_000  # texts in memory as the library's tokens
A_TOKEN = 64  # characters of a text that are read for each token that is kept
CACHED = 64  # spellers in memory
ROWS = 1 << 15  # rows in memory of each


@dataclass(frozen=True)
class Spelled:
    """Texts as rows of a table."""

    table: Array  # (distinct, features) int32; the first is padding
    tokens: Ragged  # rows of the table, int32
    cuts: int  # texts of which tokens were left out

    @property
    def width(self) -> int:
        """Numbers of a step."""
        return int(self.table.shape[1])

    @property
    def lengths(self) -> Array:
        """(texts,)."""
        return self.tokens.lengths

    def gather(self, rows: Array) -> tuple[Array, Array]:
        """Inputs (batch, time, features) int64 and lengths (batch,)."""
        tokens, lengths = self.tokens.padded(rows)  # (batch, time)
        return self.table[tokens].astype(np.int64), lengths


class Speller:
    """Spells texts as a training split taught it."""

    def __init__(self, tokeniser: str, alphabet: str, length: int, longest: int) -> None:
        self._tokeniser, self._length, self._longest = tokeniser, length, longest
        self._alphabet = {sign: number for number, sign in enumerate(alphabet, FIRST)}
        self._rows: dict[tuple[int, str], bytes] = {}

    @property
    def network(self) -> Json:
        """What a network must know of its inputs."""
        return {
            "vocabularies": [tokenizers.size(self._tokeniser)],
            "character_vocabulary": FIRST + len(self._alphabet) if self._length else 0,
            "word_length": self._length,
        }

    def rows(self, written: str) -> Array:
        """One text as (time, features) int64; one without tokens is a single unknown one."""
        found = b"".join(map(self._row, self._pairs(written)[: self._longest]))
        return np.frombuffer(found, np.int64).reshape(-1, 1 + self._length).copy()

    def table(self, texts: Texts) -> Spelled:
        """Many texts; equal words are spelled once."""
        if not self._length:
            return self._plain(texts)
        known: dict[tuple[int, str], int] = {(PADDING, ""): 0}
        found, lengths = [], np.zeros(len(texts), np.int64)
        for row in range(len(texts)):
            pairs = self._pairs(texts[row])
            lengths[row] = len(pairs)
            numbers = [known.setdefault(one, len(known)) for one in pairs[: self._longest]]
            found.append(np.array(numbers, np.int32))
        table = np.array([(number, *self._spell(word)) for number, word in known], np.int32)
        offsets = offsets_of(np.minimum(lengths, self._longest))
        return Spelled(table, Ragged(np.concatenate(found), offsets), int((lengths > self._longest).sum()))

    def _plain(self, texts: Texts) -> Spelled:
        parts, cuts = [], 0
        for start in range(0, len(texts), TOGETHER):
            rows = range(start, min(start + TOGETHER, len(texts)))
            some = [read(one, self._longest) for one in texts.pick(rows)]
            found = tokenizers.encode_all(self._tokeniser, some)
            parts.append(Ragged.of([ids[: self._longest] or [UNKNOWN] for ids in found], np.int32))
            cuts += sum(len(ids) > self._longest for ids in found)
        table = np.arange(tokenizers.size(self._tokeniser), dtype=np.int32)[:, None]
        lengths = np.concatenate([part.lengths for part in parts])
        tokens = Ragged(np.concatenate([part.values for part in parts]), offsets_of(lengths))
        return Spelled(table, tokens, cuts)

    def _pairs(self, written: str) -> list[tuple[int, str]]:
        """The tokens of a text, each with the characters of its word."""
        said = read(written, self._longest)
        found = tokenizers.encode(self._tokeniser, said)
        words = [ends(said[begin:end], self._length) for begin, end in found.spans]
        return list(zip(found.ids, words, strict=True)) or [(UNKNOWN, "")]

    def _row(self, pair: tuple[int, str]) -> bytes:
        row = self._rows.get(pair)
        if row is None:
            if len(self._rows) >= ROWS:
                self._rows.clear()
            row = self._rows[pair] = np.array([pair[0], *self._spell(pair[1])], np.int64).tobytes()
        return row

    def _spell(self, word: str) -> list[int]:
        signs = [self._alphabet.get(sign, UNKNOWN) for sign in word]
        return signs + [PADDING] * (self._length - len(signs))


def read(written: str, longest: int) -> str:
    """A text in normal form (NFC), without what lies far behind its first `longest` tokens."""
    return unicodedata.normalize("NFC", written[: A_TOKEN * longest])


def learn(texts: Texts, rows: Array, options: Options) -> Json:
    """What `load` needs, from some of the texts."""
    longest = options.max_length or LENGTH[options.tokens]
    taken = rows[:: -(-len(rows) // LEARNED) or 1]
    tokeniser = tokenizers.learn(
        (read(texts[int(row)], longest) for row in taken),
        tokenizers.Unit(options.tokens),
        options.size,
        lower=options.lower,
        least=options.min_count,
    )
    signs: Counter[str] = Counter()
    for row in taken if options.letters else ():
        signs.update(set(read(texts[int(row)], longest)))
    known = sorted(signs.items(), key=lambda one: (-one[1], one[0]))[:MOST_CHARACTERS]
    return {
        "tokeniser": tokeniser,
        "alphabet": "".join(sign for sign, count in known if count >= LEAST_CHARACTER),
        "letters": options.letters,
        "longest": longest,
    }


def load(told: Json) -> Speller:
    """The speller of what `learn` said."""
    return _load(told["tokeniser"], told["alphabet"], told["letters"], told["longest"])


@lru_cache(CACHED)
def _load(tokeniser: str, alphabet: str, letters: int, longest: int) -> Speller:
    return Speller(tokeniser, alphabet, letters, longest)
