"""Sharing a lane: several inboxes take about as much each, learn of each other, and forget the dead."""

import secrets
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from app.lanes import Inbox, Presence, Reply, Request, Status, wire
from tests.servers import until


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
def pair(url: str, name: str, client: Any) -> Iterator[list[Inbox]]:
    """Two inboxes on one lane that know of each other."""
    made = [Inbox(url, name, f"{name}-{number}") for number in range(2)]
    for _ in range(2):
        for number, inbox in enumerate(made):
            inbox.announce(Presence(f"{name}-{number}", "boot", 1, "cpu", name, []))
    yield made
    for inbox in made:
        inbox.withdraw()
        inbox.close()
    client.delete(wire.lane_key(name))


def blobs(count: int) -> list[bytes]:
    return [wire.encode(Request(number, "r", 1.0, 2.0, "a/1", [])) for number in range(count)]


def answered(name: str, requests: list[Request]) -> list[tuple[str, Reply]]:
    return [(wire.reply_key(name), Reply(request.id, Status.OK)) for request in requests]


def test_two_predictors_share_one_push(pair: list[Inbox], name: str, client: Any) -> None:
    """Both sleep in the server when 64 requests come at once."""
    taken: list[list[Request]] = [[], []]

    def serve(number: int) -> None:
        deadline = time.monotonic() + 10
        requests: list[Request] = []
        while sum(map(len, taken)) < 64 and time.monotonic() < deadline:
            requests = pair[number].receive(64, 0.5, answered(name, requests))
            taken[number] += requests

    threads = [threading.Thread(target=serve, args=(number,)) for number in range(2)]
    ids = [inbox._work.call(("CLIENT", "ID"))[0] for inbox in pair]
    for thread in threads:
        thread.start()
    until(lambda: ["b" in each["flags"] for each in client.client_list(client_id=ids)] == [True, True])
    client.rpush(wire.lane_key(name), *blobs(64))
    for thread in threads:
        thread.join()
    assert sorted(request.id for requests in taken for request in requests) == list(range(64))
    assert min(map(len, taken)) >= 24
    client.delete(wire.reply_key(name))


def test_a_deep_lane_is_drained_in_full_batches(pair: list[Inbox], name: str, client: Any) -> None:
    inbox = pair[0]
    client.rpush(wire.lane_key(name), *blobs(200))
    taken = inbox.receive(32)
    assert len(taken) == 16
    sizes = []
    for _ in range(3):
        taken = inbox.receive(32, replies=answered(name, taken))
        sizes.append(len(taken))
    assert sizes == [16, 32, 32]  # how deep the lane is, it learns with its replies
    client.ltrim(wire.lane_key(name), 0, 63)
    sizes = []
    for _ in range(2):
        taken = inbox.receive(32, replies=answered(name, taken))
        sizes.append(len(taken))
    assert sizes == [32, 16]
    client.delete(wire.reply_key(name))


def test_who_is_alone_takes_all(pair: list[Inbox], name: str, client: Any) -> None:
    pair[1].withdraw()
    pair[0].announce(Presence(f"{name}-0", "boot", 1, "cpu", name, []))
    client.rpush(wire.lane_key(name), *blobs(40))
    assert len(pair[0].receive(32)) == 32


@pytest.mark.parametrize(
    ("peers", "limit", "share"), [(1, 64, 64), (2, 64, 32), (3, 64, 22), (8, 4, 1), (2, 1, 1)]
)
def test_a_share_is_rounded_up(url: str, name: str, peers: int, limit: int, share: int) -> None:
    inbox = Inbox(url, name, name)
    inbox._peers = peers
    assert inbox.share(limit) == share
    inbox._depth = limit * peers
    assert inbox.share(limit) == share
    inbox._depth += 1
    assert inbox.share(limit) == limit
    inbox.close()


def test_the_names_of_the_dead_are_struck_off(pair: list[Inbox], name: str, client: Any) -> None:
    client.delete(wire.predictor_key(f"{name}-1"))
    pair[0].announce(Presence(f"{name}-0", "boot", 1, "cpu", name, []))
    assert client.smembers(wire.predictors_key(name)) == {f"{name}-0".encode()}
    assert pair[0].share(64) == 64
    pair[1].announce(Presence(f"{name}-1", "boot", 1, "cpu", name, []))
    assert pair[1].share(64) == 32


def test_orders_come_once_and_in_order(url: str, name: str, client: Any) -> None:
    inbox = Inbox(url, name, name)
    inbox.order(["a/1", "a/2"])
    inbox.order([])
    inbox.interrupt()
    client.rpush(wire.lane_key(name), *blobs(1))
    assert inbox.receive(8) == []
    assert inbox.orders() == ["a/1", "a/2"]
    assert inbox.orders() == []
    assert len(inbox.receive(8)) == 1
    inbox.order(["a/3"])
    assert 0 < client.ttl(wire.control_key(name)) <= wire.REPLY_SECONDS
    assert inbox.receive(8) == []
    assert inbox.orders() == ["a/3"]
    inbox.close()


def test_requests_that_nobody_waits_for_are_no_orders_to_load(url: str, name: str, client: Any) -> None:
    inbox = Inbox(url, name, name)
    inbox.order(["a/1", wire.cancel_order("recurra:reply:x", 7), "a/2"])
    assert inbox.receive(8) == []
    assert inbox.orders() == ["a/1", "a/2"]
    assert inbox.drops() == [("recurra:reply:x", 7)]
    assert inbox.drops() == []
    inbox.close()


def test_who_has_something_to_do_does_not_wait(pair: list[Inbox], name: str, client: Any) -> None:
    inbox = pair[0]
    begun = time.monotonic()
    for _ in range(20):
        assert inbox.receive(8, wait=False) == []
    assert time.monotonic() - begun < 0.5
    client.rpush(wire.lane_key(name), *blobs(5))
    taken = inbox.receive(8, replies=[(wire.reply_key(name), Reply(7, Status.OK))], wait=False)
    assert [request.id for request in taken] == [0, 1, 2, 3]  # a fair share
    (blob,) = client.lrange(wire.reply_key(name), 0, -1)
    assert [reply.id for reply in wire.decode_replies(blob)] == [7]
    inbox.order(["a/1"])
    assert inbox.receive(8, wait=False) == []
    assert inbox.orders() == ["a/1"]
    client.delete(wire.reply_key(name))


def test_receive_sleeps_no_longer_than_asked(url: str, name: str) -> None:
    inbox = Inbox(url, name, name)
    for within in (0.05, 0.0, -3.0):
        begun = time.monotonic()
        assert inbox.receive(8, within) == []
        assert time.monotonic() - begun < 1
    inbox.close()


def test_presence_is_told_while_orders_are_given(url: str, name: str, client: Any) -> None:
    """The connection beside the work is shared by threads."""
    inbox = Inbox(url, name, name)
    mistakes: list[Exception] = []

    def talk() -> None:
        try:
            for number in range(100):
                inbox.order([f"a/{number}"])
                inbox.announce(Presence(name, "boot", 1, "cpu", name, []))
                assert inbox.presence() is not None
        except Exception as error:  # noqa: BLE001 - whatever a mixed-up exchange raises
            mistakes.append(error)

    threads = [threading.Thread(target=talk) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert mistakes == []
    assert client.llen(wire.control_key(name)) == 300
    client.delete(wire.control_key(name))
    inbox.withdraw()
    inbox.close()


def test_replies_leave_before_the_wait(pair: list[Inbox], name: str, client: Any) -> None:
    waiting = threading.Thread(
        target=lambda: pair[0].receive(8, 1.0, [(wire.reply_key(name), Reply(7, Status.OK))])
    )
    waiting.start()
    _, blob = client.blpop(wire.reply_key(name), 5)
    assert [reply.id for reply in wire.decode_replies(blob)] == [7]
    client.rpush(wire.lane_key(name), *blobs(1))
    waiting.join()


def test_posted_replies_leave_at_once_and_keep_the_answers_in_step(
    pair: list[Inbox], name: str, client: Any
) -> None:
    for number in range(3):
        pair[0].post([(wire.reply_key(name), Reply(number, Status.OK))])
    until(lambda: client.llen(wire.reply_key(name)) == 3)
    found = client.lrange(wire.reply_key(name), 0, -1)
    assert [reply.id for blob in found for reply in wire.decode_replies(blob)] == [0, 1, 2]
    client.rpush(wire.lane_key(name), *blobs(2))
    assert [request.id for request in pair[0].receive(8)] == [0, 1]
    pair[0].post([])
    client.rpush(wire.lane_key(name), *blobs(1))
    assert [request.id for request in pair[0].receive(8)] == [0]
    client.delete(wire.reply_key(name))
