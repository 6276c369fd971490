"""Limits on the rate of requests: a token bucket for each key, in Redis for all API processes.

While Redis does not answer each process counts by itself, so that requests go on.
"""

import logging
import math
import time
from collections import OrderedDict

from app.errors import LimitReached
from app.infrastructure.outages import OutageLog
from app.infrastructure.redis_failures import REDIS_FAILURES
from app.lanes.redis_connections import AsyncRedisConnection
from app.services.access.callers import Caller

logger = logging.getLogger(__name__)

MAX_BUCKETS = 4096  # that this process counts by itself
BURST_SECONDS = 1.0  # of a key's rate may be used at once
REDIS_TIMEOUT_SECONDS = 0.25
DISTRUST_SECONDS = 1.0  # after a failure of Redis, before it is asked again

# The generic cell rate algorithm (ITU-T I.371): of a bucket only the time is kept at which it is full again.
# Returns the seconds until a request is allowed; "0" when it is, and counts it. Its arguments: rate, burst.
COUNT_REQUEST = """
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
local interval, burst = 1 / ARGV[1], ARGV[2] / ARGV[1]
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now) + interval
if full - now > burst + 1e-6 then
  return string.format('%.6f', full - now - burst)
end
redis.call('SET', KEYS[1], string.format('%.6f', full), 'PX', math.ceil(1000 * (full - now)) + 1)
return '0'
"""


class LocalBuckets:
    """Token buckets of this process."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, and when counted

    def take(self, name: str, rate: float, burst: float) -> float:
        """Take a token; returns the seconds until there is one, 0 where it is taken."""
        now = time.monotonic()
        tokens, counted = self._buckets.get(name, (burst, now))
        tokens = min(burst, tokens + (now - counted) * rate)
        allowed = tokens >= 1
        self._buckets[name] = tokens - allowed, now
        self._buckets.move_to_end(name)
        while len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - tokens) / rate


class RequestRates:
    """Counts the requests of keys that have a limit on them."""

    def __init__(self, url: str, prefix: str) -> None:
        self._connection, self._prefix = AsyncRedisConnection(url), f"{prefix}rate:"
        self._local = LocalBuckets()
        self._outage = OutageLog(logger, "requests of keys are counted by each process")
        self._distrusted_until = -math.inf  # on the monotonic clock

    async def count(self, caller: Caller) -> None:
        """Count a request; raises `LimitReached` where the key has made too many lately."""
        rate = caller.limits.requests_per_second
        if rate is None or caller.key_id is None:
            return
        wait = await self._take(caller.key_id, rate, max(1.0, rate * BURST_SECONDS))
        if wait > 0:
            raise LimitReached(f"This key may make {rate:g} requests a second", retry_after=math.ceil(wait))

    async def close(self) -> None:
        """Disconnect."""
        await self._connection.close()

    async def _take(self, key_id: str, rate: float, burst: float) -> float:
        if time.monotonic() >= self._distrusted_until:
            command = "EVAL", COUNT_REQUEST, 1, self._prefix + key_id, repr(rate), repr(burst)
            try:
                (wait,) = await self._connection.call(command, within=REDIS_TIMEOUT_SECONDS)
            except REDIS_FAILURES as error:
                self._outage.failed(error or "no answer in time")
                self._distrusted_until = time.monotonic() + DISTRUST_SECONDS
            else:
                self._outage.worked()
                return float(wait)
        return self._local.take(key_id, rate, burst)
