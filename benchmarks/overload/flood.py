"""More requests than a server can take, from a process of its own: order on stdin, report on stdout.

A request that is due while every connection waits for an answer is not sent, and counted as such: latency is
that of requests which the server was given, from the time at which it was given them.
"""

import asyncio
import gc
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import cast

import msgspec
import uvloop

from benchmarks.serving.generator.connection import Connection, Reply
from benchmarks.serving.generator.messages import Corpus, load_corpus
from benchmarks.serving.generator.timer import Alarm
from benchmarks.serving.generator.verification import percentiles, right

GRACE = 10.0  # seconds that requests under way at the end may still take
AGAIN = b"retry-after:"


class Flood(msgspec.Struct):
    """What to send; times of time.monotonic, which all processes share."""

    port: int
    path: str
    corpus: str  # a file
    connections: int
    begin: float
    seconds: float
    rate: float = 0.0  # of arrivals a second; 0: each client asks again when it is answered
    patient: bool = False  # clients wait as long as Retry-After says before they ask again
    seed: int = 0


class Wreckage(msgspec.Struct):
    """What became of it; latencies in milliseconds."""

    expected: int  # arrivals that were due
    offered: int  # requests that were sent
    statuses: dict[int, int]  # 0: no answer
    wrong: int
    p50: float  # of right answers
    p99: float
    refused_p50: float
    refused_p99: float
    cpu: float  # of a core, spent by this process


class Client(Connection):
    """A connection that notes how long it is asked to wait."""

    pause = 0.0

    def data_received(self, data: bytes) -> None:
        """Look for the header before the answer is told."""
        at = data.lower().find(AGAIN)
        self.pause = float(data[at + len(AGAIN) :].split(b"\r", 1)[0]) if at >= 0 else 0.0
        super().data_received(data)


class Sender:
    """All connections and what came back on them."""

    def __init__(self, flood: Flood, corpus: Corpus) -> None:
        self._flood, self._corpus = flood, corpus
        head = f"POST {flood.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        self._requests = [
            f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in corpus.bodies
        ]
        self._end = flood.begin + flood.seconds
        self._source = random.Random(flood.seed)  # noqa: S311 - a repeatable load, no secret
        self._loop = asyncio.get_running_loop()
        self._idle: list[Client] = []
        self._clients: set[Client] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._due = flood.begin
        self._expected = self._offered = self._wrong = 0
        self._statuses: Counter[int] = Counter()
        self._right: list[float] = []
        self._refused: list[float] = []

    async def run(self) -> Wreckage:
        """For the whole time, and until all is answered or given up."""
        await asyncio.gather(*(self._open() for _ in range(self._flood.connections)))
        begun = time.process_time()
        alarm = Alarm(self._loop, self._arrive)
        if self._flood.rate:
            alarm.set(self._flood.begin)
        await asyncio.sleep(max(0.0, self._flood.begin - time.monotonic()))
        if not self._flood.rate:
            for client in list(self._idle):
                self._ask(client)
        await asyncio.sleep(self._end - time.monotonic())
        cpu = (time.process_time() - begun) / self._flood.seconds
        while any(one.busy for one in self._clients) and time.monotonic() < self._end + GRACE:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        alarm.close()
        self._statuses[0] += sum(one.busy for one in self._clients)
        good, bad = percentiles(self._right), percentiles(self._refused)
        return Wreckage(self._expected, self._offered, dict(self._statuses), self._wrong, *good, *bad, cpu)

    async def _open(self) -> None:
        _, client = await self._loop.create_connection(
            lambda: Client(self._answered), "127.0.0.1", self._flood.port
        )
        self._clients.add(client)
        self._idle.append(client)

    def _arrive(self, alarm: Alarm) -> None:
        now = time.monotonic()
        while self._due <= now and self._due < self._end:
            self._expected += 1
            while self._idle:
                client = self._idle.pop()
                if client.alive:
                    self._send(client)
                    break
                self._replace(client)  # the server closes those that are idle for long
            self._due += self._source.expovariate(self._flood.rate)
        if self._due < self._end:
            alarm.set(self._due)

    def _replace(self, client: Client) -> None:
        self._clients.discard(client)
        task = self._loop.create_task(self._open())
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def _ask(self, client: Client) -> None:
        if not client.alive:
            self._replace(client)
        elif time.monotonic() < self._end:
            self._expected += 1
            self._send(client)

    def _send(self, client: Client) -> None:
        index = self._offered % len(self._requests)
        self._offered += 1
        client.send(self._requests[index], index, time.monotonic())

    def _answered(self, client: Connection, reply: Reply) -> None:
        connection = cast("Client", client)
        status, body = reply
        taken = 1000 * (time.monotonic() - connection.sent)
        self._statuses[status] += 1
        if status == 200:
            self._right.append(taken)
            self._wrong += not right(body, self._corpus.outputs[connection.index])
        else:
            self._refused.append(taken)
        if not connection.alive:
            self._replace(connection)
        elif self._flood.rate:
            self._idle.append(connection)
        elif self._flood.patient and connection.pause:
            self._loop.call_later(connection.pause, self._ask, connection)
        else:
            self._ask(connection)


def main() -> None:
    """Order from stdin, report to stdout."""
    flood = msgspec.json.decode(sys.stdin.buffer.read(), type=Flood)
    corpus = load_corpus(Path(flood.corpus))
    gc.disable()  # a collection in the middle would be measured as the server's latency

    async def run() -> Wreckage:
        return await Sender(flood, corpus).run()

    sys.stdout.buffer.write(msgspec.msgpack.encode(uvloop.run(run())))  # JSON has no NaN


if __name__ == "__main__":
    main()
