"""Limits on the rate of requests: a token bucket for each key, in this process."""

import math
import time
from collections import OrderedDict

from app.errors import LimitReached
from app.services.access.callers import Caller

MAX_BUCKETS = 4096
BURST_SECONDS = 1.0  # of a key's rate may be used at once


class RequestRates:
    """Counts the requests of keys that have a limit on them."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, and when counted

    def count(self, caller: Caller) -> None:
        """Count a request; raises `LimitReached` where the key has made too many lately."""
        rate = caller.limits.requests_per_second
        if rate is None or caller.key_id is None:
            return
        now, burst = time.monotonic(), max(1.0, rate * BURST_SECONDS)
        tokens, counted = self._buckets.get(caller.key_id, (burst, now))
        tokens = min(burst, tokens + (now - counted) * rate)
        if tokens < 1:
            self._buckets[caller.key_id] = tokens, now
            raise LimitReached(
                f"This key may make {rate:g} requests a second", retry_after=math.ceil((1 - tokens) / rate)
            )
        self._buckets[caller.key_id] = tokens - 1, now
        self._buckets.move_to_end(caller.key_id)
        while len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)
