"""Requests on their way: what parts of answers make of them, and what is sent again when a predictor dies."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from app.errors import PredictionFailed, Unavailable
from app.lanes import Answer, Decoded, Part, Reply, Request, Status, Tensor, wire
from app.lanes.waiting import Following, Waiting


def request(instances: int = 1) -> Request:
    tensors = [Tensor.of(np.array([[4]]))] * instances
    return Request(1, "me", 1.0, 2.0, "a/1", tensors, [{"max_tokens": 9}] * instances, parts=True)


def part(*tokens: tuple[int, list[int]], notes: list[Any] | None = None, by: str = "boot") -> Reply:
    """Tokens by instance, each with where they begin."""
    outputs = [Tensor.of(np.array(some, np.int64)) for _, some in tokens]
    starts = [start for start, _ in tokens]
    decoded = Decoded(notes or [{}] * len(tokens), 0, starts, by)
    return Reply(1, Status.PART, outputs, decoded=decoded)


def whole(*tokens: list[int]) -> Reply:
    outputs = [Tensor.of(np.array(some, np.int64)) for some in tokens]
    return Reply(
        1, Status.OK, outputs, 0.1, 0.2, "", 3, Decoded([{"finish_reason": "stop"}] * len(tokens), 9)
    )


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def inside() -> None:
        await scenario()

    asyncio.run(inside())


def test_parts_that_come_together_are_one() -> None:
    async def scenario() -> None:
        following = Following(request(2), 0.0, 0.0)
        following.deliver(part((0, [5]), (0, [])))
        following.deliver(part((1, [6, 7]), (0, [8]), notes=[{}, {"finish_reason": "stop"}]))
        assert await following.part() == Part([[5, 6, 7], [8]], [{}, {"finish_reason": "stop"}])
        following.deliver(part((3, [9]), (1, [])))
        assert await following.part() == Part([[9], []], [{}, {}])
        following.deliver(whole([5, 6, 7, 9, 4], [8]))
        assert await following.part() is None

    run(scenario)


def test_what_was_said_is_not_said_again() -> None:
    async def scenario() -> None:
        following = Following(request(), 0.0, 0.0)
        following.deliver(part((0, [5, 6, 7])))
        following.deliver(part((1, [6, 7, 8])))
        following.deliver(part((0, [5])))
        assert await following.part() == Part([[5, 6, 7, 8]], [{}])

    run(scenario)


def test_after_a_lost_part_the_rest_waits_for_the_answer() -> None:
    async def scenario() -> None:
        following = Following(request(), 0.0, 0.0)
        following.deliver(part((0, [5])))
        following.deliver(part((3, [8])))
        assert await following.part() == Part([[5]], [{}])
        following.deliver(whole([5, 6, 7, 8]))
        assert await following.part() is None
        assert Answer.of(following.future.result()).outputs[0].tolist() == [5, 6, 7, 8]

    run(scenario)


def test_a_request_that_is_sent_again_goes_on_from_what_was_said() -> None:
    async def scenario() -> None:
        following = Following(request(2), 0.0, 0.0)
        following.deliver(part((0, [5, 6]), (0, [])))
        assert following.renew(8)
        again = wire.decode_request(following.blob)
        assert (again.id, following.number) == (8, 8)
        assert again.search == [{"max_tokens": 9, "begun": [5, 6]}, {"max_tokens": 9, "begun": []}]
        assert [one.array().tolist() for one in again.instances] == [[[4]], [[4]]]

    run(scenario)


@pytest.mark.parametrize("kind", [Waiting, Following])
def test_a_request_is_sent_again_once(kind: type[Waiting]) -> None:
    async def scenario() -> None:
        waiting = kind(request(), 0.0, 0.0)
        assert waiting.renew(2)
        assert not waiting.renew(3)

    run(scenario)


def test_a_request_that_gets_on_may_be_sent_again() -> None:
    async def scenario() -> None:
        following = Following(request(), 0.0, 0.0)
        for number in range(2, 6):
            assert following.renew(number)
            following.deliver(part((number - 2, [number])))
        assert following.renew(9)
        following.deliver(Reply(9, Status.PART, decoded=Decoded([], 0, [], "boot")))  # taken, and no more
        assert not following.renew(10)

    run(scenario)


@pytest.mark.parametrize("kind", [Waiting, Following])
def test_only_the_death_of_who_has_it_matters(kind: type[Waiting]) -> None:
    async def scenario() -> None:
        waiting = kind(request(), 0.0, 0.0)
        assert waiting.lost({"any"})  # nobody knows who has it
        waiting.deliver(Reply(1, Status.PART, decoded=Decoded([], 0, [], "mine")))
        assert not waiting.lost({"other"})
        assert waiting.lost({"other", "mine"})
        assert waiting.lost(None)
        waiting.deliver(whole([5]))
        assert not waiting.lost(None)

    run(scenario)


def test_a_plain_request_keeps_its_number_and_takes_no_part() -> None:
    async def scenario() -> None:
        waiting = Waiting(request(), 0.0, 0.0)
        blob = waiting.blob
        waiting.deliver(part((0, [5])))
        assert not waiting.future.done()
        waiting.renew(7)
        assert (waiting.number, waiting.blob) == (1, blob)

    run(scenario)


def test_an_error_ends_it_once() -> None:
    async def scenario() -> None:
        following = Following(request(), 0.0, 0.0)
        following.fail(Unavailable("gone"))
        following.fail(Unavailable("twice"))
        following.deliver(whole([5]))
        assert await following.part() is None
        with pytest.raises(Unavailable, match="gone"):
            following.future.result()

    run(scenario)


def test_an_answer_is_what_a_reply_says() -> None:
    answer = Answer.of(whole([5, 6]))
    assert (answer.queue_seconds, answer.compute_seconds, answer.batch) == (0.1, 0.2, 3)
    assert answer.notes == [{"finish_reason": "stop"}]
    assert answer.outputs[0].dtype == np.int64
    plain = Answer.of(Reply(1, Status.OK, [Tensor.of(np.ones(2, np.float32))], 0.1, 0.2, "", 4))
    assert list(plain.notes) == []
    with pytest.raises(PredictionFailed, match="why"):
        Answer.of(Reply(1, Status.ERROR, message="why"))
