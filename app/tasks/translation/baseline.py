"""Word by word: a dictionary learned from pairs by IBM model 1 (Brown et al. 1993)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.tasks.contract import Array
from app.tasks.shared import tokenizers
from app.tasks.shared.ragged import Ragged, Texts

ROUNDS = 5
VOCABULARY = 1 << 30  # words of a side: all
PAIRS = 100_000  # at most; of more an even part is taken
LINKS = 30_000_000  # at most, in all pairs
LONGEST = 40_000  # links of a pair: of two texts with 200 words each
CHUNK = 2_000_000  # links at once
NULL = 0  # the source word that explains what no other does; no word has this number


@dataclass(frozen=True)
class Lexicon:
    """The most probable translation of each word that the training texts have."""

    tokenisers: tuple[str, str]  # of the sources and of the targets
    best: npt.NDArray[np.int64]  # (source words,) numbers of target words; 0 = not known
    pairs: int  # that it was learned from

    def translate(self, line: str) -> str:
        """Every word and sign by itself, with spaces between; one that is not known stays as it is."""
        found = tokenizers.encode(self.tokenisers[0], line)
        words = []
        for number, (start, end) in zip(found.ids, found.spans, strict=True):
            best = int(self.best[number])
            words.append((tokenizers.token(self.tokenisers[1], best) if best else None) or line[start:end])
        return " ".join(words)


def learn(sources: Texts, targets: Texts, rows: Array) -> Lexicon:
    """Learn from some rows; where they are very many, or have very many words, from an even part of them."""
    rows = rows[:: -(-len(rows) // PAIRS) or 1]
    texts = [side.pick(rows) for side in (sources, targets)]
    one, other = (tokenizers.learn(side, tokenizers.Unit.WORD, VOCABULARY) for side in texts)
    both = [
        Ragged.of(tokenizers.encode_all(made, side), np.int32)
        for made, side in zip((one, other), texts, strict=True)
    ]
    taken = _picked((both[0].lengths + 1) * both[1].lengths)
    best = best_words(both[0], both[1], taken, tokenizers.size(one), tokenizers.size(other))
    return Lexicon((one, other), best, len(taken))


def _picked(links: Array) -> Array:
    """Rows with so many links each (rows,) that can be learned from."""
    rows = np.flatnonzero((links > 0) & (links <= LONGEST))
    return rows[:: -(-int(links[rows].sum()) // LINKS) or 1]


@dataclass(frozen=True)
class _Chunk:
    """The links of some pairs: every word of the target with every word of the source and with `NULL`."""

    words: Array  # (kinds,) source word * target words + target word, rising
    kind: Array  # (links,) index of each link's words
    starts: Array  # (target words,) first link of each target word; links of one lie side by side


def best_words(sources: Ragged, targets: Ragged, rows: Array, source_size: int, target_size: int) -> Array:
    """The target word t with the highest p(t | s) for each source word s, (source words,); 0 = none."""
    found = np.zeros(source_size, np.int64)
    given, words, likely = _learned(sources, targets, rows, target_size)
    if not len(given):
        return found
    starts = np.flatnonzero(np.diff(given, prepend=-1))  # each source word's first kind
    top = np.repeat(np.maximum.reduceat(likely, starts), np.diff(starts, append=len(given)))
    first = np.flatnonzero(likely == top)[::-1]  # of equals the first is written last: the more frequent word
    found[given[first]] = words[first]
    return found


def likely_words(
    sources: Ragged, targets: Ragged, sizes: tuple[int, int], most: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """The most probable target words of each source word, and p(t | s): both (source words, most).

    From all rows, or an even part of them as `learn` takes it. A word that is never seen has none: zeros.
    """
    words = np.zeros((sizes[0], most), np.int64)
    shares = np.zeros((sizes[0], most), np.float32)
    rows = np.arange(len(sources))[:: -(-len(sources) // PAIRS) or 1]
    rows = rows[_picked(((sources.lengths + 1) * targets.lengths)[rows])]
    given, found, likely = _learned(sources, targets, rows, sizes[1])
    order = np.lexsort((found, -likely, given))  # by source word, the most probable first
    given, found, likely = given[order], found[order], likely[order]
    starts = np.flatnonzero(np.diff(given, prepend=-1))
    place = np.arange(len(given)) - np.repeat(starts, np.diff(starts, append=len(given)))
    kept = (place < most) & (given != NULL)
    words[given[kept], place[kept]] = found[kept]
    shares[given[kept], place[kept]] = likely[kept]
    return words, shares


def _learned(sources: Ragged, targets: Ragged, rows: Array, target_size: int) -> tuple[Array, Array, Array]:
    """Source word, target word and p(t | s) of all pairs of words that occur together, by source word."""
    chunks = list(_chunks(sources, targets, rows, target_size))
    if not chunks:
        return (np.zeros(0, np.int64),) * 2 + (np.zeros(0),)
    words = np.sort(np.concatenate([chunk.words for chunk in chunks]))
    words = words[np.diff(words, prepend=-1) > 0]  # (kinds of all,)
    places = [np.searchsorted(words, chunk.words).astype(np.int32) for chunk in chunks]
    given = words // target_size  # (kinds of all,) their source words
    likely = np.ones(len(words))  # p(t | s), not yet normalised
    for _ in range(ROUNDS):
        counts = np.zeros(len(words))
        for chunk, place in zip(chunks, places, strict=True):
            counts[place] += _expected(chunk, likely[place])
        likely = counts / np.bincount(given, counts)[given]
    return given, words % target_size, likely


def _chunks(sources: Ragged, targets: Ragged, rows: Array, target_size: int) -> Iterator[_Chunk]:
    """All links of these rows, about `CHUNK` at once."""
    links = (sources.lengths[rows] + 1) * targets.lengths[rows]
    bounds = np.flatnonzero(np.diff(np.cumsum(links) // CHUNK, prepend=0))
    for some in np.split(rows, bounds):
        if len(some):
            yield _link(sources, targets, some, target_size)


def _link(sources: Ragged, targets: Ragged, rows: Array, target_size: int) -> _Chunk:
    counts = targets.lengths[rows]
    row = np.repeat(rows, counts)  # (target words,) the row of each
    target = targets.values[_along(targets.offsets[rows], counts)]  # (target words,)
    sizes = sources.lengths[row] + 1  # (target words,) links of each
    place = _along(sources.offsets[row] - 1, sizes)  # (links,) the first one of each target word is `NULL`'s
    starts = np.cumsum(sizes) - sizes
    source = sources.values[np.maximum(place, 0)].astype(np.int64)
    source[starts] = NULL
    words, kind = np.unique(source * target_size + np.repeat(target, sizes), return_inverse=True)
    return _Chunk(words, kind.astype(np.int32), starts)


def _along(starts: Array, counts: Array) -> Array:
    """The numbers from each start on, as many as are counted, one range after the other."""
    ends = np.cumsum(counts)
    found: Array = np.arange(ends[-1]) + np.repeat(starts - ends + counts, counts)
    return found


def _expected(chunk: _Chunk, likely: Array) -> Array:
    """How often each kind of link is expected, (kinds,), if their probabilities are these."""
    share = likely[chunk.kind]  # (links,)
    sizes = np.diff(chunk.starts, append=len(share))
    share /= np.repeat(np.add.reduceat(share, chunk.starts), sizes)
    found: Array = np.bincount(chunk.kind, share, minlength=len(chunk.words))
    return found
