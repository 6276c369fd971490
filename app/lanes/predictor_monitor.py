"""Which predictors serve a lane, and what happens when one is gone."""

import asyncio
import logging
import time
from collections.abc import Callable

import msgspec

from app.infrastructure.outages import OutageLog
from app.infrastructure.redis_failures import REDIS_FAILURES
from app.lanes import wire
from app.lanes.redis_connections import AsyncRedisConnection, Command
from app.lanes.wire import PredictorPresence

logger = logging.getLogger(__name__)

PROBE_INTERVAL_SECONDS = 0.5  # how long the last probe's result is trusted
REDIS_TIMEOUT_SECONDS = 0.9  # a Redis that takes longer counts as unreachable
NO_PREDICTOR = "No serving worker is running; try again shortly."
NO_REDIS = "The queue is unreachable; try again shortly."


class PredictorMonitor:
    """Probes Redis for a lane's predictors on demand, at most twice a second.

    `on_unavailable` is called with the reason when no predictor can answer any more, `on_death` with the
    instance ids of predictors that are gone.
    """

    def __init__(
        self,
        url: str,
        lane: str,
        on_unavailable: Callable[[str], None],
        on_death: Callable[[set[str]], None],
    ) -> None:
        self._lane, self._members = wire.lane_key(lane), wire.predictors_key(lane)
        self._connection = AsyncRedisConnection(url)
        self._on_unavailable, self._on_death = on_unavailable, on_death
        self._outage = OutageLog(logger, "lane probe failed")
        self._probing = asyncio.Lock()
        self._probed = float("-inf")  # when the last probe ended
        self._timed_out = False  # whether the last probe, and none before it, had no answer in time
        self.predictors: list[PredictorPresence] = []
        self.depth = 0  # requests of all processes in the lane at the last probe
        self.unavailable: str | None = NO_PREDICTOR  # why no request can be sent, if so

    async def probe(self) -> None:
        """Refresh what is known of the lane, unless the last probe is recent enough."""
        async with self._probing:
            if time.monotonic() - self._probed < PROBE_INTERVAL_SECONDS:
                return
            before = {predictor.instance_id for predictor in self.predictors}
            try:
                self.predictors = await self._read_predictors()
                self.unavailable, self._timed_out = None if self.predictors else NO_PREDICTOR, False
                self._outage.worked()
            except (*REDIS_FAILURES, msgspec.MsgspecError) as error:
                self._outage.failed(error or "no answer in time")
                self._timed_out = isinstance(error, TimeoutError) and not self._timed_out
                if not self._timed_out:  # a single pause, of Redis or of this process, is no outage
                    self.predictors, self.unavailable = [], NO_REDIS
            self._probed = time.monotonic()
        if self.unavailable is not None:
            self._on_unavailable(self.unavailable)
        elif gone := before - {predictor.instance_id for predictor in self.predictors}:
            self._on_death(gone)

    async def _read_predictors(self) -> list[PredictorPresence]:
        """Read the presence of each predictor and, on the way, the lane's depth."""
        commands = ("SMEMBERS", self._members), ("LLEN", self._lane)
        members, self.depth = await self._connection.call(*commands, within=REDIS_TIMEOUT_SECONDS / 2)
        if not members:
            return []
        keys = [wire.predictor_key(member.decode()) for member in members]
        (values,) = await self._connection.call(("MGET", *keys), within=REDIS_TIMEOUT_SECONDS / 2)
        return [wire.decode_presence(value) for value in values if value is not None]

    async def preload(self, artifact: str) -> None:
        """Have every reachable predictor load a version before it is used."""
        await self.probe()
        try:
            async with self._probing:
                if commands := self.control_commands(artifact):
                    await self._connection.call(*commands, within=REDIS_TIMEOUT_SECONDS)
        except REDIS_FAILURES as error:
            logger.warning("lane preload failed: %s", error or "no answer in time")

    def control_commands(self, message: str) -> list[Command]:
        """Redis commands that send a control message to every predictor of the last probe."""
        keys = [wire.control_key(predictor.worker_id) for predictor in self.predictors]
        pushes = [("RPUSH", key, message) for key in keys]
        return [*pushes, *(("EXPIRE", key, wire.PRESENCE_TTL_SECONDS) for key in keys)]

    async def close(self) -> None:
        """Disconnect."""
        await self._connection.close()
