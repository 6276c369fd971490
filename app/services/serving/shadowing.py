"""Shadow versions: they compute requests that another version answers; compared, counted, never returned."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from app.errors import AppError
from app.lanes import Lane
from app.services.serving.metrics import VersionMetrics

MAX_COMPARISONS = 32  # under way at once; further requests are not compared
MAX_WAITING_ROWS = 64  # of this process in the lane; a busier lane leaves no room for shadows
RELATIVE_TOLERANCE = 1e-3  # numbers that differ by less of the larger one count as the same


class ShadowRunner:
    """Runs comparisons in the background, as far as there is room for them."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._running: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> int:
        """How many comparisons are under way."""
        return len(self._running)

    def compare(
        self,
        metrics: VersionMetrics,
        predict: Callable[[], Awaitable[Sequence[Any]]],
        returned: Sequence[Any],
    ) -> None:
        """Count in the shadow's `metrics` whether its `predict` gives the predictions that were returned."""
        if len(self._running) >= MAX_COMPARISONS or self._lane.waiting_rows > MAX_WAITING_ROWS:
            metrics.record_shadow("skipped")
            return
        task = asyncio.create_task(_compare(metrics, predict, returned))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """Cancel the comparisons under way."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)


async def _compare(
    metrics: VersionMetrics, predict: Callable[[], Awaitable[Sequence[Any]]], returned: Sequence[Any]
) -> None:
    try:
        shadowed = await predict()
    except AppError:
        metrics.record_shadow("failed")
        return
    answers = ([_without_warnings(one) for one in rows] for rows in (returned, shadowed))
    difference = relative_difference(*answers)
    metrics.record_difference(difference)
    metrics.record_shadow("same" if difference <= RELATIVE_TOLERANCE else "different")


def _without_warnings(prediction: Any) -> Any:
    """A prediction without what its version lacks, which two versions may say differently."""
    if not isinstance(prediction, dict):
        return prediction
    return {name: value for name, value in prediction.items() if name != "warnings"}


def relative_difference(one: Any, other: Any) -> float:
    """The largest relative difference between the numbers of two JSON values.

    Infinite where anything but a number differs.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        if one.keys() != other.keys():
            return math.inf
        return max((relative_difference(value, other[name]) for name, value in one.items()), default=0.0)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        if len(one) != len(other):
            return math.inf
        return max(map(relative_difference, one, other), default=0.0)
    numbers = (int, float)
    if isinstance(one, numbers) and isinstance(other, numbers) and one != other:
        return abs(one - other) / max(abs(one), abs(other))
    return 0.0 if one == other else math.inf
