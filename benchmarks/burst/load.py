"""The clients of a burst, in a process of its own: order on stdin, report in the file it is given."""

import asyncio
import gc
import random
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import msgspec
import uvloop

BLANK = b"\r\n\r\n"
HOLD = 10  # seconds that a waiting client asks an answer to be held


class Burst(msgspec.Struct):
    """What to send."""

    port: int
    body: str  # of every submit, JSON
    jobs: int
    submitters: int  # connections, each in a closed loop
    pollers: int  # clients that ask with If-None-Match
    waiters: int  # and with Prefer: wait besides
    pause: float | None  # seconds a poller lets pass; None: as many as Retry-After says
    seed: int = 0


class Submit(msgspec.Struct):
    """One submit; times of time.monotonic."""

    job_id: str  # empty when it was not accepted
    sent: float
    answered: float
    status: int  # 0: no answer


class Report(msgspec.Struct):
    """What came of it; only polls within the burst count."""

    submits: list[Submit]
    polls: list[float]  # seconds, of polls that do not wait
    statuses: dict[int, int]  # of all polls
    woken: int  # answers that a waiting client got because something had changed
    cpu: float  # of a core, spent by this process


class Line:
    """A keep-alive connection; one that breaks is opened again by the next request."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, request: bytes) -> tuple[int, dict[bytes, bytes], bytes]:
        """Status, headers with names in lower case, and body; status 0 when there was no answer."""
        try:
            return await self._ask(request)
        except (OSError, EOFError):
            await self.close()
            return 0, {}, b""

    async def _ask(self, request: bytes) -> tuple[int, dict[bytes, bytes], bytes]:
        if self._writer is None or self._reader is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writer.write(request)
        first, *lines = (await self._reader.readuntil(BLANK)).removesuffix(BLANK).split(b"\r\n")
        pairs = (line.partition(b":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        body = await self._reader.readexactly(int(headers.get(b"content-length", 0)))
        return int(first.split()[1]), headers, body

    async def close(self) -> None:
        """Disconnect."""
        writer, self._reader, self._writer = self._writer, None, None
        if writer is not None:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


class Clients:
    """All of them, and what they saw."""

    def __init__(self, burst: Burst) -> None:
        self._burst = burst
        head = "POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        self._submit = f"{head}Content-Length: {len(burst.body)}\r\n\r\n{burst.body}".encode()
        self._left = burst.jobs
        self._submits: list[Submit] = []
        self._ids: list[str] = []
        self._polls: list[float] = []
        self._statuses: Counter[int] = Counter()
        self._woken = 0
        self._first = asyncio.Event()  # there is a job to poll
        self._over = False

    async def run(self) -> Report:
        """Until the last submit is answered."""
        sources = [random.Random(self._burst.seed + n) for n in range(self._burst.pollers)]  # noqa: S311
        waiting = [n < self._burst.waiters for n in range(self._burst.pollers)]
        followers = [
            asyncio.create_task(self._follow(source, waits=waits))
            for source, waits in zip(sources, waiting, strict=True)
        ]
        began, cpu = time.monotonic(), time.process_time()
        await asyncio.gather(*(self._submitter() for _ in range(self._burst.submitters)))
        share = (time.process_time() - cpu) / (time.monotonic() - began)
        self._over = True
        for task in followers:
            task.cancel()
        await asyncio.gather(*followers, return_exceptions=True)
        return Report(self._submits, self._polls, dict(self._statuses), self._woken, share)

    async def _submitter(self) -> None:
        line = Line(self._burst.port)
        while self._left > 0:
            self._left -= 1
            sent = time.monotonic()
            status, _, body = await line.ask(self._submit)
            answered = time.monotonic()
            job_id = str(msgspec.json.decode(body)["id"]) if status == 202 else ""
            self._submits.append(Submit(job_id, sent, answered, status))
            if job_id:
                self._ids.append(job_id)
                self._first.set()
        await line.close()

    async def _follow(self, source: random.Random, *, waits: bool) -> None:
        """Watch some job, and another one when that has ended."""
        await self._first.wait()
        line = Line(self._burst.port)
        try:
            await self._poll(line, source, waits=waits)
        finally:
            await line.close()

    async def _poll(self, line: Line, source: random.Random, *, waits: bool) -> None:
        job_id, tag, pause = "", b"", source.random()
        while not self._over:
            await asyncio.sleep(0 if waits and tag else pause)
            if not job_id:
                job_id = source.choice(self._ids)
            sent = time.monotonic()
            status, headers, _ = await line.ask(_request(job_id, tag, waits=waits))
            self._statuses[status] += 1
            if not (waits and tag):
                self._polls.append(time.monotonic() - sent)
            elif status == 200:
                self._woken += 1
            if status == 200 and b"retry-after" not in headers:  # it has ended
                job_id, tag = "", b""
            elif status == 200:
                tag = headers[b"etag"]
            retry_after = float(headers.get(b"retry-after", 1))
            pause = retry_after if self._burst.pause is None else self._burst.pause


def _request(job_id: str, tag: bytes, *, waits: bool) -> bytes:
    condition = b"If-None-Match: %b\r\n" % tag if tag else b""
    hold = b"Prefer: wait=%d\r\n" % HOLD if waits and tag else b""
    return b"GET /v1/jobs/%b HTTP/1.1\r\nHost: 127.0.0.1\r\n%b%b\r\n" % (job_id.encode(), condition, hold)


async def _run(burst: Burst) -> Report:
    return await Clients(burst).run()


def main() -> None:
    """Read the order, send, report."""
    burst = msgspec.json.decode(sys.stdin.buffer.read(), type=Burst)
    gc.freeze()
    report = uvloop.run(_run(burst))
    Path(sys.argv[1]).write_bytes(msgspec.msgpack.encode(report))


if __name__ == "__main__":
    main()
