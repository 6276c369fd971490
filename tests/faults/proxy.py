"""A proxy that does to connections what networks do: delays, swallows, refuses, resets and cuts them.

What it swallows it holds back and delivers later, as TCP does: a fenced owner's statement may still arrive.
"""

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

PIECE = 1 << 16
PATIENCE = 10.0  # seconds that an order to the proxy may take
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: a close sends RST instead of FIN

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Trap:
    """Waits for bytes in what a client says, once others were seen; then the answer to them is lost."""

    def __init__(self, mark: bytes, after: bytes) -> None:
        self.mark, self.after = mark, after
        self.sprung = threading.Event()


class Link:
    """A client's connection, and the one to the server on its behalf."""

    def __init__(self, client: Streams, server: Streams) -> None:
        self.client, self.server = client, server
        self.answered = 0  # bytes
        self.doomed: Trap | None = None  # the next byte of the server's springs it
        self._said, self._armed = b"", False

    def watch(self, trap: Trap, data: bytes) -> None:
        """Look at what the client says."""
        self._said += data
        if not self._armed and (at := self._said.find(trap.after)) >= 0:
            self._said, self._armed = self._said[at + len(trap.after) :], True
        if self._armed and trap.mark in self._said:
            self.doomed = trap
        self._said = self._said[-max(len(trap.mark), len(trap.after)) :]

    def reset(self) -> None:
        """End both connections as a machine does that knows nothing of them."""
        for _, writer in (self.client, self.server):
            opened = writer.get_extra_info("socket")
            if opened is not None and opened.family != socket.AF_UNIX:
                with suppress(OSError):
                    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()


class Proxy:
    """Listens on 127.0.0.1 in a thread of its own; every fault is switched at run time."""

    def __init__(self, upstream: tuple[str, int] | Path, seed: int = 0) -> None:
        self._upstream = upstream
        self._random = random.Random(seed)  # noqa: S311 - a repeatable fault, no secret
        self._delay = self._jitter = self._lingering = 0.0
        self._limit: int | None = None
        self._trap: Trap | None = None
        self._links: set[Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server: asyncio.Server | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._order(self._open)
        return self

    def __exit__(self, *_: object) -> None:
        self._order(self._close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._links)

    def latency(self, seconds: float, jitter: float = 0.0) -> None:
        """Every piece comes so much later, and up to `jitter` more."""
        self._delay, self._jitter = seconds, jitter

    def slow_close(self, seconds: float) -> None:
        """The end of a connection is passed on so much later."""
        self._lingering = seconds

    def cut_after(self, answered: int | None) -> None:
        """Reset a connection once the server has said so many bytes on it."""
        self._limit = answered

    def lose_answer(self, mark: bytes, after: bytes = b"") -> Trap:
        """Once a client says `mark`, and `after` before it, reset its connection in place of the answer."""
        self._trap = Trap(mark, after)
        return self._trap

    def black_hole(self) -> None:
        """Accept and read, and pass nothing on."""
        self._order(self._stem)

    def refuse(self) -> None:
        """Reset all connections and refuse new ones."""
        self._order(self._shut)

    def reset(self) -> None:
        """Reset all connections; new ones are welcome."""
        self._order(self._reset)

    def heal(self) -> None:
        """No faults any more; what was held back is delivered."""
        self._delay = self._jitter = self._lingering = 0.0
        self._limit = self._trap = None
        self._order(self._open)

    def _order(self, what: Callable[[], Awaitable[None]]) -> None:
        async def do() -> None:
            await what()

        asyncio.run_coroutine_threadsafe(do(), self._loop).result(PATIENCE)

    async def _open(self) -> None:
        self._flowing.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, backlog=512)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _stem(self) -> None:
        self._flowing.clear()

    async def _reset(self) -> None:
        for link in list(self._links):
            link.reset()

    async def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._reset()

    async def _close(self) -> None:
        await self._shut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._flowing.wait()
            link = Link((reader, writer), await self._connect())
            self._links.add(link)
            try:
                await asyncio.gather(self._ask(link), self._answer(link))
            finally:
                self._links.discard(link)
                link.reset()
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _connect(self) -> Streams:
        if isinstance(self._upstream, Path):
            return await asyncio.open_unix_connection(self._upstream)
        return await asyncio.open_connection(*self._upstream)

    async def _ask(self, link: Link) -> None:
        """From the client to the server."""
        while data := await link.client[0].read(PIECE):
            await self._hold()
            if self._trap is not None:
                link.watch(self._trap, data)
            link.server[1].write(data)
            await link.server[1].drain()
        await self._pass_end(link.server[1])

    async def _answer(self, link: Link) -> None:
        """From the server to the client."""
        while data := await link.server[0].read(PIECE):
            await self._hold()
            if link.doomed is not None:
                self._trap = None
                link.reset()
                link.doomed.sprung.set()
                return
            link.answered += len(data)
            if self._limit is not None and link.answered >= self._limit:
                link.client[1].write(data[: len(data) - (link.answered - self._limit)])
                link.reset()
                return
            link.client[1].write(data)
            await link.client[1].drain()
        await self._pass_end(link.client[1])

    async def _hold(self) -> None:
        await self._flowing.wait()
        if self._delay or self._jitter:
            await asyncio.sleep(self._delay + self._random.uniform(0, self._jitter))

    async def _pass_end(self, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self._lingering)
        await self._flowing.wait()
        if writer.can_write_eof():
            with suppress(OSError):
                writer.write_eof()
