"""A language model that counts: characters after the four before them, and what a text costs by it.

Interpolated by Witten & Bell (1991): what was seen after a context is trusted the more, the more often the
context was seen and the fewer different characters followed it.
"""

from dataclasses import dataclass

import numpy as np

from app.tasks.contract import Array
from app.tasks.generation.corpus import Part

ORDER = 5  # characters of an n-gram, the predicted one included
LONGEST = 8_000_000  # characters that are counted, the last ones of a corpus
SLICE = 1 << 20  # characters that are looked up at once
CODE_POINTS = 0x110000  # of Unicode: a character that was never seen may be any of them


class Alphabet:
    """The characters of a training corpus as numbers; 0 ends a document, the last one is any other."""

    def __init__(self, part: Part) -> None:
        parts = [np.unique(_points(one)) for one in part.texts]
        self._points = np.unique(np.concatenate(parts))
        self.size = len(self._points) + 2

    def stream(self, part: Part) -> Array:
        """Documents as numbers (n,) int64 behind as many ends as a context has."""
        end = np.zeros(1, np.int64)
        found = [np.zeros(ORDER - 1, np.int64)]
        for place, one in enumerate(part.texts):
            found += [end] * (place > 0) + [self.numbers(one)]
        return np.concatenate([*found, *[end] * part.ended])

    def numbers(self, text: str) -> Array:
        """The numbers of a text's characters, (n,) int64."""
        points = _points(text)
        place = np.minimum(np.searchsorted(self._points, points), len(self._points) - 1)
        return np.where(self._points[place] == points, place + 1, self.size - 1)


@dataclass(frozen=True)
class _Counts:
    """n-grams of one length: context times size plus character, rising, and how often each was seen."""

    keys: Array  # (n,) int64
    counts: Array  # (n,)
    totals: Array  # (contexts + 1,) how often each context was seen; the last one never was
    kinds: Array  # (contexts + 1,) different characters that followed it

    @classmethod
    def of(cls, keys: Array, size: int, contexts: int) -> "_Counts":
        found, counts = np.unique(keys, return_counts=True)
        context = found // size
        totals = np.bincount(context, counts, contexts + 1)
        return cls(found, counts, totals, np.bincount(context, minlength=contexts + 1))

    def find(self, keys: Array) -> Array:
        """The place of each n-gram, or one behind the last."""
        place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[place] == keys, place, len(self.keys))


class NGrams:
    """How likely each character is after those before it, learned from a stream."""

    def __init__(self, stream: Array, size: int) -> None:
        self._size = size
        self._orders: list[_Counts] = []
        contexts, known = np.zeros(len(stream), np.int64), 1
        for order in range(ORDER):
            keys = contexts * size + stream
            counts = _Counts.of(keys, size, known)
            self._orders.append(counts)
            if order < ORDER - 1:
                contexts, known = _behind(np.searchsorted(counts.keys, keys)), len(counts.keys)

    def nats(self, stream: Array) -> Array:
        """The negative log-likelihood of each number of a stream after the first context, in nats."""
        lead = ORDER - 1
        starts = range(lead, len(stream), SLICE)
        parts = [self._nats(stream[start - lead : start + SLICE])[lead:] for start in starts]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _nats(self, stream: Array) -> Array:
        contexts = np.zeros(len(stream), np.int64)
        likely = np.full(len(stream), 1 / self._size)
        for counts in self._orders:
            place = counts.find(contexts * self._size + stream)
            seen = np.append(counts.counts, 0)[place]
            kinds = np.maximum(counts.kinds[contexts], 1)  # an unseen context leaves things as they are
            likely = (seen + kinds * likely) / (counts.totals[contexts] + kinds)
            contexts = _behind(place)
        nats: Array = -np.log(likely)
        return nats


def _behind(places: Array) -> Array:
    """What ends at each position as what stands before the next; before the first are ends of documents."""
    return np.concatenate([np.zeros(1, np.int64), places[:-1]])


@dataclass(frozen=True)
class Measured:
    """What a part costs by the counting model."""

    nats: float  # all characters and ends, those never seen as one kind
    targets: int
    unseen: int  # characters

    @property
    def spelled(self) -> float:
        """Nats with which of all characters the unseen ones are."""
        return self.nats + self.unseen * float(np.log(CODE_POINTS))


def measure(train: Part, test: Part) -> Measured:
    """Learn from one part, predict the other."""
    train = train.last(LONGEST)
    alphabet = Alphabet(train)
    model = NGrams(alphabet.stream(train), alphabet.size)
    stream = alphabet.stream(test)
    nats = model.nats(stream)
    return Measured(float(nats.sum()), len(nats), int((stream == alphabet.size - 1).sum()))


class Spelling:
    """What it costs to spell a word that a vocabulary lacks, by how often each character is used."""

    def __init__(self, train: Part) -> None:
        train = train.last(LONGEST)
        self._alphabet = Alphabet(train)
        counts = np.bincount(self._alphabet.stream(train), minlength=self._alphabet.size)
        kinds = np.count_nonzero(counts)  # Witten & Bell once more
        seen = np.append(counts[:-1], kinds / CODE_POINTS)
        self._nats = -np.log(seen / (counts.sum() + kinds))

    def nats(self, words: list[str]) -> float:
        """All characters of the words, and one bit a character for where each word ends."""
        numbers = self._alphabet.numbers("".join(words))
        return float(self._nats[numbers].sum() + len(numbers) * np.log(2))


def _points(text: str) -> Array:
    """Code points (n,) int64."""
    return np.frombuffer(text.encode("utf-32-le"), np.uint32).astype(np.int64)
