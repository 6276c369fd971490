"""A cache of what the database says about names: requests neither wait for the database nor outlive a change.

What was read lately is answered from memory. From some age on it is read again in the background, and above
`MAX_AGE_SECONDS` a request waits for that. During an outage of the database what was read last stays in use.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from math import inf
from typing import Generic, NamedTuple, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from app.errors import AppError, QueueFull

Key = TypeVar("Key")
Value = TypeVar("Value")

MAX_AGE_SECONDS = 1.0  # of a cached value; a change whose notice was lost takes effect within them
LOOKUP_TIMEOUT_SECONDS = 1.0  # that a request waits for a hanging database where it has a stale value
REFRESH_AGE_SECONDS = 0.5  # from this age on a value in use is renewed in the background


class Entry(NamedTuple, Generic[Value]):
    """What was read, or taken for still true, at `checked_at`."""

    checked_at: float  # on the monotonic clock
    read_at: float  # likewise: from the database
    value: Value


class LookupCache(Generic[Key, Value]):
    """Values by key, as `read` gives them; it raises an `AppError` for a key that has none.

    A cache belongs to one event loop. A value that the database has not confirmed for `max_outage_seconds` is
    no longer used.
    """

    def __init__(
        self,
        read: Callable[[Key], Awaitable[Value]],
        max_entries: int,
        max_outage_seconds: float = inf,
    ) -> None:
        self.max_entries = max_entries
        self._read, self._max_outage_seconds = read, max_outage_seconds
        self.entries: OrderedDict[Key, Entry[Value]] = OrderedDict()
        self.lookups: dict[Key, asyncio.Task[Value]] = {}  # each shared by all who wait
        self._invalidations = 0

    async def get(self, key: Key) -> Value:
        """The value of a key, at most `MAX_AGE_SECONDS` old while the database answers."""
        entry = self.entries.get(key)
        age = inf if entry is None else time.monotonic() - entry.checked_at
        if entry is None or age >= MAX_AGE_SECONDS:
            return await self._look_up(key, entry)
        if age >= REFRESH_AGE_SECONDS and key not in self.lookups:
            self._start_lookup(key)  # in the background
        return entry.value

    def forget(self, concerns: Callable[[Key], bool]) -> None:
        """Forget the values of some keys, as they have changed."""
        self._invalidations += 1
        for key in [key for key in (*self.entries, *self.lookups) if concerns(key)]:
            self.entries.pop(key, None)
            self.lookups.pop(key, None)

    def distrust(self) -> None:
        """Make every value stale: notices may have been missed. They still serve during an outage."""
        self._invalidations += 1
        self.lookups.clear()
        for key, entry in self.entries.items():
            self.entries[key] = entry._replace(checked_at=-inf)

    async def _look_up(self, key: Key, last: Entry[Value] | None) -> Value:
        lookup = self.lookups.get(key) or self._start_lookup(key)
        try:
            async with asyncio.timeout(None if last is None else LOOKUP_TIMEOUT_SECONDS):
                return await asyncio.shield(lookup)  # others may wait on when this caller is cancelled
        except (SQLAlchemyError, TimeoutError):
            now = time.monotonic()
            if last is None or now - last.read_at > self._max_outage_seconds:
                raise
            if self.entries.get(key) is last:
                self.entries[key] = last._replace(checked_at=now)
            return last.value

    def _start_lookup(self, key: Key) -> "asyncio.Task[Value]":
        lookup = self.lookups[key] = asyncio.create_task(self._fetch(key))
        lookup.add_done_callback(partial(self._end_lookup, key))
        return lookup

    def _end_lookup(self, key: Key, lookup: "asyncio.Task[Value]") -> None:
        if self.lookups.get(key) is lookup:
            del self.lookups[key]
        if not lookup.cancelled():
            lookup.exception()  # retrieved here, because nobody else may be left to do so

    async def _fetch(self, key: Key) -> Value:
        invalidations, now = self._invalidations, time.monotonic()
        try:
            value = await self._read(key)
        except QueueFull:  # which says nothing of the key
            raise
        except AppError:
            self.entries.pop(key, None)
            raise
        if invalidations == self._invalidations:  # else it may have been read before the change
            self.entries[key] = Entry(now, now, value)
            self.entries.move_to_end(key)
            while len(self.entries) > self.max_entries:
                self.entries.popitem(last=False)
        return value
