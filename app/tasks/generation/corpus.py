"""Splits of a corpus, by document or by position, and blocks of its texts."""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from app.arrays import Array
from app.tasks.shared.ragged import Texts
from app.tasks.shared.splits import TEST, TRAIN, UNASSIGNED, VALID, partition_rows

MIN_SAMPLED_DOCUMENTS = 10  # of fewer documents no whole ones are sampled: the corpus is split by position
MAX_DOCUMENT_SHARE = 0.2  # of the corpus; with a larger document the corpus is split by position
STRATUM_DOCUMENTS = 10  # documents of about the same size, of which one is sampled
HELD_OUT_BY_POSITION = 0.1  # share of the corpus, for each of validation and test
LARGE_CORPUS_CHARS, HELD_OUT_OF_LARGE = 1_000_000, 0.05  # a large corpus gives a smaller share
MAX_CUT_SHIFT_CHARS = 2_000  # how far before a cut a line end is looked for


@dataclass(frozen=True)
class CorpusPart:
    """Documents in order, in normal form (NFC); the last one may go on in the next part."""

    texts: list[str]
    ended: bool = True  # whether the last document ends here

    @property
    def characters(self) -> int:
        """The number of characters of all documents."""
        return sum(map(len, self.texts))

    def last(self, characters: int) -> "CorpusPart":
        """About the last `characters` characters; the whole part if it has no more."""
        return self if self.characters <= characters else cut_part(self, characters)[1]


@dataclass(frozen=True)
class CorpusSplits:
    """The splits of a corpus."""

    train: CorpusPart
    valid: CorpusPart
    test: CorpusPart


def split_corpus(texts: Texts, codes: Array, seed: int) -> CorpusSplits:
    """Split documents by their codes (documents,); a missing split is taken from the training documents.

    From many documents whole ones are sampled with `seed`, small and large ones alike. From few documents, or
    where one document dominates, the last characters are cut off.
    """
    sizes = texts.ragged.lengths  # (documents,) bytes
    missing = [split for split in (TEST, VALID) if not (codes == split).any()]
    pool = np.flatnonzero((codes == TRAIN) | (codes == UNASSIGNED))
    many = len(pool) >= MIN_SAMPLED_DOCUMENTS
    if not missing or (many and sizes[pool].max() <= MAX_DOCUMENT_SHARE * sizes[pool].sum()):
        rank = np.argsort(np.argsort(sizes, kind="stable"), kind="stable")
        rows = partition_rows(codes, seed, strata=rank // STRATUM_DOCUMENTS)
        return CorpusSplits(*(_load_part(texts, split) for split in (rows.train, rows.valid, rows.test)))
    train = _load_part(texts, pool)
    held_out = {split: _load_part(texts, np.flatnonzero(codes == split)) for split in (VALID, TEST)}
    share = HELD_OUT_BY_POSITION if train.characters < LARGE_CORPUS_CHARS else HELD_OUT_OF_LARGE
    count = round(train.characters * share)
    for split in missing:
        train, held_out[split] = cut_part(train, max(count, 1))
    return CorpusSplits(train, held_out[VALID], held_out[TEST])


def _load_part(texts: Texts, rows: Array) -> CorpusPart:
    return CorpusPart([unicodedata.normalize("NFC", text) for text in texts.pick(rows)])


def cut_part(part: CorpusPart, count: int) -> tuple[CorpusPart, CorpusPart]:
    """Cut off about the last `count` characters, at a line end or a space if one is near."""
    head, tail, ended = list(part.texts), [], True
    while len(head) > 1 and count >= len(head[-1]):
        tail.append(head.pop())
        count -= len(tail[-1])
    text = head[-1]
    if count and len(text) > 1:
        position = cut_position(text, max(len(text) - count, 1), min(MAX_CUT_SHIFT_CHARS, len(text) // 100))
        head[-1], ended = text[:position], False
        tail.append(text[position:])
    return CorpusPart(head, ended), CorpusPart(tail[::-1], part.ended)


def cut_position(text: str, position: int, window: int) -> int:
    """The best cut at `position` or up to `window` characters before: after a line end, or before a space."""
    line = text.rfind("\n", max(position - window, 0), position) + 1
    return line or max(text.rfind(" ", max(position - window, 1), position), 0) or position


def iterate_blocks(text: str, size: int) -> Iterator[str]:
    """Blocks of at most `size` characters that make up the text, cut between words where possible."""
    start = 0
    while len(text) - start > size:
        end = start + cut_position(text[start : start + size], size, size // 2)
        yield text[start:end]
        start = end
    yield text[start:]
