"""The burst's clients tell what really came back, and its order is that of submits that were surely apart."""

import asyncio
from collections import Counter
from contextlib import closing, suppress

import pytest

from benchmarks.burst.figures import bursts, targets
from benchmarks.burst.load import Burst, Clients, Report, Submit
from benchmarks.burst.measure import EMBEDDED, ClientMix, Result, inversions


class Server:
    """Jobs by number; a poll's first answer is whole, with its tag there is none until a wait gives news."""

    def __init__(self, refuse: int = 0) -> None:
        self.seen: Counter[str] = Counter()
        self._refuse = refuse  # the how manieth submit is not accepted
        self._tasks: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._talk(reader, writer))
        self._tasks.add(task)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = head.partition("content-length: ")[2].partition("\r\n")[0]
                await reader.readexactly(int(length or 0))
                await asyncio.sleep(0.002)
                writer.write(self._answer(head))

    def _answer(self, head: str) -> bytes:
        if head.startswith("post"):
            self.seen["submit"] += 1
            if self.seen["submit"] == self._refuse:
                return b"HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n"
            body = b'{"id":"job_%d"}' % self.seen["submit"]
            return b"HTTP/1.1 202 Accepted\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        if "prefer: wait" in head:
            self.seen["wait"] += 1
        elif "if-none-match" in head:
            self.seen["conditional"] += 1
            return b"HTTP/1.1 304 Not Modified\r\nRetry-After: 1\r\n\r\n"
        return b'HTTP/1.1 200 OK\r\nETag: "1"\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n{}'


def sent(server: Server, jobs: int) -> Report:
    async def run() -> Report:
        listener = await asyncio.start_server(server.accept, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        burst = Burst(port, "{}", jobs, submitters=3, pollers=8, waiters=2, pause=0.01)
        async with listener:
            report = await Clients(burst).run()
            await server.close()
        return report

    return asyncio.run(run())


def test_every_submit_and_every_kind_of_poll_is_told() -> None:
    server = Server()
    report = sent(server, 400)
    assert len({one.job_id for one in report.submits}) == 400
    assert all(one.status == 202 and one.sent < one.answered for one in report.submits)
    assert set(report.statuses) == {200, 304}
    assert 0 < report.woken <= server.seen["wait"]
    assert len(report.polls) >= report.statuses[304] > 0


def test_a_submit_that_is_not_accepted_is_an_error() -> None:
    report = sent(Server(refuse=4), 10)
    result = Result(EMBEDDED, ClientMix("some"), report, 0, None)
    assert Counter(one.status for one in report.submits) == {202: 9, 503: 1}
    assert result.errors == 1
    told = targets([result])
    assert "| SQLite, Valkey: some: errors | 0 | 1 | **no** |" in told
    assert "pairs out of order | 0 | None | **no** |" in told


def test_nobody_who_listens_is_an_error() -> None:
    report = asyncio.run(Clients(Burst(1, "{}", 2, submitters=1, pollers=0, waiters=0, pause=None)).run())
    assert [one.status for one in report.submits] == [0, 0]


@pytest.mark.parametrize(
    ("started", "expected"),
    [
        ({}, None),
        ({"a": 1.0, "b": 2.0}, 0),
        ({"a": 2.0, "b": 1.0}, 0),  # a and b were on their way at the same time
        ({"a": 1.0, "b": 3.0, "c": 2.0}, 1),
        ({"a": 1.0, "c": 2.0}, 1),  # b was not taken although it was earlier
        ({"a": 3.0, "b": 2.0, "c": 1.0}, 2),
    ],
)
def test_pairs_out_of_order(started: dict[str, float], expected: int | None) -> None:
    submits = [Submit("a", 0.0, 2.0, 202), Submit("b", 1.0, 3.0, 202), Submit("c", 4.0, 5.0, 202)]
    report = Report([*submits, Submit("", 0.0, 0.1, 503)], [0.001, 0.003], {200: 2}, 0, 0.1)
    assert inversions(report, started) == expected


def test_the_table_has_rates_and_percentiles() -> None:
    submits = [Submit(f"job_{n}", n / 100, n / 100 + 0.01 + n / 10_000, 202) for n in range(100)]
    report = Report(submits, [0.002] * 99 + [0.05], {200: 50, 304: 50, 500: 1}, 7, 0.1)
    result = Result(EMBEDDED, ClientMix("one"), report, started=5, inversions=0)
    assert "| SQLite, Valkey: one | 99 | 15.0 / 19.9 | 99 | 2.0 / 50.0 | 7 | 1 | 5 |" in bursts([result])
