"""Beam search for the best sequence, with the penalties of Wu et al. (2016), section 7.

A sequence is worth log P / ((5 + |Y|) / 6)^alpha + beta * sum of log min(attention, 1) over the source; its
length |Y| counts `END`.
"""

from typing import NamedTuple

import numpy as np

from app.tasks.contract import BEGIN, END, PADDING, Array, Found
from app.typedefs import Json

BARRED = [PADDING, BEGIN]
UNSEEN = 1e-9  # the least attention that counts: its logarithm is finite


class _Step(NamedTuple):
    """What one step did: where each row came from, its token, and what the network looked at for it."""

    parents: Array  # (rows,)
    tokens: Array  # (rows,)
    attention: Array | None  # (rows, source)


class _End(NamedTuple):
    """The end of a sequence: what it is worth, and after how many steps in which row it ends."""

    worth: float
    steps: int
    row: int
    whole: bool  # whether `END` came


class Beam:
    """The best sequences for one source so far, a row each; from one row it grows until it is wide enough.

    `search` has `max_tokens` and `beam_size`, and perhaps `length_penalty`, `coverage_penalty`, `attention`.
    """

    def __init__(self, search: Json, source: int) -> None:
        self._width, self._most = int(search["beam_size"]), int(search["max_tokens"])
        self._alpha = float(search.get("length_penalty", 0.0))
        self._beta = float(search.get("coverage_penalty", 0.0))
        self._tells, self._source = bool(search.get("attention")), source
        self._logs = np.zeros(1)  # (rows,) log P so far
        self._covered = np.zeros((1, source))  # (rows, source) attention so far
        self._steps: list[_Step] = []
        self._best: _End | None = None
        self.feed = [BEGIN]  # what the network reads next, a token for each row
        self.parents = [0]  # which rows of the last step these are
        self.found: Found | None = None  # once it has ended

    @property
    def width(self) -> int:
        """How many rows it has now."""
        return len(self.feed)

    def advance(self, logs: Array, attention: Array | None) -> None:
        """Take log-probabilities (rows, vocabulary) after `feed`, and what was looked at (rows, source …)."""
        scores = self._logs[:, None] + logs  # (rows, vocabulary), float64
        scores[:, BARRED] = -np.inf
        parents, tokens, values = _top(scores, 2 * self._width)
        looked = np.zeros((len(parents), self._source))
        if attention is not None:
            looked = attention[parents, : self._source]
        covered = self._covered[parents] + looked
        ends = tokens == END
        # One beyond the width would not have been among the rows either.
        for row in np.flatnonzero(ends[: self._width]).tolist():
            worth = self._worth(values[row], len(self._steps) + 1, covered[row])
            if self._best is None or worth > self._best.worth:
                self._best = _End(worth, len(self._steps), int(parents[row]), whole=True)
        on = np.flatnonzero(~ends)[: self._width]
        self._logs, self._covered = values[on], covered[on]
        self._steps.append(_Step(parents[on], tokens[on], looked[on] if self._tells else None))
        self.feed, self.parents = tokens[on].tolist(), parents[on].tolist()
        if self._settled():
            self._finish()

    def _worth(self, log: float, length: int, covered: Array) -> float:
        worth = log / ((5 + length) / 6) ** self._alpha
        if self._beta:
            worth += self._beta * np.log(np.clip(covered, UNSEEN, 1.0)).sum()
        return float(worth)

    def _settled(self) -> bool:
        """Whether nothing that is still open can become better than the best that has ended."""
        if not len(self._logs) or len(self._steps) >= self._most:
            return True
        if self._best is None:
            return False
        # More steps make log P no larger, the longest is penalised least, and coverage costs at best nothing.
        return self._best.worth >= self._worth(self._logs[0], self._most, np.ones(1))

    def _finish(self) -> None:
        if self._best is None and len(self._logs):
            length = len(self._steps)
            worths = [
                self._worth(log, length, row) for log, row in zip(self._logs, self._covered, strict=True)
            ]
            row = int(np.argmax(worths))
            self._best = _End(worths[row], length, row, whole=False)
        end = self._best or _End(-np.inf, 0, 0, whole=False)
        tokens, looked, row = [], [], end.row
        for step in reversed(self._steps[: end.steps]):
            tokens.append(step.tokens[row])
            if step.attention is not None:
                looked.append(step.attention[row].tolist())
            row = step.parents[row]
        note: Json = {"score": end.worth, "finish_reason": "stop" if end.whole else "length"}
        if self._tells:
            note["attention"] = looked[::-1]
        self.found = Found(np.array(tokens[::-1], np.int64), note)
        self.feed, self.parents = [], []


def _top(scores: Array, count: int) -> tuple[Array, Array, Array]:
    """Rows, tokens and values of the best of scores (rows, vocabulary), the best first; of equal ones too."""
    flat, size = scores.ravel(), scores.shape[1]
    # Quicker than to rank all: none is worse than the last of those that the first row alone would give.
    least = np.partition(scores[0], -count)[-count] if count < size else -np.inf
    near = np.flatnonzero(flat >= least)
    best = near[np.lexsort((near, -flat[near]))[:count]]
    best = best[np.isfinite(flat[best])]
    return *np.divmod(best, size), flat[best]
