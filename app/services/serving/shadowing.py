"""Shadows: a version that computes what another one answers; compared and counted, never returned."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from app.errors import AppError
from app.lanes import Lane
from app.services.serving.metrics import Meter

AT_ONCE = 32  # comparisons under way; more requests go uncompared
QUIET_ROWS = 64  # of a process: a busier lane has no room for what nobody waits for
AGREEMENT = 1e-3  # two numbers this near, relative to the larger, are the same answer


class Shadows:
    """Runs comparisons beside the answers, as far as there is room for them."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._running: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> int:
        """Comparisons under way."""
        return len(self._running)

    def compare(
        self, meter: Meter, again: Callable[[], Awaitable[Sequence[Any]]], answered: Sequence[Any]
    ) -> None:
        """Count in the shadow's meter whether `again` gives what was answered."""
        if len(self._running) >= AT_ONCE or self._lane.waiting > QUIET_ROWS:
            meter.shadow("skipped")
            return
        task = asyncio.create_task(_compare(meter, again, answered))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """End what is under way."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)


async def _compare(
    meter: Meter, again: Callable[[], Awaitable[Sequence[Any]]], answered: Sequence[Any]
) -> None:
    try:
        shadowed = await again()
    except AppError:
        meter.shadow("failed")
        return
    difference = distance(answered, shadowed)
    meter.differ(difference)
    meter.shadow("same" if difference <= AGREEMENT else "different")


def distance(one: Any, other: Any) -> float:
    """The largest relative difference of two answers' numbers; infinite when anything else differs."""
    if isinstance(one, dict) and isinstance(other, dict):
        if one.keys() != other.keys():
            return math.inf
        return max((distance(value, other[name]) for name, value in one.items()), default=0.0)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        if len(one) != len(other):
            return math.inf
        return max(map(distance, one, other), default=0.0)
    numbers = (int, float)
    if isinstance(one, numbers) and isinstance(other, numbers) and one != other:
        return abs(one - other) / max(abs(one), abs(other))
    return 0.0 if one == other else math.inf
