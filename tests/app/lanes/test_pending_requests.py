"""Pending requests: how partial replies add up, and what is sent again when a predictor dies."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from app.errors import PredictionFailed, Unavailable
from app.lanes import Answer, DecodingInfo, PartialAnswer, Reply, ReplyStatus, Request, Tensor, wire
from app.lanes.pending_requests import PendingRequest, TokenStreamWaiter


def request(instances: int = 1) -> Request:
    tensors = [Tensor.of(np.array([[4]]))] * instances
    return Request(1, "me", 1.0, 2.0, "a/1", tensors, [{"max_tokens": 9}] * instances, stream=True)


def part(
    *tokens: tuple[int, list[int]], notes: list[Any] | None = None, predictor: str = "instance"
) -> Reply:
    """A partial reply with the tokens of each instance and their offset."""
    outputs = [Tensor.of(np.array(some, np.int64)) for _, some in tokens]
    starts = [start for start, _ in tokens]
    decoded = DecodingInfo(notes or [{}] * len(tokens), 0, starts, predictor)
    return Reply(1, ReplyStatus.PARTIAL, outputs, decoded=decoded)


def whole(*tokens: list[int]) -> Reply:
    outputs = [Tensor.of(np.array(some, np.int64)) for some in tokens]
    info = DecodingInfo([{"finish_reason": "stop"}] * len(tokens), 9)
    return Reply(1, ReplyStatus.OK, outputs, 0.1, 0.2, "", 3, info)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def inside() -> None:
        await scenario()

    asyncio.run(inside())


def test_partial_replies_that_arrive_together_are_merged() -> None:
    async def scenario() -> None:
        waiter = TokenStreamWaiter(request(2), 0.0, 0.0)
        waiter.deliver(part((0, [5]), (0, [])))
        waiter.deliver(part((1, [6, 7]), (0, [8]), notes=[{}, {"finish_reason": "stop"}]))
        assert await waiter.next_part() == PartialAnswer([[5, 6, 7], [8]], [{}, {"finish_reason": "stop"}])
        waiter.deliver(part((3, [9]), (1, [])))
        assert await waiter.next_part() == PartialAnswer([[9], []], [{}, {}])
        waiter.deliver(whole([5, 6, 7, 9, 4], [8]))
        assert await waiter.next_part() is None

    run(scenario)


def test_tokens_are_not_emitted_twice() -> None:
    async def scenario() -> None:
        waiter = TokenStreamWaiter(request(), 0.0, 0.0)
        waiter.deliver(part((0, [5, 6, 7])))
        waiter.deliver(part((1, [6, 7, 8])))
        waiter.deliver(part((0, [5])))
        assert await waiter.next_part() == PartialAnswer([[5, 6, 7, 8]], [{}])

    run(scenario)


def test_after_a_lost_partial_reply_the_rest_comes_with_the_answer() -> None:
    async def scenario() -> None:
        waiter = TokenStreamWaiter(request(), 0.0, 0.0)
        waiter.deliver(part((0, [5])))
        waiter.deliver(part((3, [8])))
        assert await waiter.next_part() == PartialAnswer([[5]], [{}])
        waiter.deliver(whole([5, 6, 7, 8]))
        assert await waiter.next_part() is None
        assert Answer.of(waiter.future.result()).outputs[0].tolist() == [5, 6, 7, 8]

    run(scenario)


def test_a_resent_request_continues_from_the_emitted_tokens() -> None:
    async def scenario() -> None:
        waiter = TokenStreamWaiter(request(2), 0.0, 0.0)
        waiter.deliver(part((0, [5, 6]), (0, [])))
        assert waiter.prepare_resend(8)
        again = wire.decode_request(waiter.blob)
        assert (again.id, waiter.request_id) == (8, 8)
        assert again.decoding == [{"max_tokens": 9, "begun": [5, 6]}, {"max_tokens": 9, "begun": []}]
        assert [one.array().tolist() for one in again.instances] == [[[4]], [[4]]]

    run(scenario)


@pytest.mark.parametrize("kind", [PendingRequest, TokenStreamWaiter])
def test_a_request_is_sent_again_once(kind: type[PendingRequest]) -> None:
    async def scenario() -> None:
        pending = kind(request(), 0.0, 0.0)
        assert pending.prepare_resend(2)
        assert not pending.prepare_resend(3)

    run(scenario)


def test_a_request_that_makes_progress_may_be_sent_again() -> None:
    async def scenario() -> None:
        waiter = TokenStreamWaiter(request(), 0.0, 0.0)
        for number in range(2, 6):
            assert waiter.prepare_resend(number)
            waiter.deliver(part((number - 2, [number])))
        assert waiter.prepare_resend(9)
        acknowledgement = DecodingInfo([], 0, [], "instance")
        waiter.deliver(Reply(9, ReplyStatus.PARTIAL, decoded=acknowledgement))
        assert not waiter.prepare_resend(10)

    run(scenario)


@pytest.mark.parametrize("kind", [PendingRequest, TokenStreamWaiter])
def test_only_the_death_of_its_own_predictor_matters(kind: type[PendingRequest]) -> None:
    async def scenario() -> None:
        pending = kind(request(), 0.0, 0.0)
        assert pending.may_be_lost({"any"})  # no predictor has acknowledged it
        pending.deliver(Reply(1, ReplyStatus.PARTIAL, decoded=DecodingInfo([], 0, [], "mine")))
        assert not pending.may_be_lost({"other"})
        assert pending.may_be_lost({"other", "mine"})
        assert pending.may_be_lost(None)
        pending.deliver(whole([5]))
        assert not pending.may_be_lost(None)

    run(scenario)


def test_a_plain_request_keeps_its_id_and_ignores_partial_replies() -> None:
    async def scenario() -> None:
        pending = PendingRequest(request(), 0.0, 0.0)
        blob = pending.blob
        pending.deliver(part((0, [5])))
        assert not pending.future.done()
        pending.prepare_resend(7)
        assert (pending.request_id, pending.blob) == (1, blob)

    run(scenario)


def test_an_error_ends_it_once() -> None:
    async def scenario() -> None:
        waiter = TokenStreamWaiter(request(), 0.0, 0.0)
        waiter.fail(Unavailable("gone"))
        waiter.fail(Unavailable("twice"))
        waiter.deliver(whole([5]))
        assert await waiter.next_part() is None
        with pytest.raises(Unavailable, match="gone"):
            waiter.future.result()

    run(scenario)


def test_an_answer_holds_what_its_reply_says() -> None:
    answer = Answer.of(whole([5, 6]))
    assert (answer.queue_seconds, answer.compute_seconds, answer.batch) == (0.1, 0.2, 3)
    assert answer.notes == [{"finish_reason": "stop"}]
    assert answer.outputs[0].dtype == np.int64
    plain = Answer.of(Reply(1, ReplyStatus.OK, [Tensor.of(np.ones(2, np.float32))], 0.1, 0.2, "", 4))
    assert list(plain.notes) == []
    with pytest.raises(PredictionFailed, match="why"):
        Answer.of(Reply(1, ReplyStatus.ERROR, message="why"))
