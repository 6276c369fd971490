"""Sampling of the next token: temperature, top-k and top-p.

Top-p is nucleus sampling (Holtzman et al. 2020). One number from a generator of its own decides each token of
a sequence, so that the same seed gives the same text whatever else is in the batch.
"""

from collections.abc import Sequence
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from app.arrays import Array, Ints
from app.tasks.contract import BEGIN, END, PADDING, UNKNOWN, DecodedTokens
from app.typedefs import Json

SUPPRESSED_TOKENS = [PADDING, UNKNOWN, BEGIN]  # never chosen: they stand for no text
CHUNK_LOGITS = 1 << 15  # logits that are worked on at once: more leave the processor's cache


class StopCriteria(Protocol):
    """Watches a sequence's tokens for its end."""

    @property
    def ended(self) -> bool:
        """Whether the sequence ends with the tokens so far."""
        ...

    def push(self, tokens: Sequence[int], /) -> object:
        """Read some more tokens."""
        ...


class Sampler:
    """Decodes one sequence by sampling, token by token.

    `decoding` has `max_tokens`, `temperature`, `top_k`, `top_p` and `seed`; before `min_tokens` it does not
    end with `END`; `begun` are tokens of an earlier decoding from which it goes on.
    """

    def __init__(self, decoding: Json, stop_criteria: StopCriteria | None = None) -> None:
        self.temperature = float(decoding.get("temperature", 1.0))
        self.top_k, self.top_p = int(decoding.get("top_k", 0)), float(decoding.get("top_p", 1.0))
        self.min_tokens = int(decoding.get("min_tokens", 0))
        self.tokens: list[int] = [int(token) for token in decoding.get("begun", ())]
        self.result: DecodedTokens | None = None  # once it has ended
        self._max_tokens, self._stop_criteria = int(decoding["max_tokens"]), stop_criteria
        self._random = np.random.default_rng(decoding.get("seed"))
        self._random.random(len(self.tokens))  # the numbers that decided those tokens
        if stop_criteria is not None:
            stop_criteria.push(self.tokens)
        self._check_end()

    width: ClassVar[int] = 1  # rows of the batch

    @property
    def feed(self) -> list[int]:
        """The tokens that the network reads next, one a row."""
        return self.tokens[-1:]

    @property
    def parents(self) -> list[int]:
        """The rows of the last step from which the next rows go on."""
        return [0] if self.result is None else []

    def draw_uniform(self) -> float:
        """The number in [0, 1) that decides the next token."""
        return self._random.random()

    def accept(self, token: int) -> None:
        """Append the next token; `END` ends the sequence."""
        if token == END:
            self._end("stop")
            return
        self.tokens.append(token)
        if self._stop_criteria is not None:
            self._stop_criteria.push((token,))
        self._check_end()

    def _check_end(self) -> None:
        if self._stop_criteria is not None and self._stop_criteria.ended:
            self._end("stop")
        elif len(self.tokens) >= self._max_tokens:
            self._end("length")

    def _end(self, reason: str) -> None:
        self.result = DecodedTokens(np.array(self.tokens, np.int64), {"finish_reason": reason})


def accept_tokens(samplers: Sequence[Sampler], logits: Array) -> None:
    """Draw the next token of each sampler from its row of logits (rows, vocabulary)."""
    size = max(1, CHUNK_LOGITS // logits.shape[1])
    for start in range(0, len(samplers), size):
        chunk = samplers[start : start + size]
        rows = logits[start : start + size].copy()
        rows[:, SUPPRESSED_TOKENS] = -np.inf
        rows[[len(sampler.tokens) < sampler.min_tokens for sampler in chunk], END] = -np.inf
        tokens = draw_tokens(
            rows,
            np.array([sampler.temperature for sampler in chunk]),
            np.array([sampler.top_k for sampler in chunk]),
            np.array([sampler.top_p for sampler in chunk]),
            np.array([sampler.draw_uniform() for sampler in chunk]),
        )
        for sampler, token in zip(chunk, tokens.tolist(), strict=True):
            sampler.accept(token)


def draw_tokens(logits: Array, temperature: Array, top_k: Array, top_p: Array, uniform: Array) -> Ints:
    """A token for each row of logits (rows, vocabulary); the settings and uniform numbers are (rows,).

    `temperature` 0 takes the most likely token. `top_k` 0 and `top_p` 1 leave all tokens; else one is drawn
    by probability from those that both leave, top-k first.
    """
    divisors = temperature.astype(logits.dtype)  # so small a one may become zero
    greedy = (divisors == 0) | (top_k == 1)
    centred = logits - logits.max(axis=1, keepdims=True)  # (rows, vocabulary)
    with np.errstate(over="ignore", under="ignore"):
        weights = np.exp(centred / np.where(greedy, 1, divisors).astype(logits.dtype)[:, None])
    narrow = ~greedy & ((top_k > 0) | (top_p < 1))
    if narrow.any():
        weights[narrow] *= most_likely(weights[narrow], top_k[narrow], top_p[narrow])
    sums = weights.cumsum(axis=1, dtype=np.float64)
    totals = sums[:, -1]
    marks = np.minimum(uniform * totals, np.nextafter(totals, 0))
    tokens: Ints = (sums <= marks[:, None]).sum(axis=1)
    tokens[greedy] = logits[greedy].argmax(axis=1)
    return tokens


def most_likely(weights: Array, top_k: Array, top_p: Array) -> npt.NDArray[np.bool_]:
    """Which tokens of weights (rows, vocabulary) may be chosen; of equal ones the first."""
    falling = np.sort(weights, axis=1)[:, ::-1]
    sums = falling.cumsum(axis=1, dtype=np.float64)
    size = weights.shape[1]
    max_count = np.where(top_k > 0, np.minimum(top_k, size), size)  # (rows,)
    mass = top_p * np.take_along_axis(sums, max_count[:, None] - 1, axis=1)[:, 0]
    enough = np.where(top_p < 1, (sums < mass[:, None]).sum(axis=1) + 1, size)
    count = np.minimum(enough, max_count)
    threshold = np.take_along_axis(falling, count[:, None] - 1, axis=1)  # (rows, 1)
    above, equal = weights > threshold, weights == threshold
    room = count - above.sum(axis=1)
    chosen: npt.NDArray[np.bool_] = above | (equal & (equal.cumsum(axis=1) <= room[:, None]))
    return chosen
