"""The load generator counts what really happened: right answers, wrong ones, errors, and waiting."""

import asyncio
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from benchmarks.serving.generator.echo import answer
from benchmarks.serving.generator.load import drive
from benchmarks.serving.generator.messages import Corpus, Order, Report
from benchmarks.serving.requests.corpus import artifact, corpus

Behave = Callable[[int, bytes], bytes]  # the how manieth request it is, and its answer if all were well


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return artifact(tmp_path_factory.mktemp("serving") / "artifact") / "model.onnx"


@pytest.fixture(scope="module")
def bodies(network: Path) -> Corpus:
    return corpus(network, [4, 9] * 10, seed=1)


class Server:
    """Answers one request after the other, each in `seconds`, in two pieces."""

    def __init__(self, corpus: Corpus, behave: Behave, seconds: float) -> None:
        self._answers = dict(zip(corpus.bodies, map(answer, corpus.outputs), strict=True))
        self._behave, self._seconds = behave, seconds
        self._turn, self._seen = asyncio.Lock(), 0
        self._talks: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A new connection."""
        self._talks.add(asyncio.get_running_loop().create_task(self.talk(reader, writer)))

    async def close(self) -> None:
        """End all connections."""
        for task in self._talks:
            task.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until there is nothing to answer."""
        with closing(writer), suppress(asyncio.IncompleteReadError, ConnectionError):
            while reply := await self.answer(await self.read(reader)):
                middle = len(reply) // 2
                writer.write(reply[:middle])
                await asyncio.sleep(0)
                writer.write(reply[middle:])

    async def read(self, reader: asyncio.StreamReader) -> bytes:
        """A request's body."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().split(b"content-length:")[1].split(b"\r\n")[0]
        return await reader.readexactly(int(length))

    async def answer(self, body: bytes) -> bytes:
        """In turn."""
        async with self._turn:
            await asyncio.sleep(self._seconds)
            self._seen += 1
            return self._behave(self._seen, self._answers[body])


def load(
    bodies: Corpus,
    behave: Behave,
    *,
    takes: float = 0.0,
    rate: float = 0.0,
    seconds: float = 0.4,
    clients: int = 1,
) -> Report:
    """What the generator reports of such a server."""

    async def run() -> Report:
        server = Server(bodies, behave, takes)
        listener = await asyncio.start_server(server.accept, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        async with listener:
            order = Order(port, "/infer", "", clients, rate, warmup=0.05, seconds=seconds, seed=5)
            report = await drive(order, bodies)
            await server.close()
        return report

    return asyncio.run(run())


def well(_: int, reply: bytes) -> bytes:
    return reply


@pytest.mark.parametrize("clients", [1, 7])
def test_a_closed_loop_counts_right_answers(bodies: Corpus, clients: int) -> None:
    report = load(bodies, well, clients=clients)
    assert report.answered > 20
    assert (report.errors, report.wrong, report.fault) == (0, 0, "")
    assert report.rate == pytest.approx(report.answered / 0.4)
    assert 4 * report.rate <= report.steps_rate <= 9 * report.rate
    assert 0 < report.p50 <= report.p99 < 400


def test_one_client_waits_for_each_answer(bodies: Corpus) -> None:
    report = load(bodies, well, takes=0.02, clients=1)
    assert 5 <= report.answered <= 20
    assert report.p50 >= 20


def test_an_open_loop_keeps_its_rate(bodies: Corpus) -> None:
    report = load(bodies, well, rate=300, seconds=1.0)
    assert 220 < report.answered < 380  # Poisson with a standard deviation of 17
    assert (report.errors, report.wrong) == (0, 0)


def test_two_open_loops_of_one_seed_are_the_same_load(bodies: Corpus) -> None:
    counts = {load(bodies, well, rate=200).answered for _ in range(2)}
    assert max(counts) - min(counts) <= 1  # the last one may be due at the very end


def test_an_open_loop_counts_the_wait_before_sending(bodies: Corpus) -> None:
    """100 a second at 50 a second of capacity: latency grows with the queue, however few are sent at once."""
    report = load(bodies, well, takes=0.02, rate=100, seconds=1.0)
    assert report.answered > 60
    assert report.p99 > 400


def test_an_answer_to_another_request_is_wrong(bodies: Corpus) -> None:
    last = [answer(bodies.outputs[0])]

    def swap(_: int, reply: bytes) -> bytes:
        last.append(reply)
        return last[-2]

    report = load(bodies, swap, clients=4)
    assert report.wrong > 10
    assert report.answered == report.errors == 0
    assert report.fault.startswith("200 ")


def test_other_statuses_are_errors_and_the_connection_goes_on(bodies: Corpus) -> None:
    refusal = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy"
    report = load(bodies, lambda count, reply: reply if count % 3 else refusal, clients=4)
    assert report.fault == "503 busy"
    assert report.errors == pytest.approx((report.errors + report.answered) / 3, rel=0.2)
    assert report.wrong == 0


@pytest.mark.parametrize("order", [{"clients": 3}, {"rate": 200}])
def test_a_dropped_connection_is_an_error_and_is_replaced(bodies: Corpus, order: dict[str, int]) -> None:
    report = load(bodies, lambda count, reply: reply if count % 10 else b"", **order)
    assert report.errors > 2
    assert report.answered > 5 * report.errors
    assert report.wrong == 0


@pytest.mark.parametrize("order", [{"clients": 3}, {"rate": 50}])
def test_requests_that_are_never_answered_are_errors(
    bodies: Corpus, order: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.serving.generator.load.GRACE", 0.2)
    begun = time.monotonic()
    report = load(bodies, well, takes=30, **order)
    assert report.answered == 0
    assert report.errors >= 3
    assert time.monotonic() - begun < 5


def test_bodies_differ_and_hold_what_was_computed(network: Path, bodies: Corpus) -> None:
    assert len(set(bodies.bodies)) == len(bodies.bodies)
    assert len({tuple(output) for output in bodies.outputs}) == len(bodies.outputs)
    assert bodies == corpus(network, [4, 9] * 10, seed=1)
    whole = corpus(network, [64], seed=0).bodies[0]
    assert 4000 < len(whole) < 5500
    assert whole.count(b",") == 511 + 2 + 3  # between numbers, sizes and fields
