"""Live transcripts: messages while samples come, a last one with everything, errors as a last message."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.testclient import TestClient, WebSocketDenialResponse

from app.api import problems
from app.api.routes.listen import is_same_origin, router
from app.errors import NotFound, QueueFull
from app.lanes import Answer
from app.services.serving.metrics import PredictionMetrics
from app.services.serving.predictions import PredictionService
from app.services.serving.version_router import ResolvedRoute, Route, VersionSelector
from app.tasks import TASKS
from app.tasks.contract import Plan
from app.tasks.speech.labels import load_labels
from tests.app.tasks.speech.conftest import small_plan
from tests.support.factories.recordings import tone

__all__ = ["small_plan"]  # a fixture


class SayingLane:
    """Hears `ab` in every input."""

    def __init__(self, state: Any) -> None:
        self.state, self.full = state, False

    def check_capacity(self, artifact: str, *, stepwise: bool) -> None:
        if self.full:
            raise QueueFull

    async def send(self, artifact: str, arrays: Any, seconds: float) -> Answer:
        await asyncio.sleep(0)
        labels = load_labels(self.state["labels"])
        outputs = np.full((-(-len(arrays[0]) // 3), labels.count), -9.0, np.float32)
        outputs[:, 0] = -0.01
        for step, label in zip((1, 3), labels.encode("ab"), strict=True):
            outputs[step, [0, label]] = -9.0, -0.01
        return Answer([outputs], 0.1, 0.2, 1, [])


class Router:
    """Knows one model of speech and one of tags."""

    def __init__(self, state: Any) -> None:
        self.state = state

    async def choose(self, selector: VersionSelector) -> ResolvedRoute:
        if selector.model not in {"voice", "tags"}:
            raise NotFound("There is no such model")
        task = TASKS["speech" if selector.model == "voice" else "tagging"]
        return ResolvedRoute(Route(selector.model, 1, task, "artifacts/1", self.state, {}), None)


@pytest.fixture
def lane(small_plan: Plan) -> SayingLane:
    return SayingLane(small_plan.state)


@pytest.fixture
def client(lane: SayingLane) -> TestClient:
    app = FastAPI()
    app.include_router(router)
    problems.install(app)
    service = PredictionService(lane, Router(lane.state), PredictionMetrics(lane), None)  # type: ignore[arg-type]
    app.state.shared = SimpleNamespace(predictions=service)
    return TestClient(app)


def pcm(seconds: float, rate: int = 8_000) -> bytes:
    return bytes((10_000 * tone(seconds, rate)[:, 0]).astype("<i2").tobytes())


def conversation(client: TestClient, query: str, pieces: list[bytes], end: str = "end") -> list[Any]:
    messages = []
    with client.websocket_connect(f"/v1/models/voice/listen{query}") as socket:
        for piece in pieces:
            socket.send_bytes(piece)
        socket.send_text(end)
        while (message := socket.receive())["type"] == "websocket.send":
            messages.append(json.loads(message["text"]))
    return messages


@pytest.mark.parametrize(("query", "rate"), [("", 8_000), ("?sample_rate=16000", 16_000)])
def test_texts_come_while_samples_are_sent(client: TestClient, query: str, rate: int) -> None:
    *partial, last, done = conversation(client, query, [pcm(0.3, rate)] * 4 + [b"\0"])
    assert [message["text"] for message in (*partial, last)] == ["ab"] * (len(partial) + 1)
    assert len(partial) == 2
    assert not any(message["final"] for message in partial)
    assert last["final"]
    assert (done["text"], done["done"]) == ("ab", True)
    assert done["duration_seconds"] == pytest.approx(1.2, abs=0.01)


def test_a_long_recording_becomes_final_part_by_part(client: TestClient) -> None:
    pieces = [pcm(1.0), pcm(0.5) + bytes(8_000)] * 15
    *messages, done = conversation(client, "", pieces)
    finals = [message for message in messages if message["final"]]
    assert len(finals) >= 2
    assert [message["start"] for message in finals] == sorted(message["start"] for message in finals)
    assert done["text"] == " ".join(["ab"] * len(finals))
    assert done["duration_seconds"] == pytest.approx(30, abs=0.05)
    starts = [word["start"] for word in done["words"]]
    assert starts == sorted(starts)


def test_silence_is_answered_too(client: TestClient) -> None:
    (done,) = conversation(client, "", [])
    assert (done["text"], done["duration_seconds"], done["words"]) == ("", 0.0, [])


def test_errors_are_the_last_message(client: TestClient, lane: SayingLane) -> None:
    for query, end, detail in (
        ("?sample_rate=7", "end", "does not fit"),
        ("", "stop", "a text message can only be end"),
        ("?version=1&alias=a", "end", "not both"),
    ):
        (message,) = conversation(client, query, [], end)
        assert detail in message["error"]["detail"]
        assert message["error"]["status"] == 422
    lane.full = True
    (message,) = conversation(client, "", [pcm(1.0)])
    assert message["error"]["type"] == "/problems/queue-full"
    for model, status in (("tags", 422), ("nobody", 404)):
        with client.websocket_connect(f"/v1/models/{model}/listen") as socket:
            assert json.loads(socket.receive()["text"])["error"]["status"] == status


def handshake(client: TestClient, host: str, origin: str | None) -> Any:
    headers = {"host": host} | ({} if origin is None else {"origin": origin})
    return client.websocket_connect("/v1/models/voice/listen", headers=headers)


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("recurra.example", "http://evil.example"),
        ("recurra.example", "https://recurra.example.evil.example"),
        ("recurra.example", "https://evil-recurra.example"),
        ("recurra.example", "https://recurra.example@evil.example"),
        ("127.0.0.1:8000", "http://127.0.0.1:3000"),
        ("127.0.0.1:8000", "http://127.0.0.1"),
        ("recurra.example:443", "http://recurra.example"),
        ("recurra.example", "null"),
        ("recurra.example", ""),
        ("", "null"),
    ],
)
def test_a_page_of_another_origin_may_not_listen(client: TestClient, host: str, origin: str) -> None:
    with pytest.raises(WebSocketDenialResponse) as refused, handshake(client, host, origin):
        pass
    answer = refused.value
    assert (answer.status_code, answer.headers["content-type"]) == (403, "application/problem+json")
    assert answer.json()["type"] == "/problems/forbidden"


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("recurra.example", None),
        ("recurra.example", "https://recurra.example"),
        ("recurra.example:443", "https://recurra.example"),
        ("Recurra.example:8000", "http://recurra.EXAMPLE:8000"),
        ("[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_a_page_of_this_server_and_a_program_may_listen(
    client: TestClient, host: str, origin: str | None
) -> None:
    with handshake(client, host, origin) as socket:
        socket.send_text("end")
        assert json.loads(socket.receive()["text"])["done"]


def test_every_origin_that_is_named_counts() -> None:
    same, other = (b"origin", b"https://a.example"), (b"origin", b"https://b.example")
    assert is_same_origin(Headers(raw=[(b"host", b"a.example"), same, same]))
    assert not is_same_origin(Headers(raw=[(b"host", b"a.example"), same, other]))
