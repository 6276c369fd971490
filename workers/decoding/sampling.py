"""Choosing the next token by chance: temperature, the k most likely, the most likely of a total mass p.

Top-p is nucleus sampling (Holtzman et al. 2020). One number from a generator of its own decides each token of
a sequence, so that the same seed gives the same text whoever else is in the batch.
"""

from collections.abc import Sequence
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from app.tasks.contract import BEGIN, END, PADDING, UNKNOWN, Array, Found, Ints
from app.typedefs import Json

BARRED = [PADDING, UNKNOWN, BEGIN]  # never chosen: nothing can be made of them
TOGETHER = 1 << 15  # logits that are worked on at once: more leave the processor's cache


class Watcher(Protocol):
    """Sees tokens as they come, and whether the sequence ends with them."""

    ended: bool

    def push(self, tokens: Sequence[int], /) -> object:
        """Take some more tokens."""
        ...


class Sampler:
    """One sequence, token by token.

    `search` has `max_tokens`, `temperature`, `top_k`, `top_p` and `seed`; `begun` are tokens it goes on from.
    """

    def __init__(self, search: Json, watcher: Watcher | None = None) -> None:
        self.temperature = float(search.get("temperature", 1.0))
        self.top_k, self.top_p = int(search.get("top_k", 0)), float(search.get("top_p", 1.0))
        self.tokens: list[int] = [int(token) for token in search.get("begun", ())]
        self.found: Found | None = None  # once it has ended
        self._most, self._watcher = int(search["max_tokens"]), watcher
        self._random = np.random.default_rng(search.get("seed"))
        self._random.random(len(self.tokens))  # those that decided what it has begun with
        if watcher is not None:
            watcher.push(self.tokens)
        self._look()

    width: ClassVar[int] = 1  # how many rows it has

    @property
    def feed(self) -> list[int]:
        """What the network reads next, a token for each row."""
        return self.tokens[-1:]

    @property
    def parents(self) -> list[int]:
        """Which of its rows go on."""
        return [0] if self.found is None else []

    def chance(self) -> float:
        """The number in [0, 1) that decides the next token."""
        return self._random.random()

    def take(self, token: int) -> None:
        """Go on with a token."""
        if token == END:
            self._end("stop")
            return
        self.tokens.append(token)
        if self._watcher is not None:
            self._watcher.push((token,))
        self._look()

    def _look(self) -> None:
        if self._watcher is not None and self._watcher.ended:
            self._end("stop")
        elif len(self.tokens) >= self._most:
            self._end("length")

    def _end(self, reason: str) -> None:
        self.found = Found(np.array(self.tokens, np.int64), {"finish_reason": reason})


def advance(samplers: Sequence[Sampler], logits: Array) -> None:
    """Have each sampler take its next token by its row of logits (rows, vocabulary)."""
    size = max(1, TOGETHER // logits.shape[1])
    for start in range(0, len(samplers), size):
        some = samplers[start : start + size]
        rows = logits[start : start + size].copy()
        rows[:, BARRED] = -np.inf
        tokens = draw(
            rows,
            np.array([sampler.temperature for sampler in some]),
            np.array([sampler.top_k for sampler in some]),
            np.array([sampler.top_p for sampler in some]),
            np.array([sampler.chance() for sampler in some]),
        )
        for sampler, token in zip(some, tokens.tolist(), strict=True):
            sampler.take(token)


def draw(logits: Array, temperature: Array, top_k: Array, top_p: Array, chance: Array) -> Ints:
    """A token for each row of logits (rows, vocabulary); what else is given is (rows,).

    `temperature` 0 takes the most likely one. `top_k` 0 and `top_p` 1 leave all of them; else what is left of
    both is chosen from by its probabilities, top-k first.
    """
    greedy = (temperature == 0) | (top_k == 1)
    centred = logits - logits.max(axis=1, keepdims=True)  # (rows, vocabulary)
    with np.errstate(over="ignore", under="ignore"):
        weights = np.exp(centred / np.where(greedy, 1, temperature).astype(logits.dtype)[:, None])
    narrow = ~greedy & ((top_k > 0) | (top_p < 1))
    if narrow.any():
        weights[narrow] *= likeliest(weights[narrow], top_k[narrow], top_p[narrow])
    sums = weights.cumsum(axis=1, dtype=np.float64)
    totals = sums[:, -1]
    marks = np.minimum(chance * totals, np.nextafter(totals, 0))
    tokens: Ints = (sums <= marks[:, None]).sum(axis=1)
    tokens[greedy] = logits[greedy].argmax(axis=1)
    return tokens


def likeliest(weights: Array, top_k: Array, top_p: Array) -> npt.NDArray[np.bool_]:
    """Which tokens of weights (rows, vocabulary) may be chosen; of equal ones the first."""
    falling = np.sort(weights, axis=1)[:, ::-1]
    sums = falling.cumsum(axis=1, dtype=np.float64)
    size = weights.shape[1]
    most = np.where(top_k > 0, np.minimum(top_k, size), size)  # (rows,)
    mass = top_p * np.take_along_axis(sums, most[:, None] - 1, axis=1)[:, 0]
    enough = np.where(top_p < 1, (sums < mass[:, None]).sum(axis=1) + 1, size)
    count = np.minimum(enough, most)
    least = np.take_along_axis(falling, count[:, None] - 1, axis=1)  # (rows, 1)
    above, equal = weights > least, weights == least
    room = count - above.sum(axis=1)
    found: npt.NDArray[np.bool_] = above | (equal & (equal.cumsum(axis=1) <= room[:, None]))
    return found
