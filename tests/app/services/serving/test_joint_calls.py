import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from app.errors import Invalid
from app.services.serving.joint_calls import MAX_CALLS, JointCalls
from app.services.serving.version_router import Route


def route(artifact: str) -> Route:
    return Route("m", 1, None, artifact, {}, {})  # type: ignore[arg-type]


class Doubling:
    """Doubles numbers, but no negative ones; the calls are remembered."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[int], Any]] = []

    def __call__(self, asked: Route, items: Sequence[int], parameters: Any) -> list[int]:
        self.calls.append((asked.artifact, list(items), parameters))
        if min(items) < 0:
            raise Invalid("negative")
        return [2 * item for item in items]


def test_calls_of_one_turn_are_one_and_everybody_gets_their_own() -> None:
    async def scenario() -> tuple[list[Any], list[Any]]:
        function = Doubling()
        calls = JointCalls(function)
        found = await asyncio.gather(*(calls(route("a"), [k, k + 10], None) for k in range(3)))
        found.append(await calls(route("a"), [7], None))
        return found, function.calls

    found, calls = asyncio.run(scenario())
    assert found == [[0, 20], [2, 22], [4, 24], [14]]
    assert calls == [("a", [0, 10, 1, 11, 2, 12], None), ("a", [7], None)]


def test_versions_and_parameters_are_kept_apart() -> None:
    async def scenario() -> list[Any]:
        function = Doubling()
        calls = JointCalls(function)
        asked = [("a", [1]), ("b", [1]), ("a", [2]), ("a", [1])]
        await asyncio.gather(*(calls(route(a), [k], p) for k, (a, p) in enumerate(asked)))
        return list(function.calls)

    assert asyncio.run(scenario()) == [("a", [0, 3], [1]), ("b", [1], [1]), ("a", [2], [2])]


def test_who_is_wrong_only_fails_themselves() -> None:
    async def scenario() -> list[Any]:
        calls = JointCalls(Doubling())
        asked = (calls(route("a"), [k], 0) for k in (1, -1, 3))
        return list(await asyncio.gather(*asked, return_exceptions=True))

    one, wrong, three = asyncio.run(scenario())
    assert (one, three) == ([2], [6])
    assert isinstance(wrong, Invalid)


def test_who_is_right_is_not_run_alone_for_one_who_is_wrong() -> None:
    async def scenario() -> tuple[list[Any], int]:
        function = Doubling()
        calls = JointCalls(function)
        asked = (calls(route("a"), [-1 if k == 9 else k], 0) for k in range(16))
        return list(await asyncio.gather(*asked, return_exceptions=True)), len(function.calls)

    found, runs = asyncio.run(scenario())
    assert isinstance(found.pop(9), Invalid)
    assert found == [[2 * k] for k in range(16) if k != 9]
    assert runs == 9  # both halves of 16, 8, 4 and 2, and all of them before


def test_who_has_left_is_left_out() -> None:
    async def scenario() -> list[Any]:
        function = Doubling()
        calls = JointCalls(function)
        left, stays = (asyncio.create_task(calls(route("a"), [k], 0)) for k in (1, 2))
        await asyncio.sleep(0)
        left.cancel()
        assert await stays == [4]
        with pytest.raises(asyncio.CancelledError):
            await left
        return function.calls

    assert asyncio.run(scenario()) == [("a", [2], 0)]


def test_one_turn_takes_no_more_than_its_share() -> None:
    async def scenario() -> list[int]:
        function = Doubling()
        calls = JointCalls(function)
        await asyncio.gather(*(calls(route("a"), [k], 0) for k in range(MAX_CALLS + 3)))
        return [len(items) for _, items, _ in function.calls]

    assert asyncio.run(scenario()) == [MAX_CALLS, 3]
