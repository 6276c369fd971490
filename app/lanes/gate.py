"""Admission: how much may wait for the predictors before new requests are refused."""

from collections import OrderedDict

from app.errors import QueueFull

PATIENCE = 5.0  # a request may wait for so many times what it takes alone, however slow its network is
ROW_SECONDS = 5e-5  # what a row costs beside its forward pass
UP, DOWN = 0.02, 0.2  # share of the newest measurement in a cost: one slow batch is a busy machine's hiccup
KEPT = 1024


class Gate:
    """Bounds what waits by rows, and by the seconds it will take at the pace of the recent past.

    A bound on rows alone lets a slow network's queue grow to minutes, one on seconds alone lets a fast one's
    fill the memory.
    """

    def __init__(self, max_rows: int, max_seconds: float) -> None:
        self._max_rows, self._max_seconds = max_rows, max_seconds
        self._costs: OrderedDict[str, float] = OrderedDict()  # seconds a row, by artifact
        self._alone: OrderedDict[str, float] = OrderedDict()  # seconds of a forward pass of one row
        self.rows = 0
        self.seconds = 0.0  # of compute that waits here
        self.predictors = 1

    def cost(self, artifact: str, rows: int) -> float:
        """Seconds that rows of a version take, as far as is known."""
        return rows * (self._costs.get(artifact, 0.0) + ROW_SECONDS)

    def enter(self, artifact: str, rows: int, elsewhere: int) -> float:
        """Let rows wait; their cost, to be given back on leaving. `elsewhere`: rows of other processes.

        Raises `QueueFull`.
        """
        cost = self.cost(artifact, rows)
        waiting = self.rows + elsewhere
        if waiting:
            ahead = self.seconds + (self.seconds / self.rows if self.rows else cost / rows) * elsewhere
            budget = max(self._max_seconds, PATIENCE * max(cost, self._alone.get(artifact, 0.0)))
            if waiting + rows > self._max_rows or (ahead + cost) / self.predictors > budget:
                raise QueueFull
        self.rows += rows
        self.seconds += cost
        return cost

    def check(self, artifact: str, elsewhere: int) -> None:
        """Raise `QueueFull` if one more row could not wait."""
        self.leave(1, self.enter(artifact, 1, elsewhere))

    def leave(self, rows: int, cost: float) -> None:
        """The rows do not wait any more."""
        self.rows -= rows
        self.seconds = self.seconds - cost if self.rows else 0.0

    def learn(self, artifact: str, compute_seconds: float, batch: int) -> None:
        """Note what a batch took."""
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
