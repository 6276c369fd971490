"""The predictor side of a lane: receive, reply, be present."""

import logging
from collections.abc import Iterable

import msgspec

from app.lanes import wire
from app.lanes.links import Link
from app.lanes.wire import Presence, Reply, Request

logger = logging.getLogger(__name__)


class Unsupported(Exception):
    """The server lacks a command."""


class Inbox:
    """One predictor's end. `receive` and `reply` belong to one thread, the other methods to another."""

    def __init__(self, url: str, lane: str, worker_id: str) -> None:
        self._lane = wire.lane_key(lane)
        self._members = wire.predictors_key(lane)
        self._worker_id = worker_id
        self._presence = wire.predictor_key(worker_id)
        self._control = wire.control_key(worker_id)
        self._work = Link(url, within=wire.BLOCK_SECONDS + 1)
        self._side = Link(url, within=1.0)

    def check(self) -> None:
        """Raise `Unsupported` when the server is older than Redis 7."""
        if self._work.call(("COMMAND", "INFO", "BLMPOP"))[0] in ([], [None]):
            raise Unsupported("Prediction lanes need BLMPOP: Redis 7 or newer, or Valkey.")

    def receive(self, limit: int) -> list[Request]:
        """Up to `limit` requests; sleeps in the server until one comes, `interrupt`, or two seconds."""
        pop = ("BLMPOP", wire.BLOCK_SECONDS, 2, self._control, self._lane, "LEFT", "COUNT", limit)
        found = self._work.call(pop)[0]
        if found is None or found[0] == self._control.encode():
            return []
        return [request for blob in found[1] if (request := _request(blob)) is not None]

    def reply(self, replies: Iterable[tuple[str, Reply]]) -> None:
        """Answer everything in one pipeline: one message for each API process."""
        by_process: dict[str, list[Reply]] = {}
        for key, reply in replies:
            by_process.setdefault(key, []).append(reply)
        if by_process:
            self._work.call(
                *(("RPUSH", key, wire.encode(batch)) for key, batch in by_process.items()),
                *(("EXPIRE", key, wire.REPLY_SECONDS) for key in by_process),
            )

    def announce(self, presence: Presence) -> None:
        """Be present for the next few seconds."""
        self._side.call(
            ("SET", self._presence, wire.encode(presence), "EX", wire.PRESENCE_SECONDS),
            ("SADD", self._members, self._worker_id),
        )

    def withdraw(self) -> None:
        """Be gone at once."""
        self._side.call(("DEL", self._presence), ("SREM", self._members, self._worker_id))

    def presence(self) -> Presence | None:
        """What this worker id last announced, if that still holds."""
        value = self._side.call(("GET", self._presence))[0]
        return None if value is None else wire.decode_presence(value)

    def interrupt(self) -> None:
        """Make `receive` return now, or the next time it is called."""
        self._side.call(("RPUSH", self._control, b""), ("EXPIRE", self._control, wire.PRESENCE_SECONDS))

    def close(self) -> None:
        """Disconnect."""
        self._work.close()
        self._side.close()


def _request(blob: bytes) -> Request | None:
    try:
        return wire.decode_request(blob)
    except msgspec.MsgspecError:
        logger.exception("dropped a request that cannot be read")
        return None
