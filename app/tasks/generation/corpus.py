"""A corpus cut into what trains, what stops training and what is measured on; and into blocks."""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from app.tasks.contract import Array
from app.tasks.shared.ragged import Texts
from app.tasks.shared.splits import OPEN, TEST, TRAIN, VALID, partition

MANY = 10  # documents, from which on whole ones are drawn
LARGEST = 0.2  # of the corpus; where one document is more, the corpus is split by position
HELD = 0.1  # of a corpus split by position, for each of validation and test
LARGE, HELD_OF_LARGE = 1_000_000, 0.05  # characters, from which on less is enough
SEAM = 2_000  # characters in which a line end is looked for before a text is cut elsewhere


@dataclass(frozen=True)
class Part:
    """Documents in order, in normal form (NFC); the last one may go on in the next part."""

    texts: list[str]
    ended: bool = True  # whether the last document does end here

    @property
    def characters(self) -> int:
        """Of all documents."""
        return sum(map(len, self.texts))

    def last(self, characters: int) -> "Part":
        """About the last so many characters, but whole documents at the beginning if they fit."""
        return self if self.characters <= characters else cut(self, characters)[1]


@dataclass(frozen=True)
class Parts:
    """The splits of a corpus."""

    train: Part
    valid: Part
    test: Part


def divide(texts: Texts, codes: Array, seed: int) -> Parts:
    """Split documents as their codes (documents,) say; what no document is said to be in is taken by `seed`.

    Whole documents are drawn from many, small and large ones alike; of few, or where one is most of all, the
    last characters are cut off.
    """
    sizes = texts.ragged.lengths  # (documents,) bytes
    missing = [split for split in (TEST, VALID) if not (codes == split).any()]
    pool = np.flatnonzero((codes == TRAIN) | (codes == OPEN))
    if not missing or (len(pool) >= MANY and sizes[pool].max() <= LARGEST * sizes[pool].sum()):
        order = np.argsort(np.argsort(sizes, kind="stable"), kind="stable")
        rows = partition(codes, seed, strata=order // MANY)  # ten of about the same size, one of them drawn
        return Parts(*(_load(texts, split) for split in (rows.train, rows.valid, rows.test)))
    train = _load(texts, pool)
    held = {split: _load(texts, np.flatnonzero(codes == split)) for split in (VALID, TEST)}
    count = round(train.characters * (HELD if train.characters < LARGE else HELD_OF_LARGE))
    for split in missing:
        train, held[split] = cut(train, max(count, 1))
    return Parts(train, held[VALID], held[TEST])


def _load(texts: Texts, rows: Array) -> Part:
    return Part([unicodedata.normalize("NFC", text) for text in texts.pick(rows)])


def cut(part: Part, count: int) -> tuple[Part, Part]:
    """Cut about the last `count` characters off, at a line end or a space if one is near."""
    kept, tail, ended = list(part.texts), [], True
    while len(kept) > 1 and count >= len(kept[-1]):
        tail.append(kept.pop())
        count -= len(tail[-1])
    text = kept[-1]
    if count and len(text) > 1:
        at = seam(text, max(len(text) - count, 1), min(SEAM, len(text) // 100))
        kept[-1], ended = text[:at], False
        tail.append(text[at:])
    return Part(kept, ended), Part(tail[::-1], part.ended)


def seam(text: str, at: int, window: int) -> int:
    """Where to cut at `at` or up to `window` characters before: after a line end, or before a space."""
    line = text.rfind("\n", max(at - window, 0), at) + 1
    return line or max(text.rfind(" ", max(at - window, 1), at), 0) or at


def blocks(text: str, size: int) -> Iterator[str]:
    """A text in blocks of at most `size` characters, cut where words hardly notice."""
    start = 0
    while len(text) - start > size:
        end = start + seam(text[start : start + size], size, size // 2)
        yield text[start:end]
        start = end
    yield text[start:]
