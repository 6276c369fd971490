"""The benchmark of attacks: what its clients see, and what a phase's figures are."""

import asyncio

import numpy as np
import pytest

from benchmarks.attacks.__main__ import CLIENTS, HEALTH, Phase, row
from benchmarks.attacks.clients import Client, Group, Sample, percentile


def samples(seconds: float, group: str) -> list[Sample]:
    return [Sample(group, 100.0 + k, seconds, 200, False) for k in range(10)]


def test_a_percentile_is_one_of_the_values() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.99) == 3.0
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([], 0.5) == 0.0


def test_a_phase_holds_where_every_group_is_within_its_limit() -> None:
    quiet = Phase("quiet", 0.0, 99.0)
    seen = [one for group in CLIENTS for one in samples(0.04, group)]
    phase = Phase("attack", 99.0, 120.0, late=[0.1, 0.2])
    cells, holds = row(phase, seen, quiet)
    assert holds
    assert cells == ["attack", "21", "40", "40", "40", "40", "0", "0", "200"]


@pytest.mark.parametrize(
    "more",
    [
        Sample(HEALTH, 101.0, 0.06, 200, False),
        Sample("forecasts", 101.0, 0.06, 200, False),
        Sample("forecasts", 101.0, 0.01, 200, True),
    ],
    ids=["late", "slower", "wrong"],
)
def test_a_phase_does_not_hold_where_one_is_late_or_wrong(more: Sample) -> None:
    seen = [one for group in CLIENTS for one in samples(0.04, group)]
    _, holds = row(Phase("attack", 99.0, 120.0), [*seen, more], Phase("quiet", 0.0, 99.0))
    assert not holds


def test_a_client_notes_what_is_wrong_and_connects_again() -> None:
    async def scenario() -> list[Sample]:
        answers = iter([b"right", b"wrong", None, b"right"])
        ended, closed, seen = asyncio.Event(), asyncio.Event(), list[Sample]()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while (await reader.read(1000)).endswith(b"\r\n\r\n"):
                if (body := next(answers, b"right")) is None:
                    break
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + body)
                if len(seen) >= 4:
                    ended.set()
            writer.close()
            await writer.wait_closed()
            if ended.is_set():
                closed.set()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            group = Group("g", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 1, 0.001, b"right")
            await Client(group, port, seen, np.random.default_rng(0)).run(ended)
            await closed.wait()
        return seen

    seen = asyncio.run(scenario())
    assert [(one.status, one.wrong) for one in seen[:4]] == [
        (200, False),
        (200, True),
        (0, False),
        (200, False),
    ]
