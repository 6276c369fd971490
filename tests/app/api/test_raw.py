"""Routes without the framework: what they give up nothing of."""

import asyncio
import json
import logging
import socket
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import closing, contextmanager
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import uvicorn
from prometheus_client import REGISTRY
from sqlalchemy.exc import OperationalError

from app.api import problems, sse
from app.api.access.declared import requires
from app.api.raw import (
    DEADLINE_GRACE_SECONDS,
    DISCONNECT_CHECK_SECONDS,
    JSON_TYPE,
    Application,
    Body,
    Call,
    Headers,
    RawRoute,
)
from app.errors import Invalid, Problem, QueueFull
from app.server import CoalescingProtocol
from app.services.access.callers import Scope
from app.typedefs import Json
from tests.support.fixtures.http_server import serving
from tests.support.fixtures.servers import until

LIMIT = 100_000


class Endpoints:
    """What the routes under test do, and what became of them."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self.waiting = threading.Event()
        self.closed = threading.Event()  # a stream

    @requires(Scope.PREDICT)
    async def echo(self, call: Call) -> tuple[bytes, Headers]:
        message = {
            "parameters": call.parameters,
            "query": call.query.decode(),
            "agent": call.headers[b"user-agent"].decode(),
            "size": len(call.body),
            "limit": call.shared.limits.request_bytes,
        }
        return json.dumps(message).encode(), [JSON_TYPE, (b"x-own", b"1")]

    @requires(Scope.PREDICT)
    async def fail(self, call: Call) -> tuple[bytes, Headers]:
        raise {
            "full": QueueFull(),
            "invalid": Invalid("no", [Problem("/a", "b")]),
            "database": OperationalError("select", {}, Exception("no route to host")),
            "bug": RuntimeError("secret"),
            "hang": TimeoutError("secret"),
        }[call.parameters["kind"]]

    @requires(Scope.PREDICT)
    async def tell(self, call: Call) -> tuple[Body, Headers]:
        return await sse.after_first_chunk(self._chunks(call.parameters["kind"])), [*sse.SSE_HEADERS]

    async def _chunks(self, kind: str) -> AsyncGenerator[bytes]:
        try:
            if kind == "never":
                raise QueueFull
            yield sse.event(b"1")
            self.waiting.set()
            if kind == "full":
                raise QueueFull
            if kind == "bug":
                raise RuntimeError("secret")
            if kind == "slow":
                await asyncio.sleep(60)
            yield sse.event(b'{"a":2}', b"done")
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        finally:
            self.closed.set()

    @requires(Scope.PREDICT)
    async def be_patient(self, call: Call) -> tuple[bytes, Headers]:
        call.allow(60)
        await asyncio.sleep(2 * DEADLINE_GRACE_SECONDS)
        return b"{}", [JSON_TYPE]

    @requires(Scope.PREDICT)
    async def wait(self, call: Call) -> tuple[bytes, Headers]:
        self.waiting.set()
        try:
            await asyncio.sleep(float(call.query or b"60"))
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return b"{}", [JSON_TYPE]


@pytest.fixture
def endpoints() -> Endpoints:
    return Endpoints()


@contextmanager
def served(app: Any) -> Iterator[str]:
    config = uvicorn.Config(app, log_config=None, http=CoalescingProtocol, timeout_graceful_shutdown=3)
    with serving(config) as url:
        yield url


def operation(name: str) -> Json:
    return {"operationId": name, "responses": {"200": {"description": "Done"}}}


@pytest.fixture
def http(endpoints: Endpoints) -> Iterator[httpx.Client]:
    app = Application(
        [
            RawRoute("/raw/{name}/echo/{number}", endpoints.echo, operation("echo_number")),
            RawRoute("/raw/{kind}/fail", endpoints.fail, operation("fail")),
            RawRoute("/raw/wait", endpoints.wait, operation("wait")),
            RawRoute("/v2/wait", endpoints.wait, operation("wait_for_tensors")),
            RawRoute("/openai/wait", endpoints.wait, operation("wait_for_texts")),
            RawRoute("/raw/patient", endpoints.be_patient, operation("be_patient")),
            RawRoute("/raw/{kind}/tell", endpoints.tell, operation("tell")),
            RawRoute("/openai/{kind}/tell", endpoints.tell, operation("tell_client")),
        ]
    )
    app.state.shared = SimpleNamespace(limits=SimpleNamespace(request_bytes=LIMIT))
    app.get("/raw/{name}/echo/{number}")(lambda name, number: {"get": name})
    problems.install(app)
    with served(app) as url, httpx.Client(base_url=url, timeout=120) as client:
        yield client


def test_path_query_headers_and_body_arrive(http: httpx.Client) -> None:
    answer = http.post("/raw/a%20b/echo/7?x=1&y=%20", content=b"x" * 5000, headers={"user-agent": "me"})
    assert answer.status_code == 200
    assert answer.json() == {
        "parameters": {"name": "a b", "number": "7"},
        "query": "x=1&y=%20",
        "agent": "me",
        "size": 5000,
        "limit": LIMIT,
    }
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-own"] == "1"
    assert int(answer.headers["content-length"]) == len(answer.content)


@pytest.mark.parametrize(
    "path", ["/raw/a/echo", "/raw/a/echo/", "/raw/a/b/echo/1", "/raw/a/echo/1/x", "/raw/a/echo/1%0A"]
)
def test_other_paths_are_the_frameworks(http: httpx.Client, path: str) -> None:
    expected = 200 if path.endswith("%0A") else 404
    assert http.post(path).status_code == expected


def test_other_methods_are_the_frameworks(http: httpx.Client) -> None:
    assert http.get("/raw/a/echo/1").json() == {"get": "a"}
    assert http.put("/raw/a/echo/1").status_code == 405


@pytest.mark.parametrize("value", ["abc-1", "x" * 128])
def test_a_safe_request_id_is_returned(http: httpx.Client, value: str) -> None:
    assert http.post("/raw/a/echo/1", headers={"X-Request-ID": value}).headers["x-request-id"] == value


@pytest.mark.parametrize("value", ["", "x" * 129, "a b"])
def test_another_gets_one_of_ours(http: httpx.Client, value: str) -> None:
    answers = [http.post("/raw/a/echo/1", headers={"X-Request-ID": value}) for _ in range(3)]
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids) == 3
    assert all(len(one) == 16 for one in ids)


@pytest.mark.parametrize(
    ("kind", "status", "retry"),
    [("full", 429, "1"), ("invalid", 422, None), ("database", 503, "2"), ("bug", 500, None)],
)
def test_errors_are_problems_as_elsewhere(
    http: httpx.Client, kind: str, status: int, retry: str | None
) -> None:
    answer = http.post(f"/raw/{kind}/fail", headers={"X-Request-ID": "mine"})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers.get("retry-after") == retry
    body = answer.json()
    assert (body["status"], body["request_id"]) == (status, "mine")
    assert "secret" not in answer.text
    assert http.post("/raw/a/echo/1").status_code == 200  # on the same connection


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1, 5 * LIMIT])
@pytest.mark.parametrize("chunked", [False, True], ids=["whole", "chunked"])
def test_bodies_are_bounded_however_they_come(http: httpx.Client, size: int, chunked: bool) -> None:
    body: Any = iter([b"x" * (size // 2), b"x" * (size - size // 2)]) if chunked else b"x" * size
    answer = http.post("/raw/a/echo/1", content=body)
    assert answer.status_code == (200 if size <= LIMIT else 413)
    if size <= LIMIT:
        assert answer.json()["size"] == size


def test_a_body_that_is_announced_to_be_too_large_is_not_read(endpoints: Endpoints) -> None:
    app = Application([RawRoute("/raw/{name}/echo/{number}", endpoints.echo, {})])
    app.state.shared = SimpleNamespace(limits=SimpleNamespace(request_bytes=LIMIT))
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("nothing of the body is needed")

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/raw/a/echo/1", "query_string": b"", "app": app}
    scope |= {"headers": [(b"content-length", b"%d" % (LIMIT + 1))]}
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 413


def test_a_request_whose_client_went_away_is_dropped(http: httpx.Client, endpoints: Endpoints) -> None:
    address = (http.base_url.host, http.base_url.port)
    with closing(socket.create_connection(address)) as client:
        client.sendall(b"POST /raw/wait HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
        assert endpoints.waiting.wait(10)
        assert not endpoints.cancelled.is_set()
    assert endpoints.cancelled.wait(10)
    assert http.post("/raw/a/echo/1").status_code == 200


def test_a_slow_answer_is_an_answer(http: httpx.Client, endpoints: Endpoints) -> None:
    answer = http.post(f"/raw/wait?{3 * DISCONNECT_CHECK_SECONDS}")
    assert (answer.status_code, answer.text) == (200, "{}")
    assert not endpoints.cancelled.is_set()


@pytest.mark.parametrize("path", ["/raw/wait", "/v2/wait", "/openai/wait"])
def test_the_deadline_holds_whatever_the_endpoint_waits_for(
    http: httpx.Client, endpoints: Endpoints, path: str
) -> None:
    answer = http.post(path, headers={"X-Request-Timeout": "0.05"})
    assert answer.status_code == 504
    assert endpoints.cancelled.is_set()
    assert "deadline" in answer.text
    assert http.post("/raw/a/echo/1").status_code == 200  # on the same connection


def test_an_endpoint_may_allow_more_time(http: httpx.Client, endpoints: Endpoints) -> None:
    answer = http.post("/raw/patient", headers={"X-Request-Timeout": "0.01"})
    assert (answer.status_code, answer.text) == (200, "{}")


def test_an_error_of_time_inside_is_no_deadline(http: httpx.Client) -> None:
    assert http.post("/raw/hang/fail").status_code == 500


def test_a_body_may_come_in_chunks(http: httpx.Client, endpoints: Endpoints) -> None:
    answer = http.post("/raw/well/tell", headers={"X-Request-ID": "mine"})
    assert (answer.status_code, answer.text) == (200, 'data: 1\n\nevent: done\ndata: {"a":2}\n\n')
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.headers["x-request-id"] == "mine"
    assert endpoints.closed.wait(1)
    assert http.post("/raw/a/echo/1").status_code == 200  # on the same connection


def test_what_goes_wrong_before_the_first_chunk_is_an_answer(
    http: httpx.Client, endpoints: Endpoints
) -> None:
    answer = http.post("/raw/never/tell")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert answer.headers["content-type"] == "application/problem+json"
    assert endpoints.closed.wait(1)


@pytest.mark.parametrize(("kind", "status"), [("full", 429), ("bug", 500)])
def test_what_goes_wrong_later_is_the_last_event(http: httpx.Client, kind: str, status: int) -> None:
    first, last, end = http.post(f"/raw/{kind}/tell").text.split("\n\n")
    assert (first, end) == ("data: 1", "")
    name, text = last.split("\n")
    assert name == "event: error"
    assert json.loads(text.removeprefix("data: "))["status"] == status
    assert "secret" not in text
    (text,) = http.post(f"/openai/{kind}/tell").text.split("\n\n")[1:-1]
    assert json.loads(text.removeprefix("data: "))["error"]["message"]


def test_a_stream_whose_client_went_away_is_dropped(http: httpx.Client, endpoints: Endpoints) -> None:
    address = (http.base_url.host, http.base_url.port)
    before = counted("/raw/{kind}/tell", 499)
    with closing(socket.create_connection(address)) as client:
        client.sendall(b"POST /raw/slow/tell HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        assert endpoints.waiting.wait(10)
    assert endpoints.cancelled.wait(10)
    assert endpoints.closed.wait(10)
    until(lambda: counted("/raw/{kind}/tell", 499) == before + 1, what="the count")


def test_a_client_that_leaves_before_its_answer_is_no_error(
    http: httpx.Client, endpoints: Endpoints, caplog: pytest.LogCaptureFixture
) -> None:
    address = (http.base_url.host, http.base_url.port)
    before = counted("/raw/wait", 499)
    with closing(socket.create_connection(address)) as client:
        client.sendall(b"POST /raw/wait HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
        assert endpoints.waiting.wait(10)
    until(lambda: counted("/raw/wait", 499) == before + 1, what="the count")
    assert http.post("/raw/a/echo/1").status_code == 200
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []


def counted(route: str, status: int) -> float:
    labels = {"method": "POST", "route": route, "status": str(status)}
    return REGISTRY.get_sample_value("recurra_http_requests_total", labels) or 0.0


def test_requests_are_counted_by_template(http: httpx.Client) -> None:
    route = "/raw/{name}/echo/{number}"
    before = counted(route, 200)
    http.post("/raw/one/echo/1")
    http.post("/raw/two/echo/2")
    assert counted(route, 200) == before + 2
    failed = counted("/raw/{kind}/fail", 429)
    http.post("/raw/full/fail")
    assert counted("/raw/{kind}/fail", 429) == failed + 1


def test_the_document_has_raw_routes_beside_the_others(http: httpx.Client) -> None:
    operations = http.get("/openapi.json").json()["paths"]["/raw/{name}/echo/{number}"]
    assert set(operations) == {"get", "post"}
    post = operations["post"]
    assert (post["operationId"], post["summary"]) == ("echo_number", "Echo number")
    assert post["responses"].pop("200") == {"description": "Done"}
    assert post["responses"].keys() == {"403", "404", "409", "421", "422", "500", "503"}
