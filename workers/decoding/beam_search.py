"""Beam search for the best sequence, with the penalties of Wu et al. (2016), section 7.

The score of a sequence is log P / ((5 + |Y|) / 6)^alpha + beta * sum of log min(attention, 1) over the
source; its length |Y| counts `END`.
"""

from typing import NamedTuple

import numpy as np

from app.arrays import Array
from app.tasks.contract import BEGIN, END, PADDING, DecodedTokens
from app.typedefs import Json

SUPPRESSED_TOKENS = [PADDING, BEGIN]
MIN_COVERAGE = 1e-9  # the logarithm of less attention would not be finite


class _BeamStep(NamedTuple):
    """One step: the row that each row came from, its token, and the attention when it was written."""

    parents: Array  # (rows,)
    tokens: Array  # (rows,)
    attention: Array | None  # (rows, source)


class _End(NamedTuple):
    """The end of a sequence: its score, and after how many steps in which row it ends."""

    score: float
    steps: int
    row: int
    complete: bool  # whether `END` came


class Beam:
    """The best sequences for one source so far, a row each; the first step has one row, later ones more.

    `decoding` has `max_tokens` and `beam_size`; it may have `length_penalty`, `coverage_penalty` and
    `attention`.
    """

    def __init__(self, decoding: Json, source: int) -> None:
        self._beam_size, self._max_tokens = int(decoding["beam_size"]), int(decoding["max_tokens"])
        self._alpha = float(decoding.get("length_penalty", 0.0))
        self._beta = float(decoding.get("coverage_penalty", 0.0))
        self._returns_attention, self._source = bool(decoding.get("attention")), source
        self._logs = np.zeros(1)  # (rows,) log P so far
        self._covered = np.zeros((1, source))  # (rows, source) attention so far
        self._steps: list[_BeamStep] = []
        self._best: _End | None = None
        self.feed = [BEGIN]  # the tokens that the network reads next, one a row
        self.parents = [0]  # the rows of the last step from which these go on
        self.result: DecodedTokens | None = None  # once it has ended

    @property
    def width(self) -> int:
        """Rows of the batch at the next step."""
        return len(self.feed)

    def advance(self, logs: Array, attention: Array | None) -> None:
        """Extend the beam by the log-probabilities (rows, vocabulary) and attention of a step."""
        scores = self._logs[:, None] + logs  # (rows, vocabulary), float64
        scores[:, SUPPRESSED_TOKENS] = -np.inf
        parents, tokens, values = _top(scores, 2 * self._beam_size)
        attended = np.zeros((len(parents), self._source))
        if attention is not None:
            attended = attention[parents, : self._source]
        covered = self._covered[parents] + attended
        ends = tokens == END
        # One beyond the width would not have been among the rows either.
        for row in np.flatnonzero(ends[: self._beam_size]).tolist():
            score = self._score(values[row], len(self._steps) + 1, covered[row])
            if self._best is None or score > self._best.score:
                self._best = _End(score, len(self._steps), int(parents[row]), complete=True)
        on = np.flatnonzero(~ends)[: self._beam_size]
        self._logs, self._covered = values[on], covered[on]
        self._steps.append(
            _BeamStep(parents[on], tokens[on], attended[on] if self._returns_attention else None)
        )
        self.feed, self.parents = tokens[on].tolist(), parents[on].tolist()
        if self._is_decided():
            self._finish()

    def _score(self, log: float, length: int, covered: Array) -> float:
        score = log / ((5 + length) / 6) ** self._alpha
        if self._beta:
            score += self._beta * np.log(np.clip(covered, MIN_COVERAGE, 1.0)).sum()
        return float(score)

    def _is_decided(self) -> bool:
        """Whether no open sequence can become better than the best that has ended."""
        if not len(self._logs) or len(self._steps) >= self._max_tokens:
            return True
        if self._best is None:
            return False
        # More steps make log P no larger, the longest is penalised least, and coverage costs at best nothing.
        return self._best.score >= self._score(self._logs[0], self._max_tokens, np.ones(1))

    def _finish(self) -> None:
        if self._best is None and len(self._logs):
            length = len(self._steps)
            scores = [
                self._score(log, length, row) for log, row in zip(self._logs, self._covered, strict=True)
            ]
            row = int(np.argmax(scores))
            self._best = _End(scores[row], length, row, complete=False)
        end = self._best or _End(-np.inf, 0, 0, complete=False)
        tokens, attended, row = [], [], end.row
        for step in reversed(self._steps[: end.steps]):
            tokens.append(step.tokens[row])
            if step.attention is not None:
                attended.append(step.attention[row].tolist())
            row = step.parents[row]
        note: Json = {"score": end.score, "finish_reason": "stop" if end.complete else "length"}
        if self._returns_attention:
            note["attention"] = attended[::-1]
        self.result = DecodedTokens(np.array(tokens[::-1], np.int64), note)
        self.feed, self.parents = [], []


def _top(scores: Array, count: int) -> tuple[Array, Array, Array]:
    """Rows, tokens and values of the `count` best scores (rows, vocabulary), the best first."""
    flat, size = scores.ravel(), scores.shape[1]
    # Quicker than to rank all: none is worse than the last of those that the first row alone would give.
    threshold = np.partition(scores[0], -count)[-count] if count < size else -np.inf
    near = np.flatnonzero(flat >= threshold)
    best = near[np.lexsort((near, -flat[near]))[:count]]
    best = best[np.isfinite(flat[best])]
    return *np.divmod(best, size), flat[best]
