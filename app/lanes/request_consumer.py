"""The predictor side of a lane: receive requests, send replies, announce presence."""

import logging
import threading
from collections.abc import Iterable
from typing import Any

import msgspec

from app.lanes import wire
from app.lanes.redis_connections import Command, RedisConnection
from app.lanes.wire import PredictorPresence, Reply, Request

logger = logging.getLogger(__name__)

SIDE_TIMEOUT_SECONDS = 1.0  # of everything that does not wait for requests


class UnsupportedServer(Exception):
    """The Redis server lacks a command that lanes need."""


class RequestConsumer:
    """One predictor's end of a lane.

    `receive`, `take_preloads`, `take_cancellations`, `post_replies` and `send_replies` belong to one thread;
    all other methods may be called from any thread.
    """

    def __init__(self, url: str, lane: str, worker_id: str) -> None:
        self._lane = wire.lane_key(lane)
        self._members = wire.predictors_key(lane)
        self._worker_id = worker_id
        self._presence = wire.predictor_key(worker_id)
        self._control = wire.control_key(worker_id)
        self._work = RedisConnection(url, within=wire.BLOCKING_POP_SECONDS + 1)
        self._side, self._side_lock = RedisConnection(url, within=SIDE_TIMEOUT_SECONDS), threading.Lock()
        self._preloads: list[str] = []
        self._cancellations: list[tuple[str, int]] = []
        self._depth = 0  # requests in the lane when the last replies were sent
        self._peers = 1  # live predictors on the lane, including this one

    def check_server(self) -> None:
        """Raise `UnsupportedServer` when the server is older than Redis 7."""
        if self._work.call(("COMMAND", "INFO", "BLMPOP"))[0] in ([], [None]):
            raise UnsupportedServer("Prediction lanes need BLMPOP: Redis 7 or newer, or Valkey.")

    def fair_share(self, limit: int) -> int:
        """How many of `limit` requests to take, so that the other predictors on the lane get as many."""
        peers = self._peers
        return limit if self._depth > limit * peers else -(-limit // peers)

    def receive(
        self,
        limit: int,
        within: float = wire.BLOCKING_POP_SECONDS,
        replies: Iterable[tuple[str, Reply]] = (),
        *,
        wait: bool = True,
    ) -> list[Request]:
        """A fair share of `limit` requests; sleeps in the server until a request or a control message comes.

        It sleeps for at most `within` seconds, and without `wait` not at all. `replies` leave in the same
        write, so that one turn of the predictor's loop is one round trip.
        """
        pop: Command = (2, self._control, self._lane, "LEFT", "COUNT", self.fair_share(limit))
        seconds = min(max(within, 0.001), wire.BLOCKING_POP_SECONDS)  # zero would be forever
        pop = ("BLMPOP", f"{seconds:.3f}", *pop) if wait else ("LMPOP", *pop)
        pushes = _reply_commands(replies)
        *counts, popped = self._work.call(*pushes, *((("LLEN", self._lane),) if pushes else ()), pop)
        if counts:
            self._depth = counts[-1]
        if popped is None:
            self._depth = 0
            return []
        key, blobs = popped
        if key == self._control.encode():
            self._sort_control([blob.decode() for blob in blobs if blob])
            return []
        return [request for blob in blobs if (request := _decode_request(blob)) is not None]

    def take_preloads(self) -> list[str]:
        """Artifacts to load before they are used, requested since the last call."""
        preloads, self._preloads = self._preloads, []
        return preloads

    def take_cancellations(self) -> list[tuple[str, int]]:
        """Reply list and id of requests cancelled since the last call."""
        cancellations, self._cancellations = self._cancellations, []
        return cancellations

    def _sort_control(self, messages: list[str]) -> None:
        for message in messages:
            if (cancelled := wire.parse_cancel_message(message)) is not None:
                self._cancellations.append(cancelled)
            else:
                self._preloads.append(message)

    def post_replies(self, replies: Iterable[tuple[str, Reply]]) -> None:
        """Send replies, each with its list, without waiting for their arrival: more is to be computed."""
        if commands := _reply_commands(replies):
            self._work.post(*commands)

    def send_replies(self, replies: Iterable[tuple[str, Reply]]) -> None:
        """Send replies, each with its list, in one pipeline: one message for each API process."""
        if commands := _reply_commands(replies):
            self._work.call(*commands)

    def announce(self, presence: PredictorPresence) -> None:
        """Count as present for the next seconds; removes dead predictors, and counts the live ones."""
        *_, members = self._call(
            ("SET", self._presence, wire.encode(presence), "EX", wire.PRESENCE_TTL_SECONDS),
            ("SADD", self._members, self._worker_id),
            ("SMEMBERS", self._members),
        )
        (presences,) = self._call(("MGET", *(wire.predictor_key(member.decode()) for member in members)))
        dead = [member for member, value in zip(members, presences, strict=True) if value is None]
        self._peers = max(1, len(members) - len(dead))
        if dead:
            self._call(("SREM", self._members, *dead))

    def withdraw(self) -> None:
        """Stop counting as present, at once."""
        self._call(("DEL", self._presence), ("SREM", self._members, self._worker_id))

    def read_presence(self) -> PredictorPresence | None:
        """What the predictor with this worker id last announced, unless that has expired."""
        value = self._call(("GET", self._presence))[0]
        return None if value is None else wire.decode_presence(value)

    def interrupt(self) -> None:
        """Make `receive` return now, or the next time it is called."""
        self.send_control([""])

    def send_control(self, messages: Iterable[str]) -> None:
        """Send control messages to the predictor with this worker id: artifacts to preload, for example."""
        if blobs := [message.encode() for message in messages]:
            self._call(("RPUSH", self._control, *blobs), ("EXPIRE", self._control, wire.REPLY_TTL_SECONDS))

    def close(self) -> None:
        """Disconnect."""
        self._work.close()
        with self._side_lock:
            self._side.close()

    def _call(self, *commands: Command) -> list[Any]:
        """Results of commands on the connection that does not wait for requests."""
        with self._side_lock:
            return self._side.call(*commands)


def _decode_request(blob: bytes) -> Request | None:
    try:
        return wire.decode_request(blob)
    except msgspec.MsgspecError:
        logger.exception("dropped a request that cannot be decoded")
        return None


def _reply_commands(replies: Iterable[tuple[str, Reply]]) -> list[Command]:
    """Redis commands that send replies: one push for each reply list."""
    by_list: dict[str, list[Reply]] = {}
    for key, reply in replies:
        by_list.setdefault(key, []).append(reply)
    return [
        *(("RPUSH", key, wire.encode(batch)) for key, batch in by_list.items()),
        *(("EXPIRE", key, wire.REPLY_TTL_SECONDS) for key in by_list),
    ]
