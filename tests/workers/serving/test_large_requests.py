"""Requests that fill more than a batch: their turns, their ends, and who is answered between them."""

from collections.abc import Iterator

import numpy as np
import pytest

from app.lanes import Reply, ReplyStatus
from tests.workers.serving.test_batching import NOW, PACE, FailingEngine, SumEngine, request, sequence
from workers.inference.engines import BatchCostModel
from workers.serving.large_requests import LargeRequests

MAX_ROWS = 4


def rows(count: int, steps: int = 5) -> list[np.ndarray]:
    return [sequence(steps, seed=seed) for seed in range(count)]


@pytest.fixture
def large() -> LargeRequests:
    return LargeRequests(MAX_ROWS, lambda: NOW)


def turns(large: LargeRequests) -> Iterator[list[Reply]]:
    """The replies of each turn until none is left."""
    while large:
        yield [reply for part in large.advance() for _, reply in part]


def test_only_what_fills_more_than_a_batch_is_taken(large: LargeRequests) -> None:
    engine = SumEngine(BatchCostModel(PACE.overhead, PACE.width, most=40))
    requests = [
        request(0, *rows(4)),
        request(1, *rows(5)),
        request(2, *rows(4, steps=10)),
        request(3, *rows(4, steps=11)),
        request(4, np.zeros((), np.float32)),
    ]
    assert [one.id for one in large.take_from(requests, engine)] == [0, 2, 4]
    assert len(large) == 2


def test_each_turn_is_a_batch_and_requests_take_turns(large: LargeRequests) -> None:
    engine = SumEngine()
    assert large.take_from([request(1, *rows(12)), request(2, *rows(8))], engine) == []
    assert [[reply.id for reply in replies] for replies in turns(large)] == [[], [], [], [2], [1], [], []]
    assert [shape[0] for shape in engine.shapes] == [4] * 5


def test_the_answer_is_that_of_all_batches(large: LargeRequests) -> None:
    arrays = rows(10)
    large.take_from([request(1, *arrays)], SumEngine())
    (reply,) = [reply for replies in turns(large) for reply in replies]
    assert reply.status is ReplyStatus.OK
    assert len(reply.outputs) == 10
    for array, output in zip(arrays, reply.outputs, strict=True):
        np.testing.assert_allclose(output.array(), array.sum(0), rtol=1e-5)
    assert reply.batch == 10


def test_a_request_whose_client_has_gone_is_not_computed(large: LargeRequests) -> None:
    engine = SumEngine()
    large.take_from([request(1, *rows(8)), request(3, *rows(8))], engine)
    list(large.advance())
    large.drop([("reply1", 1), ("reply9", 3)])
    assert [reply.id for replies in turns(large) for reply in replies] == [3]
    assert len(engine.shapes) == 3


def test_a_request_that_comes_twice_is_answered_once(large: LargeRequests) -> None:
    large.take_from([request(1, *rows(8))], SumEngine())
    large.take_from([request(1, *rows(8))], SumEngine())
    assert [reply.id for replies in turns(large) for reply in replies] == [1]


def test_after_its_deadline_nothing_is_computed() -> None:
    times = iter([NOW, NOW + 60, NOW + 61])
    engine, large = SumEngine(), LargeRequests(MAX_ROWS, lambda: next(times))
    large.take_from([request(1, *rows(12))], engine)
    (reply,) = [reply for replies in turns(large) for reply in replies]
    assert reply.status is ReplyStatus.EXPIRED
    assert len(engine.shapes) == 1


def test_a_failure_is_the_request_s_own(large: LargeRequests) -> None:
    large.take_from([request(1, *rows(8))], FailingEngine())
    large.take_from([request(2, *rows(8))], SumEngine())
    statuses = {reply.id: reply.status for replies in turns(large) for reply in replies}
    assert statuses == {1: ReplyStatus.ERROR, 2: ReplyStatus.OK}
