"""Pairs as tokens: vocabularies learned from some of them, and both sides of all laid out for a network."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.tasks.contract import Array
from app.tasks.shared import tokenizers
from app.tasks.shared.ragged import Ragged, Texts, offsets_of
from app.tasks.shared.tokenizers import BEGIN, END
from app.tasks.translation import baseline
from app.tasks.translation.options import Options
from app.tasks.translation.reading import Pairs

LEARNED = 200_000  # pairs from which a vocabulary is learned, evenly taken from all
LISTED = 16  # translations that a dictionary has of a token
TOGETHER = 10_000  # texts in memory as tokens of the library


def plain(line: str) -> str:
    """A text as it is read: words with one space before each, the first one too, so that all are alike."""
    return " " + " ".join(line.split())


def learn(pairs: Pairs, rows: Array, options: Options) -> list[str]:
    """The tokenisers of the sources and of the targets, from some rows."""
    taken = rows[:: -(-len(rows) // LEARNED) or 1]
    sides = [pairs.sources, pairs.targets]
    groups = [sides] if options.shared_vocabulary else [[side] for side in sides]
    found = [
        tokenizers.learn(
            (plain(side[int(row)]) for side in group for row in taken),
            tokenizers.Unit(options.tokens),
            options.size,
            lower=options.lower,
            least=options.min_count,
            spaced=True,
        )
        for group in groups
    ]
    return found * (2 // len(found))


def tokenise(tokeniser: str, texts: Texts) -> Ragged:
    """The tokens of each text, int32."""
    values, lengths = [], []
    for start in range(0, len(texts), TOGETHER):
        some = texts.pick(range(start, min(start + TOGETHER, len(texts))))
        made = Ragged.of(tokenizers.encode_all(tokeniser, [plain(line) for line in some]), np.int32)
        values.append(made.values)
        lengths.append(made.lengths)
    return Ragged(np.concatenate(values), offsets_of(np.concatenate(lengths)))


def cut(rows: Ragged, longest: int) -> Ragged:
    """The first tokens of each row."""
    lengths = rows.lengths
    step = np.arange(len(rows.values)) - np.repeat(rows.offsets[:-1], lengths)
    return Ragged(rows.values[step < longest], offsets_of(np.minimum(lengths, longest)))


def frame(rows: Ragged, first: Sequence[int], last: Sequence[int]) -> Ragged:
    """The same rows with some tokens before and behind each."""
    offsets = rows.offsets + (len(first) + len(last)) * np.arange(len(rows) + 1)
    values = np.zeros(offsets[-1], rows.values.dtype)
    inner = np.ones(len(values), bool)
    for starts, tokens in ((offsets[:-1], first), (offsets[1:] - len(last), last)):
        for place, token in enumerate(tokens):
            values[starts + place] = token
            inner[starts + place] = False
    values[inner] = rows.values
    return Ragged(values, offsets)


def picked(rows: Ragged, numbers: Array) -> Ragged:
    """Some of the rows."""
    lengths = rows.lengths[numbers]
    step = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return Ragged(rows.values[np.repeat(rows.offsets[numbers], lengths) + step], offsets_of(lengths))


@dataclass(frozen=True)
class Bitext:
    """Both sides of every pair: the source up to `END`, the target from `BEGIN` to `END`."""

    sources: Ragged
    targets: Ragged

    @classmethod
    def of(cls, sources: Ragged, targets: Ragged) -> "Bitext":
        """From bare tokens."""
        return cls(frame(sources, [], [END]), frame(targets, [BEGIN], [END]))

    def gather(self, rows: Array) -> tuple[Array, Array, Array, Array]:
        """Inputs (batch, time, 1), lengths (batch,), targets and weights (batch, target time)."""
        inputs, lengths = self.sources.padded(rows)
        targets, sizes = self.targets.padded(rows)
        step = np.arange(targets.shape[1])
        scored = (step > 0) & (step < sizes[:, None])  # (batch, target time): nothing predicts `BEGIN`
        return (
            inputs.astype(np.int64)[:, :, None],
            lengths,
            targets.astype(np.int64),
            scored.astype(np.float32),
        )


def dictionary(sources: Ragged, targets: Ragged, sizes: tuple[int, int]) -> dict[str, Array]:
    """The likeliest target tokens of each source token and their probabilities, (source tokens, `LISTED`)."""
    words, shares = baseline.likely_words(sources, targets, sizes, LISTED)
    words[END, 0], shares[END, 0] = END, 1.0  # which ends both sides
    return {"lexicon_words": words, "lexicon_shares": shares}
