"""Admission control: how much may wait for the predictors before new requests are refused."""

from collections import OrderedDict
from dataclasses import dataclass

from app.errors import QueueFull

MAX_WAIT_FACTOR = 5.0  # however slow its network is, a request may wait this multiple of its own compute time
MIN_STEPWISE_SECONDS = 0.05  # lower limit of the bound on stepwise decoding: the time between two tokens
ROW_OVERHEAD_SECONDS = 5e-5  # what a row costs beside its forward pass
RISE_WEIGHT, FALL_WEIGHT = 0.02, 0.2  # of a new measurement; low upwards, as a slow batch is mostly a hiccup
MAX_ARTIFACTS = 1024  # whose costs are remembered


@dataclass
class _Load:
    """The rows that wait, and the bound on the time they take."""

    max_seconds: float
    rows: int = 0
    seconds: float = 0.0  # of compute


class AdmissionController:
    """Bounds what waits by rows, and by the seconds it will take, estimated from recent measurements.

    A bound on rows alone lets a slow network's queue grow to minutes; a bound on seconds alone lets a fast
    network's queue fill the memory. Requests that are decoded step by step take long, but others wait at most
    for one step of all of them: their cost is that of one step, and they have a bound of their own.
    """

    def __init__(self, max_rows: int, max_seconds: float) -> None:
        self._max_rows = max_rows
        self._single_pass = _Load(max_seconds)
        self._stepwise = _Load(max(max_seconds, MIN_STEPWISE_SECONDS))
        self._row_costs: OrderedDict[str, float] = OrderedDict()  # seconds a row, by artifact
        self._single_row_passes: OrderedDict[str, float] = OrderedDict()  # seconds of a batch of one row
        self.predictors = 1

    @property
    def rows(self) -> int:
        """Rows of this process that wait."""
        return self._single_pass.rows + self._stepwise.rows

    @property
    def seconds(self) -> float:
        """Estimated compute seconds of the rows that wait."""
        return self._single_pass.seconds + self._stepwise.seconds

    def cost(self, artifact: str, rows: int) -> float:
        """Estimated seconds that rows of a version take, in one pass or in one decoding step."""
        return rows * (self._row_costs.get(artifact, 0.0) + ROW_OVERHEAD_SECONDS)

    def admit(self, artifact: str, rows: int, elsewhere: int, *, stepwise: bool = False) -> float:
        """Admit rows to the queue and return their cost, which `release` takes back.

        `elsewhere` is the number of rows that other processes have in the lane. Raises `QueueFull`.
        """
        cost, load = self.cost(artifact, rows), self._load(stepwise=stepwise)
        waiting = self.rows + elsewhere
        if waiting:
            row_seconds = load.seconds / load.rows if load.rows else cost / rows
            ahead = load.seconds + row_seconds * elsewhere
            budget = max(
                load.max_seconds, MAX_WAIT_FACTOR * max(cost, self._single_row_passes.get(artifact, 0.0))
            )
            if waiting + rows > self._max_rows or (ahead + cost) / self.predictors > budget:
                raise QueueFull
        load.rows += rows
        load.seconds += cost
        return cost

    def check(self, artifact: str, elsewhere: int, *, stepwise: bool = False) -> None:
        """Raise `QueueFull` if not even one more row would be admitted."""
        self.release(1, self.admit(artifact, 1, elsewhere, stepwise=stepwise), stepwise=stepwise)

    def release(self, rows: int, cost: float, *, stepwise: bool = False) -> None:
        """Remove admitted rows from the queue; `cost` is what `admit` returned for them."""
        load = self._load(stepwise=stepwise)
        load.rows -= rows
        load.seconds = load.seconds - cost if load.rows else 0.0

    def record_batch(self, artifact: str, compute_seconds: float, rows: int) -> None:
        """Update a version's cost with the measured time of a batch, or of one decoding step."""
        if rows < 1:
            return
        _update(self._row_costs, artifact, compute_seconds / rows)
        if rows == 1:
            _update(self._single_row_passes, artifact, compute_seconds)

    def _load(self, *, stepwise: bool) -> _Load:
        return self._stepwise if stepwise else self._single_pass


def _update(estimates: OrderedDict[str, float], artifact: str, measured: float) -> None:
    """Move an artifact's estimate towards a measurement: an asymmetric exponential moving average."""
    before = estimates.get(artifact)
    if before is not None:
        measured = before + (RISE_WEIGHT if measured > before else FALL_WEIGHT) * (measured - before)
    estimates[artifact] = measured
    if len(estimates) > MAX_ARTIFACTS:
        estimates.popitem(last=False)
