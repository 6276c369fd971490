"""Who serves a lane: the predictors that are present, and what happens when one is gone."""

import asyncio
import logging
import time
from collections.abc import Callable

import msgspec

from app.lanes import wire
from app.lanes.links import FAILURES, Command, Pipe
from app.lanes.wire import Presence

logger = logging.getLogger(__name__)

PROBE_SECONDS = 0.5  # how long what is known of the predictors is believed
REDIS_SECONDS = 0.9  # a Redis that takes longer is away
NO_PREDICTOR = "No serving worker is running; try again shortly."
NO_REDIS = "The queue is unreachable; try again shortly."


class Lookout:
    """Asks Redis when it is asked to, and at most twice a second.

    `lost` is called with a reason when nobody can answer any more, `died` with the boots that are gone.
    """

    def __init__(
        self, url: str, lane: str, lost: Callable[[str], None], died: Callable[[set[str]], None]
    ) -> None:
        self._lane, self._members = wire.lane_key(lane), wire.predictors_key(lane)
        self._link = Pipe(url)
        self._lost, self._died = lost, died
        self._probing = asyncio.Lock()
        self._probed = float("-inf")
        self._slow = False  # the last probe, and none before it, had no answer in time
        self.present: list[Presence] = []
        self.depth = 0  # requests in the lane, of all processes, when last seen
        self.reason: str | None = NO_PREDICTOR  # why nothing can be sent, if so

    async def probe(self) -> None:
        """Look who is there, unless that is known."""
        async with self._probing:
            if time.monotonic() - self._probed < PROBE_SECONDS:
                return
            before = {presence.boot for presence in self.present}
            try:
                self.present = await self._look()
                self.reason, self._slow = None if self.present else NO_PREDICTOR, False
            except (*FAILURES, msgspec.MsgspecError) as error:
                logger.warning("lane probe failed: %s", error or "no answer in time")
                self._slow = isinstance(error, TimeoutError) and not self._slow
                if not self._slow:  # a single pause, there or here, is no outage
                    self.present, self.reason = [], NO_REDIS
            self._probed = time.monotonic()
        if self.reason is not None:
            self._lost(self.reason)
        elif gone := before - {presence.boot for presence in self.present}:
            self._died(gone)

    async def _look(self) -> list[Presence]:
        look = ("SMEMBERS", self._members), ("LLEN", self._lane)
        members, self.depth = await self._link.call(*look, within=REDIS_SECONDS / 2)
        if not members:
            return []
        keys = [wire.predictor_key(member.decode()) for member in members]
        values = (await self._link.call(("MGET", *keys), within=REDIS_SECONDS / 2))[0]
        return [wire.decode_presence(value) for value in values if value is not None]

    async def prepare(self, artifact: str) -> None:
        """Have every predictor load a version ahead of its use, as far as they can be told."""
        await self.probe()
        try:
            async with self._probing:
                if orders := self.orders(artifact):
                    await self._link.call(*orders, within=REDIS_SECONDS)
        except FAILURES as error:
            logger.warning("lane order failed: %s", error or "no answer in time")

    def orders(self, order: str) -> list[Command]:
        """What tells an order to every predictor that was last seen."""
        keys = [wire.control_key(presence.worker_id) for presence in self.present]
        pushed = [("RPUSH", key, order) for key in keys]
        return [*pushed, *(("EXPIRE", key, wire.PRESENCE_SECONDS) for key in keys)]

    async def close(self) -> None:
        """Disconnect."""
        await self._link.close()
