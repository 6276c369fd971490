"""Sharing a lane: consumers take about equal shares, count each other, and remove dead predictors."""

import secrets
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from app.lanes import PredictorPresence, Reply, ReplyStatus, Request, RequestConsumer, wire
from tests.support.fixtures.servers import until


@pytest.fixture
def url(redis_url: str) -> str:
    return redis_url


@pytest.fixture
def name() -> str:
    return f"test-{secrets.token_hex(6)}"


@pytest.fixture
def client(url: str) -> Iterator[Any]:
    made: Any = redis.Redis.from_url(url)
    yield made
    made.close()


@pytest.fixture
def pair(url: str, name: str, client: Any) -> Iterator[list[RequestConsumer]]:
    """Two consumers on one lane that know of each other."""
    made = [RequestConsumer(url, name, f"{name}-{number}") for number in range(2)]
    for _ in range(2):
        for number, consumer in enumerate(made):
            consumer.announce(PredictorPresence(f"{name}-{number}", "instance", 1, "cpu", name, []))
    yield made
    for consumer in made:
        consumer.withdraw()
        consumer.close()
    client.delete(wire.lane_key(name))


def blobs(count: int) -> list[bytes]:
    return [wire.encode(Request(number, "r", 1.0, 2.0, "a/1", [])) for number in range(count)]


def answered(name: str, requests: list[Request]) -> list[tuple[str, Reply]]:
    return [(wire.reply_key(name), Reply(request.id, ReplyStatus.OK)) for request in requests]


def test_two_predictors_share_one_push(pair: list[RequestConsumer], name: str, client: Any) -> None:
    """Both sleep in the server when 64 requests come at once."""
    received: list[list[Request]] = [[], []]

    def serve(number: int) -> None:
        deadline = time.monotonic() + 10
        requests: list[Request] = []
        while sum(map(len, received)) < 64 and time.monotonic() < deadline:
            requests = pair[number].receive(64, 0.5, answered(name, requests))
            received[number] += requests

    threads = [threading.Thread(target=serve, args=(number,)) for number in range(2)]
    ids = [consumer._work.call(("CLIENT", "ID"))[0] for consumer in pair]
    for thread in threads:
        thread.start()
    until(lambda: ["b" in each["flags"] for each in client.client_list(client_id=ids)] == [True, True])
    client.rpush(wire.lane_key(name), *blobs(64))
    for thread in threads:
        thread.join()
    assert sorted(request.id for requests in received for request in requests) == list(range(64))
    assert min(map(len, received)) >= 24
    client.delete(wire.reply_key(name))


def test_a_deep_lane_is_drained_in_full_batches(pair: list[RequestConsumer], name: str, client: Any) -> None:
    consumer = pair[0]
    client.rpush(wire.lane_key(name), *blobs(200))
    received = consumer.receive(32)
    assert len(received) == 16
    sizes = []
    for _ in range(3):
        received = consumer.receive(32, replies=answered(name, received))
        sizes.append(len(received))
    assert sizes == [16, 32, 32]  # the depth is read when replies are sent
    client.ltrim(wire.lane_key(name), 0, 63)
    sizes = []
    for _ in range(2):
        received = consumer.receive(32, replies=answered(name, received))
        sizes.append(len(received))
    assert sizes == [32, 16]
    client.delete(wire.reply_key(name))


def test_the_only_predictor_takes_all(pair: list[RequestConsumer], name: str, client: Any) -> None:
    pair[1].withdraw()
    pair[0].announce(PredictorPresence(f"{name}-0", "instance", 1, "cpu", name, []))
    client.rpush(wire.lane_key(name), *blobs(40))
    assert len(pair[0].receive(32)) == 32


@pytest.mark.parametrize(
    ("peers", "limit", "share"), [(1, 64, 64), (2, 64, 32), (3, 64, 22), (8, 4, 1), (2, 1, 1)]
)
def test_a_share_is_rounded_up(url: str, name: str, peers: int, limit: int, share: int) -> None:
    consumer = RequestConsumer(url, name, name)
    consumer._peers = peers
    assert consumer.fair_share(limit) == share
    consumer._depth = limit * peers
    assert consumer.fair_share(limit) == share
    consumer._depth += 1
    assert consumer.fair_share(limit) == limit
    consumer.close()


def test_dead_predictors_are_removed(pair: list[RequestConsumer], name: str, client: Any) -> None:
    client.delete(wire.predictor_key(f"{name}-1"))
    pair[0].announce(PredictorPresence(f"{name}-0", "instance", 1, "cpu", name, []))
    assert client.smembers(wire.predictors_key(name)) == {f"{name}-0".encode()}
    assert pair[0].fair_share(64) == 64
    pair[1].announce(PredictorPresence(f"{name}-1", "instance", 1, "cpu", name, []))
    assert pair[1].fair_share(64) == 32


def test_preloads_arrive_once_and_in_order(url: str, name: str, client: Any) -> None:
    consumer = RequestConsumer(url, name, name)
    consumer.send_control(["a/1", "a/2"])
    consumer.send_control([])
    consumer.interrupt()
    client.rpush(wire.lane_key(name), *blobs(1))
    assert consumer.receive(8) == []
    assert consumer.take_preloads() == ["a/1", "a/2"]
    assert consumer.take_preloads() == []
    assert len(consumer.receive(8)) == 1
    consumer.send_control(["a/3"])
    assert 0 < client.ttl(wire.control_key(name)) <= wire.REPLY_TTL_SECONDS
    assert consumer.receive(8) == []
    assert consumer.take_preloads() == ["a/3"]
    consumer.close()


def test_cancellations_are_separate_from_preloads(url: str, name: str, client: Any) -> None:
    consumer = RequestConsumer(url, name, name)
    consumer.send_control(["a/1", wire.cancel_message("recurra:reply:x", 7), "a/2"])
    assert consumer.receive(8) == []
    assert consumer.take_preloads() == ["a/1", "a/2"]
    assert consumer.take_cancellations() == [("recurra:reply:x", 7)]
    assert consumer.take_cancellations() == []
    consumer.close()


def test_a_busy_predictor_does_not_wait(pair: list[RequestConsumer], name: str, client: Any) -> None:
    consumer = pair[0]
    begun = time.monotonic()
    for _ in range(20):
        assert consumer.receive(8, wait=False) == []
    assert time.monotonic() - begun < 0.5
    client.rpush(wire.lane_key(name), *blobs(5))
    received = consumer.receive(8, replies=[(wire.reply_key(name), Reply(7, ReplyStatus.OK))], wait=False)
    assert [request.id for request in received] == [0, 1, 2, 3]  # a fair share
    (blob,) = client.lrange(wire.reply_key(name), 0, -1)
    assert [reply.id for reply in wire.decode_replies(blob)] == [7]
    consumer.send_control(["a/1"])
    assert consumer.receive(8, wait=False) == []
    assert consumer.take_preloads() == ["a/1"]
    client.delete(wire.reply_key(name))


def test_receive_sleeps_no_longer_than_requested(url: str, name: str) -> None:
    consumer = RequestConsumer(url, name, name)
    for within in (0.05, 0.0, -3.0):
        begun = time.monotonic()
        assert consumer.receive(8, within) == []
        assert time.monotonic() - begun < 1
    consumer.close()


def test_presence_and_control_messages_may_be_sent_by_several_threads(
    url: str, name: str, client: Any
) -> None:
    """They share the connection that does not wait for requests."""
    consumer = RequestConsumer(url, name, name)
    errors: list[Exception] = []

    def send_messages() -> None:
        try:
            for number in range(100):
                consumer.send_control([f"a/{number}"])
                consumer.announce(PredictorPresence(name, "instance", 1, "cpu", name, []))
                assert consumer.read_presence() is not None
        except Exception as error:  # noqa: BLE001 - whatever a mixed-up exchange raises
            errors.append(error)

    threads = [threading.Thread(target=send_messages) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert client.llen(wire.control_key(name)) == 300
    client.delete(wire.control_key(name))
    consumer.withdraw()
    consumer.close()


def test_replies_leave_before_the_wait(pair: list[RequestConsumer], name: str, client: Any) -> None:
    waiting = threading.Thread(
        target=lambda: pair[0].receive(8, 1.0, [(wire.reply_key(name), Reply(7, ReplyStatus.OK))])
    )
    waiting.start()
    _, blob = client.blpop(wire.reply_key(name), 5)
    assert [reply.id for reply in wire.decode_replies(blob)] == [7]
    client.rpush(wire.lane_key(name), *blobs(1))
    waiting.join()


def test_posted_replies_leave_at_once_and_keep_the_answers_in_step(
    pair: list[RequestConsumer], name: str, client: Any
) -> None:
    for number in range(3):
        pair[0].post_replies([(wire.reply_key(name), Reply(number, ReplyStatus.OK))])
    until(lambda: client.llen(wire.reply_key(name)) == 3)
    blobs_sent = client.lrange(wire.reply_key(name), 0, -1)
    assert [reply.id for blob in blobs_sent for reply in wire.decode_replies(blob)] == [0, 1, 2]
    client.rpush(wire.lane_key(name), *blobs(2))
    assert [request.id for request in pair[0].receive(8)] == [0, 1]
    pair[0].post_replies([])
    client.rpush(wire.lane_key(name), *blobs(1))
    assert [request.id for request in pair[0].receive(8)] == [0]
    client.delete(wire.reply_key(name))
