"""Baseline: word-by-word translation with a dictionary learned by IBM model 1 (Brown et al. 1993)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from app.arrays import Array, Floats, Ints
from app.tasks.shared import tokenizers
from app.tasks.shared.ragged import Ragged, Texts

EM_ITERATIONS = 5
ALL_WORDS = 1 << 30  # a vocabulary size beyond that of any text
MAX_PAIRS = 100_000  # of more pairs an even part is taken
MAX_LINKS = 30_000_000  # in all pairs
MAX_PAIR_LINKS = 40_000  # of two texts with 200 words each
CHUNK_LINKS = 2_000_000  # that are expanded at once
NULL_WORD = 0  # the source word that explains target words no other word explains; no other word has this id


@dataclass(frozen=True)
class Lexicon:
    """The most probable translation of each word of the training texts."""

    tokenizers: tuple[str, str]  # of the sources and of the targets
    best: Ints  # (source words,) ids of target words; 0 = unknown
    pairs: int  # how many pairs it was learned from

    def translate(self, text: str) -> str:
        """The translations of all words and signs, with spaces between; unknown ones stay as they are."""
        tokens = tokenizers.encode(self.tokenizers[0], text)
        words = []
        for source, (begin, end) in zip(tokens.ids, tokens.spans, strict=True):
            target = int(self.best[source])
            known = tokenizers.token_text(self.tokenizers[1], target) if target else None
            words.append(known or text[begin:end])
        return " ".join(words)


def learn_lexicon(sources: Texts, targets: Texts, rows: Array) -> Lexicon:
    """Learn from some rows; of very many rows, or rows of very many words, from an even part."""
    rows = rows[:: -(-len(rows) // MAX_PAIRS) or 1]
    texts = [side.pick(rows) for side in (sources, targets)]
    source, target = (
        tokenizers.train_tokenizer(side, tokenizers.TokenUnit.WORD, ALL_WORDS) for side in texts
    )
    encoded = [
        Ragged.of(tokenizers.encode_batch(tokenizer, side), np.int32)
        for tokenizer, side in zip((source, target), texts, strict=True)
    ]
    taken = _rows_within_limits((encoded[0].lengths + 1) * encoded[1].lengths)
    sizes = [tokenizers.vocabulary_size(tokenizer) for tokenizer in (source, target)]
    best = best_words(encoded[0], encoded[1], taken, sizes[0], sizes[1])
    return Lexicon((source, target), best, len(taken))


def _rows_within_limits(links: Array) -> Array:
    """Rows to learn from, given the number of links of each row, (rows,)."""
    rows = np.flatnonzero((links > 0) & (links <= MAX_PAIR_LINKS))
    return rows[:: -(-int(links[rows].sum()) // MAX_LINKS) or 1]


@dataclass(frozen=True)
class _Links:
    """Links of some pairs: every target word with every source word of its pair and with `NULL_WORD`."""

    words: Array  # (kinds,) source word * target words + target word, rising
    kind: Array  # (links,) index of each link's words
    starts: Array  # (target words,) first link of each target word; the links of one target word are adjacent


def best_words(sources: Ragged, targets: Ragged, rows: Array, source_size: int, target_size: int) -> Ints:
    """The target word t with the highest p(t | s) for each source word s, (source words,); 0 = none."""
    best = np.zeros(source_size, np.int64)
    source, target, likely = _learn_probabilities(sources, targets, rows, target_size)
    if not len(source):
        return best
    starts = np.flatnonzero(np.diff(source, prepend=-1))  # each source word's first kind
    top = np.repeat(np.maximum.reduceat(likely, starts), np.diff(starts, append=len(source)))
    ties = np.flatnonzero(likely == top)[::-1]  # of equals the first is written last: the more frequent word
    best[source[ties]] = target[ties]
    return best


def likely_words(
    sources: Ragged, targets: Ragged, sizes: tuple[int, int], max_words: int
) -> tuple[Ints, Floats]:
    """The most probable target words of each source word, and p(t | s): both (source words, max_words).

    Learned from all rows, or an even part as in `learn_lexicon`. A word that does not occur has zeros.
    """
    words = np.zeros((sizes[0], max_words), np.int64)
    shares = np.zeros((sizes[0], max_words), np.float32)
    rows = np.arange(len(sources))[:: -(-len(sources) // MAX_PAIRS) or 1]
    rows = rows[_rows_within_limits(((sources.lengths + 1) * targets.lengths)[rows])]
    source, target, likely = _learn_probabilities(sources, targets, rows, sizes[1])
    order = np.lexsort((target, -likely, source))  # by source word, the most probable first
    source, target, likely = source[order], target[order], likely[order]
    starts = np.flatnonzero(np.diff(source, prepend=-1))
    rank = np.arange(len(source)) - np.repeat(starts, np.diff(starts, append=len(source)))
    listed = (rank < max_words) & (source != NULL_WORD)
    words[source[listed], rank[listed]] = target[listed]
    shares[source[listed], rank[listed]] = likely[listed]
    return words, shares


def _learn_probabilities(
    sources: Ragged, targets: Ragged, rows: Array, target_size: int
) -> tuple[Array, Array, Array]:
    """Source word, target word and p(t | s) of all words that are linked, (kinds,), by source word."""
    chunks = list(_iterate_links(sources, targets, rows, target_size))
    if not chunks:
        return (np.zeros(0, np.int64),) * 2 + (np.zeros(0),)
    words = np.sort(np.concatenate([chunk.words for chunk in chunks]))
    words = words[np.diff(words, prepend=-1) > 0]  # (kinds,) of all chunks
    indices = [np.searchsorted(words, chunk.words).astype(np.int32) for chunk in chunks]
    source = words // target_size  # (kinds,)
    likely = np.ones(len(words))  # p(t | s), not yet normalized
    for _ in range(EM_ITERATIONS):
        counts = np.zeros(len(words))
        for chunk, index in zip(chunks, indices, strict=True):
            counts[index] += _expected_counts(chunk, likely[index])
        likely = counts / np.bincount(source, counts)[source]
    return source, words % target_size, likely


def _iterate_links(sources: Ragged, targets: Ragged, rows: Array, target_size: int) -> Iterator[_Links]:
    """All links of these rows, about `CHUNK_LINKS` at once."""
    links = (sources.lengths[rows] + 1) * targets.lengths[rows]
    bounds = np.flatnonzero(np.diff(np.cumsum(links) // CHUNK_LINKS, prepend=0))
    for chunk in np.split(rows, bounds):
        if len(chunk):
            yield _link_rows(sources, targets, chunk, target_size)


def _link_rows(sources: Ragged, targets: Ragged, rows: Array, target_size: int) -> _Links:
    counts = targets.lengths[rows]
    row = np.repeat(rows, counts)  # (target words,) the row of each
    target = targets.values[_concatenate_ranges(targets.offsets[rows], counts)]  # (target words,)
    sizes = sources.lengths[row] + 1  # (target words,) links of each
    index = _concatenate_ranges(sources.offsets[row] - 1, sizes)  # (links,) a word's first is NULL_WORD
    starts = np.cumsum(sizes) - sizes
    source = sources.values[np.maximum(index, 0)].astype(np.int64)
    source[starts] = NULL_WORD
    words, kind = np.unique(source * target_size + np.repeat(target, sizes), return_inverse=True)
    return _Links(words, kind.astype(np.int32), starts)


def _concatenate_ranges(starts: Array, counts: Array) -> Array:
    """The ranges start, start + 1, … of these lengths, one after the other."""
    ends = np.cumsum(counts)
    ranges: Array = np.arange(ends[-1]) + np.repeat(starts - ends + counts, counts)
    return ranges


def _expected_counts(links: _Links, likely: Array) -> Array:
    """The expected count of each kind of link given the kinds' probabilities, both (kinds,)."""
    share = likely[links.kind]  # (links,)
    sizes = np.diff(links.starts, append=len(share))
    share /= np.repeat(np.add.reduceat(share, links.starts), sizes)
    counts: Array = np.bincount(links.kind, share, minlength=len(links.words))
    return counts
