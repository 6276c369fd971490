"""Admission: how much may wait for the predictors before new requests are refused."""

from collections import OrderedDict
from dataclasses import dataclass

from app.errors import QueueFull

PATIENCE = 5.0  # a request may wait for so many times what it takes alone, however slow its network is
STEP_SECONDS = 0.05  # between two tokens of what is decoded step by step
ROW_SECONDS = 5e-5  # what a row costs beside its forward pass
UP, DOWN = 0.02, 0.2  # share of the newest measurement in a cost: one slow batch is a busy machine's hiccup
KEPT = 1024


@dataclass
class _Load:
    """What waits, and how long it may take."""

    max_seconds: float
    rows: int = 0
    seconds: float = 0.0  # of compute


class Gate:
    """Bounds what waits by rows, and by the seconds it will take at the pace of the recent past.

    A bound on rows alone lets a slow network's queue grow to minutes, one on seconds alone lets a fast one's
    fill the memory. What is decoded step by step takes long and keeps nobody waiting for longer than one step
    of all of it: its seconds are those of such a step, and it has a bound of its own.
    """

    def __init__(self, max_rows: int, max_seconds: float) -> None:
        self._max_rows = max_rows
        self._at_once, self._stepwise = _Load(max_seconds), _Load(max(max_seconds, STEP_SECONDS))
        self._costs: OrderedDict[str, float] = OrderedDict()  # seconds a row, by artifact
        self._alone: OrderedDict[str, float] = OrderedDict()  # seconds of a forward pass of one row
        self.predictors = 1

    @property
    def rows(self) -> int:
        """That wait here."""
        return self._at_once.rows + self._stepwise.rows

    @property
    def seconds(self) -> float:
        """Of compute that waits here."""
        return self._at_once.seconds + self._stepwise.seconds

    def cost(self, artifact: str, rows: int) -> float:
        """Seconds that rows of a version take, or take in a step, as far as is known."""
        return rows * (self._costs.get(artifact, 0.0) + ROW_SECONDS)

    def enter(self, artifact: str, rows: int, elsewhere: int, *, stepwise: bool = False) -> float:
        """Let rows wait; their cost, to be given back on leaving. `elsewhere`: rows of other processes.

        Raises `QueueFull`.
        """
        cost, load = self.cost(artifact, rows), self._stepwise if stepwise else self._at_once
        waiting = self.rows + elsewhere
        if waiting:
            ahead = load.seconds + (load.seconds / load.rows if load.rows else cost / rows) * elsewhere
            budget = max(load.max_seconds, PATIENCE * max(cost, self._alone.get(artifact, 0.0)))
            if waiting + rows > self._max_rows or (ahead + cost) / self.predictors > budget:
                raise QueueFull
        load.rows += rows
        load.seconds += cost
        return cost

    def check(self, artifact: str, elsewhere: int, *, stepwise: bool = False) -> None:
        """Raise `QueueFull` if one more row could not wait."""
        self.leave(1, self.enter(artifact, 1, elsewhere, stepwise=stepwise), stepwise=stepwise)

    def leave(self, rows: int, cost: float, *, stepwise: bool = False) -> None:
        """The rows do not wait any more."""
        load = self._stepwise if stepwise else self._at_once
        load.rows -= rows
        load.seconds = load.seconds - cost if load.rows else 0.0

    def learn(self, artifact: str, compute_seconds: float, batch: int) -> None:
        """Note what a batch, or a step of one, took."""
        if batch < 1:
            return
        _learn(self._costs, artifact, compute_seconds / batch)
        if batch == 1:
            _learn(self._alone, artifact, compute_seconds)


def _learn(known: OrderedDict[str, float], artifact: str, measured: float) -> None:
    """Move what is known towards a measurement."""
    before = known.get(artifact)
    if before is not None:
        measured = before + (UP if measured > before else DOWN) * (measured - before)
    known[artifact] = measured
    if len(known) > KEPT:
        known.popitem(last=False)
