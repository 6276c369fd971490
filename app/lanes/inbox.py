"""The predictor side of a lane: receive, reply, be present."""

import logging
import threading
from collections.abc import Iterable
from typing import Any

import msgspec

from app.lanes import wire
from app.lanes.links import Command, Link
from app.lanes.wire import Presence, Reply, Request

logger = logging.getLogger(__name__)


class Unsupported(Exception):
    """The server lacks a command."""


class Inbox:
    """One predictor's end. `receive`, `orders`, `drops` and `reply` belong to one thread, the rest to any."""

    def __init__(self, url: str, lane: str, worker_id: str) -> None:
        self._lane = wire.lane_key(lane)
        self._members = wire.predictors_key(lane)
        self._worker_id = worker_id
        self._presence = wire.predictor_key(worker_id)
        self._control = wire.control_key(worker_id)
        self._work = Link(url, within=wire.BLOCK_SECONDS + 1)
        self._side, self._aside = Link(url, within=1.0), threading.Lock()
        self._orders: list[str] = []
        self._drops: list[tuple[str, int]] = []
        self._depth = 0  # requests that the last reply left in the lane
        self._peers = 1  # predictors that live on the lane, this one included

    def check(self) -> None:
        """Raise `Unsupported` when the server is older than Redis 7."""
        if self._work.call(("COMMAND", "INFO", "BLMPOP"))[0] in ([], [None]):
            raise Unsupported("Prediction lanes need BLMPOP: Redis 7 or newer, or Valkey.")

    def share(self, limit: int) -> int:
        """How many of `limit` requests to take, so that the others on the lane get as many."""
        peers = self._peers
        return limit if self._depth > limit * peers else -(-limit // peers)

    def receive(
        self,
        limit: int,
        within: float = wire.BLOCK_SECONDS,
        replies: Iterable[tuple[str, Reply]] = (),
        *,
        wait: bool = True,
    ) -> list[Request]:
        """A fair share of `limit` requests; sleeps in the server until one, an order, or `within` seconds.

        `replies` leave in the same write: one turn of the loop is one trip. Without `wait` it never sleeps.
        """
        pop: Command = (2, self._control, self._lane, "LEFT", "COUNT", self.share(limit))
        seconds = min(max(within, 0.001), wire.BLOCK_SECONDS)  # zero would be forever
        pop = ("BLMPOP", f"{seconds:.3f}", *pop) if wait else ("LMPOP", *pop)
        answered = _answers(replies)
        *counts, found = self._work.call(*answered, *((("LLEN", self._lane),) if answered else ()), pop)
        if counts:
            self._depth = counts[-1]
        if found is None:
            self._depth = 0
            return []
        if found[0] == self._control.encode():
            self._heed([order.decode() for order in found[1] if order])
            return []
        return [request for blob in found[1] if (request := _request(blob)) is not None]

    def orders(self) -> list[str]:
        """Artifacts to load ahead of their use, named since the last call."""
        orders, self._orders = self._orders, []
        return orders

    def _heed(self, orders: list[str]) -> None:
        for order in orders:
            if (request := wire.cancelled(order)) is not None:
                self._drops.append(request)
            else:
                self._orders.append(order)

    def drops(self) -> list[tuple[str, int]]:
        """Requests that nobody waits for any more, named since the last call: reply list and number."""
        drops, self._drops = self._drops, []
        return drops

    def post(self, replies: Iterable[tuple[str, Reply]]) -> None:
        """Send replies while there is more to compute; nobody waits for them to arrive."""
        if answered := _answers(replies):
            self._work.post(*answered)

    def reply(self, replies: Iterable[tuple[str, Reply]]) -> None:
        """Answer everything in one pipeline: one message for each API process."""
        if answered := _answers(replies):
            self._work.call(*answered)

    def announce(self, presence: Presence) -> None:
        """Be present for the next few seconds, and learn who else is; names of the dead are struck off."""
        *_, members = self._call(
            ("SET", self._presence, wire.encode(presence), "EX", wire.PRESENCE_SECONDS),
            ("SADD", self._members, self._worker_id),
            ("SMEMBERS", self._members),
        )
        (found,) = self._call(("MGET", *(wire.predictor_key(member.decode()) for member in members)))
        dead = [member for member, value in zip(members, found, strict=True) if value is None]
        self._peers = max(1, len(members) - len(dead))
        if dead:
            self._call(("SREM", self._members, *dead))

    def withdraw(self) -> None:
        """Be gone at once."""
        self._call(("DEL", self._presence), ("SREM", self._members, self._worker_id))

    def presence(self) -> Presence | None:
        """What this worker id last announced, if that still holds."""
        value = self._call(("GET", self._presence))[0]
        return None if value is None else wire.decode_presence(value)

    def interrupt(self) -> None:
        """Make `receive` return now, or the next time it is called."""
        self.order([""])

    def order(self, artifacts: Iterable[str]) -> None:
        """Have this worker id load artifacts ahead of their use."""
        if names := [name.encode() for name in artifacts]:
            self._call(("RPUSH", self._control, *names), ("EXPIRE", self._control, wire.REPLY_SECONDS))

    def close(self) -> None:
        """Disconnect."""
        self._work.close()
        with self._aside:
            self._side.close()

    def _call(self, *commands: Command) -> list[Any]:
        with self._aside:
            return self._side.call(*commands)


def _request(blob: bytes) -> Request | None:
    try:
        return wire.decode_request(blob)
    except msgspec.MsgspecError:
        logger.exception("dropped a request that cannot be read")
        return None


def _answers(replies: Iterable[tuple[str, Reply]]) -> list[Command]:
    by_process: dict[str, list[Reply]] = {}
    for key, reply in replies:
        by_process.setdefault(key, []).append(reply)
    return [
        *(("RPUSH", key, wire.encode(batch)) for key, batch in by_process.items()),
        *(("EXPIRE", key, wire.REPLY_SECONDS) for key in by_process),
    ]
