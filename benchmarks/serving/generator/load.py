"""The load generator, a process of its own: an order on its stdin, a report on its stdout.

Closed loop: each connection sends its next request when the last one is answered. Open loop: Poisson
arrivals whatever the server does; latency counts from the time a request should have been sent.
"""

import asyncio
import gc
import random
import sys
import time
from collections import deque
from pathlib import Path

import msgspec
import uvloop

from benchmarks.serving.generator.connection import Connection, Reply
from benchmarks.serving.generator.messages import Corpus, Order, Report, load_corpus
from benchmarks.serving.generator.timer import Alarm
from benchmarks.serving.generator.verification import Finished, judge

GRACE = 5.0  # seconds that requests under way at the end may still take
POOL = 128  # connections of an open loop
MISSED = b"no answer in time"


def requests(order: Order, corpus: Corpus) -> list[bytes]:
    """Every body with its head."""
    head = (
        f"POST {order.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: "
    )
    return [f"{head}{len(body)}\r\n\r\n".encode() + body for body in corpus.bodies]


class Load:
    """What both loops share: connections, replaced when they end, and what came back."""

    def __init__(self, order: Order, corpus: Corpus) -> None:
        self.order = order
        self.requests = requests(order, corpus)
        self.finished: list[Finished] = []
        self.connections: list[Connection] = []
        self.loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[None]] = set()
        self._next = order.seed % len(self.requests)
        self.begin = time.monotonic() + order.warmup
        self.end = self.begin + order.seconds

    def take(self) -> int:
        """The next body's number."""
        self._next = (self._next + 1) % len(self.requests)
        return self._next

    async def connect(self, count: int) -> None:
        """Open connections, and hand each to `ready`."""
        for _ in range(count):
            _, made = await self.loop.create_connection(
                lambda: Connection(self.answered), "127.0.0.1", self.order.port
            )
            self.connections.append(made)
            self.ready(made)

    def answered(self, connection: Connection, reply: Reply) -> None:
        """Note the end of a request, and go on with the connection or another one."""
        self.note(connection, reply, time.monotonic())
        if connection.alive:
            self.ready(connection)
            return
        self.connections.remove(connection)
        task = self.loop.create_task(self.connect(1))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def ready(self, connection: Connection) -> None:
        """Use a connection that has nothing to do."""
        raise NotImplementedError

    def note(self, connection: Connection, reply: Reply, now: float) -> None:
        """Keep the end of a request."""
        raise NotImplementedError

    async def settled(self) -> None:
        """Wait at most `GRACE` for requests that are still under way at the end."""
        deadline = self.end + GRACE
        while any(one.busy for one in self.connections) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


class Closed(Load):
    """As many requests under way as there are connections."""

    def ready(self, connection: Connection) -> None:
        """Send the next request, until the end."""
        now = time.monotonic()
        if now < self.end:
            index = self.take()
            connection.send(self.requests[index], index, now)

    def note(self, connection: Connection, reply: Reply, now: float) -> None:
        """Count what ends within the measurement."""
        if self.begin <= now < self.end:
            self.finished.append(Finished(connection.index, now - connection.sent, *reply))

    async def run(self) -> list[Finished]:
        """For the whole time; requests that get no answer at all are errors."""
        await self.connect(self.order.clients)
        await asyncio.sleep(self.end - time.monotonic())
        await self.settled()
        return self.finished + [Finished(one.index, 0.0, 0, MISSED) for one in self.connections if one.busy]


class Open(Load):
    """Arrivals at random times at a given rate, sent on an idle connection or as soon as there is one."""

    def __init__(self, order: Order, corpus: Corpus) -> None:
        super().__init__(order, corpus)
        self._idle: list[Connection] = []
        self._waiting: deque[tuple[int, float]] = deque()  # body and time due
        self._due = self.begin
        self._source = random.Random(order.seed)  # noqa: S311 - a repeatable load, no secret
        self._arrived = 0

    def ready(self, connection: Connection) -> None:
        """Send what waits longest, or keep the connection for the next arrival."""
        if self._waiting:
            index, due = self._waiting.popleft()
            connection.send(self.requests[index], index, due)
        else:
            self._idle.append(connection)

    def note(self, connection: Connection, reply: Reply, now: float) -> None:
        """Count what was due within the measurement."""
        if connection.sent >= self.begin:
            self.finished.append(Finished(connection.index, now - connection.sent, *reply))

    def arrive(self, alarm: Alarm) -> None:
        """All that are due by now."""
        now = time.monotonic()
        while self._due <= now and self._due < self.end:
            self._arrived += self._due >= self.begin
            self._waiting.append((self.take(), self._due))
            while self._idle and self._waiting:
                if (connection := self._idle.pop()).alive:
                    self.ready(connection)
            self._due += self._source.expovariate(self.order.rate)
        if self._due < self.end:
            alarm.set(self._due)

    async def run(self) -> list[Finished]:
        """For the whole time; requests that get no answer are errors."""
        await self.connect(POOL)
        self.begin = time.monotonic() + self.order.warmup
        self.end = self.begin + self.order.seconds
        self._due = time.monotonic()
        alarm = Alarm(self.loop, self.arrive)
        alarm.set(self._due)
        await asyncio.sleep(self.end - time.monotonic())
        await self.settled()
        alarm.close()
        return self.finished + [Finished(0, 0.0, 0, MISSED)] * (self._arrived - len(self.finished))


async def drive(order: Order, corpus: Corpus) -> Report:
    """Carry an order out."""
    load = Open(order, corpus) if order.rate else Closed(order, corpus)
    begun, wall = time.process_time(), time.monotonic()
    finished = await load.run()
    cpu = (time.process_time() - begun) / (time.monotonic() - wall)
    for connection in load.connections:
        connection.abort()
    return judge(order, corpus, finished, cpu)


def main() -> None:
    """Order from stdin, report to stdout."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    corpus = load_corpus(Path(order.corpus))
    gc.disable()  # a collection in the middle would be measured as the server's latency
    report = uvloop.run(drive(order, corpus))
    sys.stdout.buffer.write(msgspec.json.encode(report))


if __name__ == "__main__":
    main()
