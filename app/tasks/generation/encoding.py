"""A part of a corpus as one stream of tokens, in pieces that continue each other."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from app.arrays import Array
from app.tasks.contract import END, PADDING, UNKNOWN
from app.tasks.generation.corpus import CorpusPart, iterate_blocks
from app.tasks.shared import tokenizers
from app.tasks.shared.tokenizers import TokenUnit

BLOCK_CHARS = 1 << 15  # tokenized as one text: a whole book as one takes gigabytes
BATCH_CHARS = 1 << 19  # of blocks whose tokens, as objects of the library, are in memory
MAX_VOCABULARY_CHARS = 20_000_000  # from which a vocabulary is learned, evenly taken from all


@dataclass(frozen=True)
class EncodedCorpus:
    """Tokens in pieces of `steps`; each but the last one has a target, the token that follows it."""

    tokens: Array  # (n,) int32
    steps: int

    @property
    def targets(self) -> int:
        """The number of tokens that are predicted."""
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
        index = np.minimum(starts[:, None] + steps, self.targets - 1)
        inputs = np.where(real, self.tokens[index], PADDING).astype(np.int64)
        targets = np.where(real, self.tokens[index + 1], PADDING).astype(np.int64)
        return inputs[:, :, None], lengths, targets, real.astype(np.float32)


def train_corpus_tokenizer(part: CorpusPart, unit: TokenUnit, size: int, min_count: int) -> str:
    """A tokenizer for a corpus, with which decoding restores the texts."""
    step = max(-(-part.characters // MAX_VOCABULARY_CHARS), 1)  # blocks
    blocks = (block for text in part.texts for block in iterate_blocks(text, BLOCK_CHARS))
    taken = islice(blocks, 0, None, step)
    return tokenizers.train_tokenizer(taken, unit, size, min_count=min_count, spaced=True)


def encode_corpus(tokenizer: str, part: CorpusPart) -> Array:
    """The tokens of all documents, (n,) int32, with `END` before the first one and after each that ends."""
    tokens = []
    for batch in _iterate_batches(part):
        encoded = tokenizers.encode_batch(tokenizer, [block for _, block in batch])
        for (is_first, _), ids in zip(batch, encoded, strict=True):
            tokens.append(np.array([END] * is_first + ids, np.int32))
    return np.concatenate([*tokens, np.full(int(part.ended), END, np.int32)])


def _iterate_batches(part: CorpusPart) -> Iterator[list[tuple[bool, str]]]:
    """Batches of blocks; each block comes with whether it is the first of its document."""
    batch: list[tuple[bool, str]] = []
    size = 0
    for text in part.texts:
        for index, block in enumerate(iterate_blocks(text, BLOCK_CHARS)):
            batch.append((index == 0, block))
            size += len(block)
            if size >= BATCH_CHARS:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def unknown_texts(tokenizer: str, part: CorpusPart) -> list[str]:
    """The text of each token that the tokenizer does not know."""
    unknown = []
    for text in part.texts:
        for block in iterate_blocks(text, BLOCK_CHARS):
            tokens = tokenizers.encode(tokenizer, block)
            ids = np.array(tokens.ids, np.int64)
            for index in np.flatnonzero(ids == UNKNOWN).tolist():
                begin, end = tokens.spans[index]
                unknown.append(block[begin:end])
    return unknown
