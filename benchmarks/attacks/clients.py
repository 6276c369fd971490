"""The ordinary clients, a process of its own: an order on its stdin, what each request took on its stdout.

Each client sends its next request some time after its last answer: two hundred of them are a busy service,
not a full one.
"""

import asyncio
import sys
import time
from collections.abc import Sequence

import msgspec
import numpy as np
import uvloop

from benchmarks.serving.generator.connection import Connection, Reply

MISSED_SECONDS = 60.0  # after which a request counts as never answered


class Group(msgspec.Struct):
    """Clients that ask the same."""

    name: str
    request: bytes
    clients: int
    pause: float  # seconds between an answer and the next request, on average
    expected: bytes | None = None  # the only right body; None: any with status 200


class Order(msgspec.Struct):
    """What a process is to do until its stdin ends."""

    port: int
    groups: list[Group]
    seed: int = 0


class Sample(msgspec.Struct, array_like=True):
    """One request."""

    group: str
    sent: float  # epoch seconds
    seconds: float
    status: int  # 0: the connection ended
    wrong: bool


class Client:
    """One connection at a time, opened again where it ends."""

    def __init__(self, group: Group, port: int, samples: list[Sample], rng: np.random.Generator) -> None:
        self._group, self._port, self._samples, self._rng = group, port, samples, rng

    async def run(self, ended: asyncio.Event) -> None:
        """Ask until the end."""
        connection: Connection | None = None
        while not ended.is_set():
            await asyncio.sleep(self._rng.exponential(self._group.pause))
            sent = time.time()
            try:
                if connection is None or not connection.alive:
                    connection = await self._connect()
                status, body = await self._ask(connection)
            except (OSError, TimeoutError):
                status, body, connection = 0, b"", None
            wrong = status == 200 and self._group.expected not in (None, body)
            self._samples.append(Sample(self._group.name, sent, time.time() - sent, status, wrong))
        if connection is not None and connection.alive:
            connection.abort()
            await asyncio.sleep(0)  # in which it is closed

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(MISSED_SECONDS):
            _, connection = await loop.create_connection(
                lambda: Connection(_deliver), "127.0.0.1", self._port
            )
        return connection

    async def _ask(self, connection: Connection) -> Reply:
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def resolve(_: Connection, reply: Reply) -> None:
            if not answer.done():
                answer.set_result(reply)

        connection.answered = resolve
        connection.send(self._group.request, 0, 0.0)
        async with asyncio.timeout(MISSED_SECONDS):
            return await answer


def _deliver(connection: Connection, reply: Reply) -> None:
    """What comes before anything was asked is nobody's answer."""


async def serve(order: Order) -> list[Sample]:
    """Ask until stdin ends, and give the samples."""
    ended, samples = asyncio.Event(), list[Sample]()
    rng = np.random.default_rng(order.seed)
    clients = [
        Client(group, order.port, samples, rng.spawn(1)[0])
        for group in order.groups
        for _ in range(group.clients)
    ]
    tasks = [asyncio.create_task(client.run(ended)) for client in clients]
    print("begun", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
    ended.set()
    await asyncio.gather(*tasks)
    return samples


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of them does not exceed; 0 without any."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0


if __name__ == "__main__":
    written = uvloop.run(serve(msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)))
    sys.stdout.buffer.write(msgspec.json.encode(written))
