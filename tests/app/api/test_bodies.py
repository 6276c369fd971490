"""Bodies in memory: one may be so large, and all together too."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from app.api import bodies
from app.api.bodies import MAX_WHOLE_BODIES, BodyMemory
from app.errors import QueueFull, TooLarge

LIMIT = 100


def sender(*pieces: bytes) -> Callable[[], Any]:
    """Sends pieces of a body, one for each call."""
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages[-1]["more_body"] = False
    waiting = iter(messages)

    async def receive() -> Any:
        return next(waiting)

    return receive


def read(memory: BodyMemory, *pieces: bytes) -> tuple[bytes, int]:
    return asyncio.run(memory.read(sender(*pieces), {}, LIMIT))


def test_a_body_in_one_piece_is_not_counted() -> None:
    memory = BodyMemory()
    assert read(memory, b"x" * LIMIT) == (b"x" * LIMIT, 0)
    assert memory.held == 0


def test_a_body_in_pieces_is_counted_until_it_is_released() -> None:
    memory = BodyMemory()
    body, size = read(memory, b"ab", b"", b"cd")
    assert (body, size, memory.held) == (b"abcd", 4, 4)
    memory.release(size)
    assert memory.held == 0


@pytest.mark.parametrize("pieces", [[b"x" * (LIMIT + 1)], [b"x" * LIMIT, b"x"], [b"x"] * (LIMIT + 1)])
def test_what_is_refused_is_not_counted(pieces: list[bytes]) -> None:
    memory = BodyMemory()
    with pytest.raises(TooLarge):
        read(memory, *pieces)
    assert memory.held == 0


def test_a_body_that_is_announced_as_too_large_is_not_read() -> None:
    async def receive() -> Any:
        raise AssertionError("it was read")

    headers = {b"content-length": str(LIMIT + 1).encode()}
    with pytest.raises(TooLarge):
        asyncio.run(BodyMemory().read(receive, headers, LIMIT))


def test_all_together_are_bounded() -> None:
    memory = BodyMemory()
    sizes = [read(memory, b"x" * (LIMIT - 1), b"x")[1] for _ in range(MAX_WHOLE_BODIES)]
    with pytest.raises(QueueFull):
        read(memory, b"x", b"x")
    assert memory.held == sum(sizes)
    memory.release(sizes[0])
    assert read(memory, b"x", b"x")[0] == b"xx"


def test_a_client_that_leaves_holds_nothing() -> None:
    memory = BodyMemory()
    pieces = iter([b"ab", b"cd"])

    async def receive() -> Any:
        if (piece := next(pieces, None)) is None:
            raise asyncio.CancelledError
        return {"type": "http.request", "body": piece, "more_body": True}

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(memory.read(receive, {}, LIMIT))
    assert memory.held == 0


def test_freed_memory_is_returned_once_no_large_body_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    returned: list[int] = []
    monkeypatch.setattr(bodies, "RETURN_SECONDS", 0.0)
    monkeypatch.setattr(bodies, "MIN_RETURNED_BYTES", 150)
    memory = BodyMemory()
    monkeypatch.setattr(bodies, "return_free_memory", lambda: returned.append(memory.held))

    async def scenario() -> None:
        sizes = [(await memory.read(sender(b"x" * 50, b"x" * 50), {}, LIMIT))[1] for _ in range(2)]
        memory.release(sizes[0])
        await asyncio.sleep(0)  # a turn of the loop, in which nothing is due yet
        assert not returned
        memory.release(sizes[1])
        async with asyncio.timeout(20):
            while not returned:
                await asyncio.sleep(0)
        (_, small) = await memory.read(sender(b"x", b"x"), {}, LIMIT)
        memory.release(small)
        await asyncio.sleep(0)

    asyncio.run(scenario())
    assert returned == [0]
