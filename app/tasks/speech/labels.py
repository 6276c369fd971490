"""Labels of a transcript for CTC: its characters or byte pairs, from 1 up; 0 is the blank."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np

from app.arrays import Ints
from app.tasks.shared import tokenizers
from app.tasks.shared.tokenizers import TokenUnit
from app.typedefs import Json

BLANK = 0
SPACES = re.compile(r"\s+")
MAX_CACHED_LABELS = 64


def normalize_transcript(text: str) -> str:
    """A transcript in normal form (NFC), with single spaces between words."""
    return SPACES.sub(" ", unicodedata.normalize("NFC", text)).strip()


def steps_needed(labels: Sequence[object]) -> int:
    """The fewest steps that CTC can align with labels: a blank must stand between two equal neighbors."""
    return len(labels) + sum(one == other for one, other in pairwise(labels))


class LabelSet:
    """The labels that training transcripts have, by number."""

    def __init__(self, units: Sequence[str], tokenizer: str | None) -> None:
        self._tokenizer = tokenizer
        self.units = tuple(units)  # of labels 1, 2, …: characters, or numbers of byte pairs as text
        self._numbers = {unit: number for number, unit in enumerate(units, BLANK + 1)}

    @property
    def count(self) -> int:
        """Labels with the blank."""
        return 1 + len(self.units)

    def encode(self, transcript: str) -> list[int]:
        """The labels of a normalized transcript; characters that training has not seen are left out."""
        pieces = split_transcript(transcript, self._tokenizer)
        return [self._numbers[piece] for piece in pieces if piece in self._numbers]

    def decode(self, labels: Iterable[int]) -> str:
        """The text of labels without blanks."""
        units = [self.units[label - 1] for label in labels]
        if self._tokenizer is None:
            return "".join(units)
        return tokenizers.decode(self._tokenizer, [int(unit) for unit in units])

    def texts(self) -> list[str]:
        """What each label from 1 up adds to a text; a part of a character is a replacement character."""
        if self._tokenizer is None:
            return list(self.units)
        pieces = tokenizers.token_bytes(self._tokenizer)
        return [pieces[int(unit)].decode(errors="replace") for unit in self.units]


def split_transcript(transcript: str, tokenizer: str | None) -> list[str]:
    """The units of a transcript."""
    if tokenizer is None:
        return list(transcript)
    return [str(number) for number in tokenizers.encode(tokenizer, transcript).ids]


def fit_labels(transcripts: Sequence[str], unit: str, size: int) -> Json:
    """The labels of some normalized transcripts, as JSON that `load_labels` takes.

    Byte pairs: at most `size`, over bytes (Sennrich et al. 2016).
    """
    tokenizer = None
    if unit == TokenUnit.BPE:
        tokenizer = tokenizers.train_tokenizer(transcripts, TokenUnit.BPE, size)
    units = sorted({piece for text in transcripts for piece in split_transcript(text, tokenizer)})
    return {"units": units, "tokenizer": tokenizer}


def load_labels(state: Json) -> LabelSet:
    """The labels with a state of `fit_labels`."""
    return _load(tuple(state["units"]), state["tokenizer"])


@lru_cache(MAX_CACHED_LABELS)
def _load(units: tuple[str, ...], tokenizer: str | None) -> LabelSet:
    return LabelSet(units, tokenizer)


def as_targets(rows: Sequence[Sequence[int]]) -> tuple[Ints, Ints]:
    """Rows of labels as (rows, longest), padded with zeros, and their lengths (rows,)."""
    lengths = np.array([len(row) for row in rows], np.int64)
    targets = np.zeros((len(rows), max(1, int(lengths.max(initial=0)))), np.int64)
    for target, row in zip(targets, rows, strict=True):
        target[: len(row)] = row
    return targets, lengths
