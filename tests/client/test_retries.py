"""What is sent again, with what waits, and what never is: by both clients."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from recurra import Conflict, ConnectionLost, LimitReached, RecurraError, ServerNotFound, Unavailable
from recurra.protocol.retries import Retries, retry_after
from tests.client.callers import CALLERS, Caller, Handler

JOB = {"id": "job_1", "model": "m", "status": "queued"}
Answer = httpx.Response | type[httpx.TransportError]


@pytest.fixture(params=CALLERS)
def through(request: pytest.FixtureRequest) -> Caller:
    return CALLERS[request.param]


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that were waited, which pass at once."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(time, "sleep", waited.append)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    return waited


def answering(*answers: Answer, sent: list[httpx.Request] | None = None) -> Handler:
    """A server that gives one answer after the other."""
    left = list(answers)

    def handle(request: httpx.Request) -> httpx.Response:
        request.read()
        if sent is not None:
            sent.append(request)
        answer = left.pop(0)
        if isinstance(answer, httpx.Response):
            return answer
        raise answer("broken", request=request)

    return handle


def refusal(status: int, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, json={"status": status, "detail": "no"}, headers=named)


def test_a_read_is_repeated_when_the_connection_breaks(through: Caller, waits: list[float]) -> None:
    handler = answering(httpx.ConnectError, httpx.ReadError, refusal(503), httpx.Response(200, json={"a": 1}))
    assert through(handler, lambda client: client.get("/v1/jobs")) == {"a": 1}
    assert [0.1 <= wait <= 0.2 for wait in waits[:1]] == [True]
    assert waits == sorted(waits)
    assert len(waits) == 3


def test_a_busy_service_is_waited_for_as_long_as_it_says(through: Caller, waits: list[float]) -> None:
    handler = answering(refusal(429, Retry_After="7"), httpx.Response(200, json={"predictions": []}))
    assert through(handler, lambda client: client.predict("m", [{}])) == {"predictions": []}
    assert [7 <= wait <= 7.2 for wait in waits] == [True]


@pytest.mark.parametrize(
    ("use", "path"),
    [
        (lambda client: client.submit({"task": "t"}), "/v1/jobs"),
        (lambda client: client.sweep({"task": "t"}), "/v1/sweeps"),
        (lambda client: client.batch("m", "ds_1"), "/v1/models/m/batch-predictions"),
        (lambda client: client.evaluate("m", {"dataset": "ds_1"}), "/v1/models/m/evaluations"),
    ],
)
def test_what_creates_is_repeated_with_its_key(through: Caller, use: Any, path: str) -> None:
    sent: list[httpx.Request] = []
    answers = (httpx.ReadTimeout, refusal(409), httpx.Response(202, json=JOB))
    assert through(answering(*answers, sent=sent), use) == JOB
    assert {request.url.path for request in sent} == {path}
    keys = [request.headers["idempotency-key"] for request in sent]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert len({request.content for request in sent}) == 1


def test_two_submissions_have_two_keys(through: Caller) -> None:
    sent: list[httpx.Request] = []
    for _ in range(2):
        through(answering(httpx.Response(202, json=JOB), sent=sent), lambda client: client.submit({}))
    assert len({request.headers["idempotency-key"] for request in sent}) == 2


def test_an_upload_is_read_anew(through: Caller, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"y\n1\n")
    sent: list[httpx.Request] = []
    handler = answering(httpx.WriteError, httpx.Response(201, json={"id": "ds_1"}), sent=sent)
    assert through(handler, lambda client: client.upload(path, "forecasting")) == {"id": "ds_1"}
    assert [request.content.count(b"y\n1\n") for request in sent] == [1, 1]
    assert len({request.headers["idempotency-key"] for request in sent}) == 1


def test_a_conflict_at_the_first_attempt_is_final(through: Caller, waits: list[float]) -> None:
    with pytest.raises(Conflict):
        through(answering(refusal(409)), lambda client: client.submit({}))
    assert waits == []


def test_a_request_that_may_have_been_done_is_not_repeated(through: Caller, waits: list[float]) -> None:
    def use(client: Any) -> Any:
        return client.send("POST", "/v1/keys", json={"name": "k"})

    with pytest.raises(ConnectionLost):
        through(answering(httpx.ReadError), use)
    with pytest.raises(Unavailable):
        through(answering(refusal(503)), use)
    assert waits == []
    answers = (httpx.ConnectError, refusal(429), httpx.Response(201, json={}))  # it was not done
    assert through(answering(*answers), use).status_code == 201


def test_the_last_error_is_raised(through: Caller, waits: list[float]) -> None:
    with pytest.raises(ServerNotFound, match="http://server"):
        through(answering(*[httpx.ConnectError] * 3), lambda client: client.get("/"), retries=2)
    assert len(waits) == 2
    with pytest.raises(LimitReached, match="no"):
        through(answering(refusal(429)), lambda client: client.get("/"), retries=0)


def test_a_wait_that_is_too_long_is_an_error_at_once(through: Caller, waits: list[float]) -> None:
    with pytest.raises(LimitReached):
        through(answering(refusal(429, Retry_After="3600")), lambda client: client.get("/"))
    assert waits == []


def test_retry_after_may_be_a_date() -> None:
    def seconds(text: str) -> float:
        return retry_after(httpx.Response(429, headers={"Retry-After": text}))

    later = datetime.now(UTC) + timedelta(seconds=90)
    assert 80 < seconds(format_datetime(later, usegmt=True)) <= 90
    assert [seconds(text) for text in ("5", "", "soon", "-3", "nan")] == [5, 0, 0, 0, 0]
    assert retry_after(httpx.Response(429)) == 0


def test_waits_double_up_to_a_limit() -> None:
    retries = Retries(count=12)
    waits = [retries.wait_seconds(attempt) or 0.0 for attempt in range(12)]
    longest = [min(0.2 * 2**attempt, 60.0) for attempt in range(12)]
    assert all(limit / 2 <= wait <= limit for wait, limit in zip(waits, longest, strict=True))
    assert retries.wait_seconds(12) is None


def test_a_watched_job_is_polled_until_its_end(through: Caller, waits: list[float]) -> None:
    sent: list[httpx.Request] = []
    handler = answering(
        httpx.Response(200, json=JOB, headers={"ETag": '"1"'}),
        httpx.Response(304),
        httpx.ReadError, refusal(503), httpx.ReadError,
        httpx.Response(200, json=JOB | {"status": "succeeded"}, headers={"ETag": '"2"'}),
        sent=sent,
    )  # fmt: skip
    states = through(handler, lambda client: client.watch("job_1"), retries=0)
    assert [state["status"] for state in states] == ["queued", "succeeded"]
    assert [request.headers.get("if-none-match") for request in sent] == [None, *['"1"'] * 5]
    assert [request.headers.get("prefer") for request in sent] == [None, *["wait=30"] * 5]
    assert len(waits) == 4


def test_a_response_that_is_no_json_is_of_no_server(through: Caller) -> None:
    with pytest.raises(RecurraError, match="is that a Recurra server"):
        through(answering(httpx.Response(200, text="hello")), lambda client: client.get("/"))
