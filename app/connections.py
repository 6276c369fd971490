"""The connections of the API server: how many there may be, and how long a client may keep one waiting."""

import asyncio
import heapq
import ipaddress
import resource
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

HEAD_SECONDS = 10.0  # for the head of a request, from its first byte
BODY_SECONDS, MIN_BODY_BYTES = 30.0, 1024  # so many bytes of a body have to come in each of these periods
READING_SECONDS = 60.0  # in which a client that is sent an answer has to read some of it
SWEEP_SECONDS = 1.0  # between two looks at all connections
EVICTED_AT_ONCE = 32  # connections that make room for new ones
SPARE_DESCRIPTORS = 256  # for files, databases and child processes
MAX_DESCRIPTORS = 1 << 16
NEW_CLIENT_PREFIX = 64  # bits of an IPv6 address that belong to one client


class Connection(Protocol):
    """A connection as the limits see it."""

    @property
    def client_address(self) -> str:
        """The address of the client; empty over a Unix socket."""
        ...

    @property
    def waiting_since(self) -> float | None:
        """When the server began to wait for the client, by the loop's clock; None where the client waits."""
        ...

    def check(self, now: float) -> None:
        """Close it if its client takes too long."""
        ...

    def evict(self) -> None:
        """Close it, as others need the room."""
        ...


@dataclass(frozen=True)
class ConnectionLimits:
    """How many connections there may be, of all clients and of each."""

    total: int
    per_client: int


class Connections:
    """The open connections: where there is no room, those make some that wait longest for their client."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._all: set[Connection] = set()
        self._by_client: defaultdict[str, set[Connection]] = defaultdict(set)
        self._sweeper: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._all)

    def admit(self, connection: Connection) -> bool:
        """Add a connection; False where there is no room for it."""
        same = self._by_client[client_of(connection.client_address)]
        if len(same) >= self._limits.per_client and not self._evict(same):
            return False
        if len(self._all) >= self._limits.total and not self._evict(self._all):
            return False
        self._by_client[client_of(connection.client_address)].add(connection)
        self._all.add(connection)
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)
        return True

    def remove(self, connection: Connection) -> None:
        """Forget a connection that was closed, if it is known."""
        self._all.discard(connection)
        client = client_of(connection.client_address)
        self._by_client[client].discard(connection)
        if not self._by_client[client]:
            del self._by_client[client]

    def _evict(self, candidates: Collection[Connection]) -> bool:
        waiting = [one for one in candidates if one.waiting_since is not None]
        longest = heapq.nsmallest(EVICTED_AT_ONCE, waiting, key=lambda one: one.waiting_since or 0.0)
        for connection in longest[: max(1, len(candidates) // 8)]:
            connection.evict()
            self.remove(connection)
        return bool(longest)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        for connection in list(self._all):
            connection.check(loop.time())
        self._sweeper = loop.call_later(SWEEP_SECONDS, self._sweep) if self._all else None


def client_of(address: str) -> str:
    """What counts as one client: an IPv4 address, or the network of an IPv6 address."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address.partition("%")[0], NEW_CLIENT_PREFIX), strict=False))
    except ValueError:
        return address


def raise_descriptor_limit(
    get: Callable[[int], tuple[int, int]] = resource.getrlimit,
    set_: Callable[[int, tuple[int, int]], None] = resource.setrlimit,
) -> int:
    """Let this process open as many files as it may be allowed to; returns how many that are."""
    soft, hard = get(resource.RLIMIT_NOFILE)
    allowed = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        try:
            set_(resource.RLIMIT_NOFILE, (allowed, hard))
        except (OSError, ValueError):  # macOS has a further limit of its own
            return soft
        return allowed
    return allowed if soft == resource.RLIM_INFINITY else soft


def limits_within(descriptors: int, total: int, per_client: int) -> ConnectionLimits:
    """The limits that so many descriptors leave room for."""
    spare = min(SPARE_DESCRIPTORS, descriptors // 2)
    total = max(1, min(total, descriptors - spare))
    return ConnectionLimits(total, min(per_client, total))
