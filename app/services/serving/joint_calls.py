"""Calls for the same version that are made in one turn of the event loop, run as one."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from app.services.serving.version_router import Route

MAX_CALLS = 64  # of one turn of the event loop: a few milliseconds

Function = Callable[[Route, Sequence[Any], Any], list[Any]]


@dataclass(frozen=True, slots=True)
class _Call:
    """One call that waits for its turn."""

    route: Route
    items: Sequence[Any]
    parameters: Any
    results: asyncio.Future[list[Any]]

    def joins(self, other: "_Call") -> bool:
        """Whether both can be run as one."""
        return self.route.artifact == other.route.artifact and self.parameters == other.parameters


class JointCalls:
    """Runs a function of a route, items and parameters, whose results are one for each item.

    Calls of one turn are run in the next one, nobody waits longer for others. A call that fails only fails
    itself: the others are run again without it.
    """

    def __init__(self, function: Function) -> None:
        self._function = function
        self._waiting: list[_Call] = []

    async def __call__(self, route: Route, items: Sequence[Any], parameters: Any) -> list[Any]:
        """The result for each item."""
        loop = asyncio.get_running_loop()
        call = _Call(route, items, parameters, loop.create_future())
        if not self._waiting:
            loop.call_soon(self._run_turn)
        self._waiting.append(call)
        return await call.results

    def _run_turn(self) -> None:
        turn, self._waiting = self._waiting[:MAX_CALLS], self._waiting[MAX_CALLS:]
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._run_turn)
        groups: list[list[_Call]] = []
        for call in turn:
            if call.results.done():  # cancelled
                continue
            group = next((group for group in groups if group[0].joins(call)), None)
            if group is None:
                groups.append([call])
            else:
                group.append(call)
        for group in groups:
            self._run(group)

    def _run(self, calls: Sequence[_Call]) -> None:
        first, items = calls[0], [item for call in calls for item in call.items]
        try:
            results = self._function(first.route, items, first.parameters)
        except Exception as error:  # noqa: BLE001 - whoever called gets it
            if len(calls) == 1:
                first.results.set_exception(error)
                return
            middle = len(calls) // 2  # by halves: one that fails costs the others no run of their own
            self._run(calls[:middle])
            self._run(calls[middle:])
            return
        position = 0
        for call in calls:
            call.results.set_result(results[position : position + len(call.items)])
            position += len(call.items)
