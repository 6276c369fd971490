"""Live transcripts: messages while samples come, a last one with everything, errors as a last message."""

import asyncio
import base64
import json
import socket
from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient, WebSocketDenialResponse

from app.api import problems
from app.api.middleware import RequestIdMiddleware
from app.api.routes import listen
from app.api.routes.listen import MAX_LINE_BYTES, router
from app.errors import DeadlinePassed, NotFound, QueueFull
from app.lanes import Answer
from app.media.decoder import limit_decoding
from app.media.limits import MediaLimits
from app.services.serving.metrics import PredictionMetrics
from app.services.serving.predictions import PredictionService
from app.services.serving.version_router import ResolvedRoute, Route, VersionSelector
from app.tasks import TASKS
from app.tasks.contract import Plan
from app.tasks.speech.labels import load_labels
from tests.app.api.test_raw import served
from tests.app.tasks.speech.conftest import small_plan
from tests.support.factories.recordings import tone
from tests.support.factories.speaking import events
from tests.support.fixtures.servers import until

__all__ = ["small_plan"]  # a fixture


class SayingLane:
    """Hears `ab` in every input."""

    def __init__(self, state: Any) -> None:
        self.state, self.full, self.sent = state, False, 0
        self.allowed: list[float] = []  # seconds
        self.silent = False

    def check_capacity(self, artifact: str, *, stepwise: bool) -> None:
        if self.full:
            raise QueueFull

    async def send(self, artifact: str, arrays: Any, seconds: float) -> Answer:
        self.allowed.append(seconds)
        await asyncio.sleep(0)
        if self.silent:
            raise DeadlinePassed
        self.sent += 1
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


def test_a_long_piece_is_answered_part_by_part_as_well(client: TestClient, lane: SayingLane) -> None:
    *messages, done = conversation(client, "", [pcm(65.0)])
    finals = [message for message in messages if message["final"]]
    assert len(finals) >= 3
    assert lane.sent <= len(finals) + 1
    assert done["duration_seconds"] == pytest.approx(65, abs=0.05)


def test_samples_that_cannot_be_resampled_are_an_error_and_the_last_message(client: TestClient) -> None:
    try:
        limit_decoding(MediaLimits(audio_seconds=1.0))
        *_, message = conversation(client, "?sample_rate=16000", [pcm(1.5, 16_000)])
    finally:
        limit_decoding(MediaLimits())
    assert message["error"]["status"] == 422
    assert "is longer than 1 seconds" in message["error"]["detail"]


def test_silence_is_answered_too(client: TestClient) -> None:
    (done,) = conversation(client, "", [])
    assert (done["text"], done["duration_seconds"], done["words"]) == ("", 0.0, [])
    assert done["confidence"] is None


def test_errors_are_the_last_message(client: TestClient, lane: SayingLane) -> None:
    for query, end, detail in (
        ("?sample_rate=7", "end", "takes 8,000 to 48,000 Hz"),
        ("", "stop", "a text message can only be end"),
        ("?version=1&alias=a", "end", "not both"),
        ("?beam_size=2", "end", "unknown parameter beam_size; there are alias, sample_rate, version"),
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


def test_an_error_is_the_same_document_as_over_http(client: TestClient) -> None:
    app = TestClient(RequestIdMiddleware(client.app))
    with app.websocket_connect("/v1/models/nobody/listen", headers={"x-request-id": "a-1"}) as socket:
        error = json.loads(socket.receive()["text"])["error"]
    assert list(error) == ["type", "title", "status", "detail", "request_id", "errors"]
    assert (error["title"], error["request_id"], error["errors"]) == ("Not found", "a-1", [])


def test_a_parameter_that_is_no_number_has_a_status(client: TestClient) -> None:
    with (
        pytest.raises(WebSocketDenialResponse) as refused,
        client.websocket_connect("/v1/models/voice/listen?sample_rate=fast"),
    ):
        pass
    assert refused.value.status_code == 422
    assert refused.value.json()["errors"][0]["pointer"] == "/query/sample_rate"


def test_a_get_that_is_no_handshake_is_told_what_to_upgrade_to(client: TestClient) -> None:
    answer = client.get("/v1/models/voice/listen?sample_rate=16000")
    assert (answer.status_code, answer.headers["upgrade"]) == (426, "websocket")
    assert answer.json()["type"] == "/problems/upgrade-required"


def test_who_says_nothing_more_is_told_so(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "MAX_SILENCE_SECONDS", 0.02)
    with client.websocket_connect("/v1/models/voice/listen") as socket:
        told = json.loads(socket.receive()["text"])
        assert told["error"]["type"] == "/problems/deadline-passed"
        assert socket.receive()["type"] == "websocket.close"


def test_so_many_are_listened_to_at_a_time(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "MAX_LISTENERS", 1)
    with client.websocket_connect("/v1/models/voice/listen") as first:
        with (
            pytest.raises(WebSocketDenialResponse) as refused,
            client.websocket_connect("/v1/models/voice/listen"),
        ):
            pass
        assert (refused.value.status_code, refused.value.headers["retry-after"]) == (429, "1")
        first.send_text("end")
        assert json.loads(first.receive()["text"])["done"]
    assert conversation(client, "", [])[-1]["done"]


LINES = {"content-type": "application/x-ndjson"}


def line(samples: bytes, **fields: Any) -> bytes:
    return json.dumps({"audio_base64": base64.b64encode(samples).decode(), **fields}).encode() + b"\n"


def test_a_request_in_lines_has_the_events_of_a_conversation(client: TestClient) -> None:
    pieces = [pcm(1.0), pcm(0.5) + bytes(8_000), b"\0", b""] * 8
    body = line(b"", parameters={"stream": True, "beam_size": 1}) + b"\n \n" + b"".join(map(line, pieces))
    for content in (body, body.removesuffix(b"\n")):
        answer = client.post("/v1/models/voice/listen", content=content, headers=LINES)
        assert answer.headers["content-type"] == "text/event-stream"
        *messages, (name, done) = events(answer.content)
        *expected, last = conversation(client, "", pieces)
        assert messages == [("message", message) for message in expected]
        assert last.pop("done")
        assert (name, done) == ("done", {"model": "voice", "version": 1, "predictions": [last]})
        assert done["predictions"][0]["duration_seconds"] > 10


def test_nothing_that_is_sent_is_a_recording_too(client: TestClient) -> None:
    answer = client.post("/v1/models/voice/listen?sample_rate=16000", content=b"", headers=LINES)
    ((name, done),) = events(answer.content)
    assert (name, done["predictions"][0]["text"]) == ("done", "")


class Upload:
    """A request whose body is sent by and by, and the bytes that answer it."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self.socket = socket.create_connection((address.hostname, address.port or 80), timeout=20)
        head = f"POST /v1/models/voice/listen HTTP/1.1\r\nHost: {address.netloc}\r\n"
        head += "Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.socket.sendall(head.encode())
        self.received = b""

    def send(self, part: bytes) -> None:
        self.socket.sendall(b"%x\r\n%s\r\n" % (len(part), part))

    def read_until(self, word: bytes) -> None:
        while word not in self.received:
            part = self.socket.recv(65_536)
            assert part, self.received
            self.received += part


@pytest.fixture
def upload(client: TestClient) -> Iterator[Upload]:
    with served(client.app) as url:
        made = Upload(url)
        with made.socket:
            yield made


def test_a_request_is_answered_while_it_is_sent(upload: Upload) -> None:
    upload.send(line(pcm(0.6)))
    upload.read_until(b'"final":false')
    assert b"200 OK" in upload.received
    assert b"event: done" not in upload.received
    half = line(pcm(0.6))
    upload.send(half[:100])
    upload.send(half[100:])
    upload.send(b"")
    upload.read_until(b"event: done")
    assert upload.received.count(b'"final":false') == 2
    upload.read_until(b"\r\n0\r\n\r\n")


def test_a_client_that_leaves_is_no_error(
    upload: Upload, caplog: pytest.LogCaptureFixture, lane: SayingLane
) -> None:
    upload.send(line(pcm(0.6)))
    upload.read_until(b'"final":false')
    upload.socket.close()
    until(lambda: lane.sent == 1, what="the one input that was computed")
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_recording_that_stops_coming_is_not_waited_for(
    upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload.send(line(pcm(0.6)))
    upload.read_until(b'"final":false')
    monkeypatch.setattr(listen, "DEFAULT_DEADLINE_SECONDS", 0.05)
    upload.send(line(b""))
    upload.read_until(b"event: error")
    upload.read_until(b"deadline-passed")


def test_a_request_says_how_long_an_answer_may_take(client: TestClient, lane: SayingLane) -> None:
    headers = LINES | {"x-request-timeout": "2.5"}
    ask = partial(client.post, "/v1/models/voice/listen", content=line(pcm(0.6)), headers=headers)
    assert events(ask().content)[-1][0] == "done"
    assert lane.allowed
    assert all(0 < seconds <= 2.5 for seconds in lane.allowed)
    lane.silent = True
    *_, (name, told) = events(ask().content)
    assert (name, told["status"], told["type"]) == ("error", 504, "/problems/deadline-passed")


def test_a_deadline_that_is_none_is_refused(client: TestClient) -> None:
    headers = LINES | {"x-request-timeout": "soon"}
    answer = client.post("/v1/models/voice/listen", content=line(b""), headers=headers)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/header/x-request-timeout")


@pytest.mark.parametrize(
    ("path", "body", "status", "where"),
    [
        ("nobody/listen", line(b""), 404, None),
        ("tags/listen", line(b""), 422, ""),
        ("voice/listen?sample_rate=7", line(b""), 422, "/query/sample_rate"),
        ("voice/listen?version=1&alias=a", line(b""), 422, "/query/alias"),
        ("voice/listen", b"[" * 100_000, 422, "/row/1"),
        ("voice/listen", b"RIFF", 422, "/row/1"),
        ("voice/listen", b'{"audio_base64": "not base64!"}', 422, "/row/1"),
        ("voice/listen", b'{"audio": "AAAA"}', 422, "/row/1"),
        ("voice/listen", line(b"", parameters={"beam_size": 0}), 422, "/parameters/beam_size"),
        ("voice/listen", b" " * (MAX_LINE_BYTES + 1), 422, None),
    ],
)
def test_a_fault_before_the_first_samples_has_a_status(
    client: TestClient, path: str, body: bytes, status: int, where: str | None
) -> None:
    answer = client.post(f"/v1/models/{path}", content=body, headers=LINES)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert [error["pointer"] for error in answer.json()["errors"]] == ([] if where is None else [where])


def test_a_later_fault_is_the_last_event(client: TestClient, lane: SayingLane) -> None:
    for later, kind, pointers in (
        (b'{"audio_base64": 7}', "invalid-request", ["/row/2"]),
        (line(b"", parameters={"beam_size": 1}), "invalid-request", ["/row/2/parameters"]),
        (line(bytes(MAX_LINE_BYTES)), "invalid-request", []),
    ):
        body = line(pcm(0.6)) + later
        answer = client.post("/v1/models/voice/listen", content=body, headers=LINES)
        assert answer.status_code == 200
        name, last = events(answer.content)[-1]
        assert (name, last["type"]) == ("error", f"/problems/{kind}")
        assert [error["pointer"] for error in last["errors"]] == pointers
    lane.full = True
    ((name, last),) = events(
        client.post("/v1/models/voice/listen", content=line(pcm(1)), headers=LINES).content
    )
    assert (name, last["type"]) == ("error", "/problems/queue-full")


@pytest.mark.parametrize("kind", ["text/plain", "application/json", ""])
def test_a_page_of_another_origin_cannot_send_lines_unasked(client: TestClient, kind: str) -> None:
    answer = client.post("/v1/models/voice/listen", content=line(b""), headers={"content-type": kind})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/header/content-type"
