"""A part of a corpus as one stream of tokens, read in pieces that go on where the one before them ended."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from app.tasks.contract import Array
from app.tasks.generation.corpus import Part, blocks
from app.tasks.shared import tokenizers
from app.tasks.shared.tokenizers import END, PADDING, UNKNOWN, Unit

BLOCK = 1 << 15  # characters that are tokenised at once: a whole book in one piece takes gigabytes
TOGETHER = 1 << 19  # characters of blocks in memory as tokens of the library
LEARNED = 20_000_000  # characters from which a vocabulary is learned, evenly taken from all


@dataclass(frozen=True)
class Stream:
    """Tokens in pieces of `steps`; each but the last one has a target, the token that follows it."""

    tokens: Array  # (n,) int32
    steps: int

    @property
    def targets(self) -> int:
        """How many tokens are predicted."""
        return len(self.tokens) - 1

    @property
    def lengths(self) -> Array:
        """Steps of each piece, (pieces,) int64; the last one may be shorter."""
        starts = np.arange(0, self.targets, self.steps)
        return np.minimum(self.targets - starts, self.steps)

    def gather(self, rows: Array) -> tuple[Array, Array, Array, Array]:
        """Inputs (batch, time, 1), lengths (batch,), targets and weights (batch, time) of some pieces."""
        starts = np.asarray(rows, np.int64) * self.steps  # (batch,)
        lengths = np.minimum(self.targets - starts, self.steps)
        steps = np.arange(lengths.max())
        real = steps < lengths[:, None]  # (batch, time)
        at = np.minimum(starts[:, None] + steps, self.targets - 1)
        inputs = np.where(real, self.tokens[at], PADDING).astype(np.int64)
        targets = np.where(real, self.tokens[at + 1], PADDING).astype(np.int64)
        return inputs[:, :, None], lengths, targets, real.astype(np.float32)


def learn(part: Part, unit: Unit, size: int, least: int) -> str:
    """A tokeniser for a corpus, from which the texts can be put together again as they were."""
    every = -(-part.characters // LEARNED)  # blocks
    taken = islice((block for one in part.texts for block in blocks(one, BLOCK)), 0, None, max(every, 1))
    return tokenizers.learn(taken, unit, size, least=least, spaced=True)


def tokenise(tokeniser: str, part: Part) -> Array:
    """The tokens of all documents, (n,) int32, with `END` before the first one and after each that ends."""
    found = []
    for together in _batches(part):
        numbers = tokenizers.encode_all(tokeniser, [block for _, block in together])
        for (opens, _), ids in zip(together, numbers, strict=True):
            found.append(np.array([END] * opens + ids, np.int32))
    return np.concatenate([*found, np.full(int(part.ended), END, np.int32)])


def _batches(part: Part) -> Iterator[list[tuple[bool, str]]]:
    """Blocks, some at a time, each with whether a document begins with it."""
    together: list[tuple[bool, str]] = []
    size = 0
    for one in part.texts:
        for place, block in enumerate(blocks(one, BLOCK)):
            together.append((place == 0, block))
            size += len(block)
            if size >= TOGETHER:
                yield together
                together, size = [], 0
    if together:
        yield together


def unknown_texts(tokeniser: str, part: Part) -> list[str]:
    """What the tokeniser does not know of a part, token by token."""
    found = []
    for one in part.texts:
        for block in blocks(one, BLOCK):
            tokens = tokenizers.encode(tokeniser, block)
            numbers = np.array(tokens.ids, np.int64)
            for place in np.flatnonzero(numbers == UNKNOWN).tolist():
                begin, end = tokens.spans[place]
                found.append(block[begin:end])
    return found
