"""Streams: pieces of an answer, and events of a job that are resumed; by both clients."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from recurra import AsyncClient, Client, ConnectionLost, DeadlinePassed, InvalidRequest
from tests.client.callers import CALLERS, Caller, Handler


class BrokenStream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """Content, after which the connection breaks."""

    def __init__(self, *parts: bytes, breaks: bool = True) -> None:
        self.parts, self.breaks, self.closed = parts, breaks, False

    def __iter__(self) -> Iterator[bytes]:
        yield from self.parts
        if self.breaks:
            raise httpx.ReadError("broken")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self.parts:
            yield part
        if self.breaks:
            raise httpx.ReadError("broken")

    def close(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.closed = True


@pytest.fixture(params=CALLERS)
def through(request: pytest.FixtureRequest) -> Caller:
    return CALLERS[request.param]


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    async def sleep(_: float) -> None:
        """Pass at once."""

    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(asyncio, "sleep", sleep)


def piece(text: str, **more: Any) -> bytes:
    return f"data: {json.dumps({'index': 0, 'text': text} | more)}\n\n".encode()


DONE = b'event: done\ndata: {"predictions": [{"text": "Once"}]}\n\n'


def test_pieces_come_and_then_the_answer(through: Caller) -> None:
    content = b": ping\n\n" + piece("On") + piece("ce", finish_reason="stop") + DONE
    handler: Handler = lambda _: httpx.Response(200, content=content)  # noqa: E731
    received = through(handler, lambda client: client.stream("m", {"prompt": ""}))
    assert [one.get("text") for one in received] == ["On", "ce", None]
    assert received[-1] == {"predictions": [{"text": "Once"}]}


def test_an_event_may_come_in_any_parts(through: Caller) -> None:
    content = piece("é")
    parts = [content[index : index + 1] for index in range(len(content))]
    stream = BrokenStream(*parts, DONE, breaks=False)
    received = through(lambda _: httpx.Response(200, stream=stream), lambda client: client.stream("m", {}))
    assert received[0]["text"] == "é"


@pytest.mark.parametrize("breaks", [True, False])
def test_a_broken_stream_is_no_answer(through: Caller, breaks: bool) -> None:
    stream = BrokenStream(piece("On"), breaks=breaks)
    with pytest.raises(ConnectionLost):
        through(lambda _: httpx.Response(200, stream=stream), lambda client: client.stream("m", {}))


def test_an_error_within_a_stream_is_of_its_kind(through: Caller) -> None:
    event = b'event: error\ndata: {"status": 504, "detail": "too late", "errors": []}\n\n'
    with pytest.raises(DeadlinePassed, match="too late"):
        through(
            lambda _: httpx.Response(200, content=piece("On") + event), lambda client: client.stream("m", {})
        )
    problem = {"status": 422, "detail": "no", "errors": [{"pointer": "/instances/0", "detail": "empty"}]}
    with pytest.raises(InvalidRequest, match=r"(?s)no .422.*/instances/0: empty"):
        through(lambda _: httpx.Response(422, json=problem), lambda client: client.stream("m", {}))


def test_a_stream_that_nobody_reads_on_is_closed() -> None:
    stream = BrokenStream(piece("On"), piece("ce"), breaks=False)
    handler: Handler = lambda _: httpx.Response(200, stream=stream)  # noqa: E731
    with Client("http://server", transport=httpx.MockTransport(handler)) as client:
        pieces = client.stream("m", {})
        assert next(pieces)["text"] == "On"
        assert not stream.closed
        pieces.close()  # type: ignore[attr-defined] # as the end of a loop does
    assert stream.closed

    async def read() -> None:
        async with AsyncClient("http://server", transport=httpx.MockTransport(handler)) as client:
            pieces = client.stream("m", {})
            assert (await anext(pieces))["text"] == "On"
            await pieces.aclose()

    stream.closed = False
    asyncio.run(read())
    assert stream.closed


def test_events_are_resumed_after_the_last_one(through: Caller) -> None:
    """The first connection breaks within an event, the second ends although the job goes on."""

    def event(seq: int, kind: str = "epoch") -> bytes:
        return f"id: {seq}\nevent: {kind}\ndata: {json.dumps({'seq': seq, 'type': kind})}\n\n".encode()

    streams = [
        BrokenStream(event(1), event(2)[:20]),
        BrokenStream(event(2), breaks=False),
        BrokenStream(event(3, "status"), breaks=False),
    ]
    resumed: list[str] = []

    def server(request: httpx.Request) -> httpx.Response:
        if request.headers.get("accept") == "text/event-stream":
            resumed.append(request.headers["last-event-id"])
            return httpx.Response(200, stream=streams[len(resumed) - 1])
        if request.url.path.endswith("/events"):
            return httpx.Response(200, json={"data": []})
        status = "succeeded" if len(resumed) == 3 else "running"
        return httpx.Response(200, json={"id": "job_1", "status": status})

    events = through(server, lambda client: client.events("job_1"))
    assert [event["seq"] for event in events] == [1, 2, 3]
    assert resumed == ["0", "1", "2"]
