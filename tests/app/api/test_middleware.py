"""What surrounds every request: an id, a count by route, a line in the log, and a last resort."""

import logging
import re
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Body, FastAPI
from fastapi.responses import StreamingResponse
from prometheus_client import REGISTRY

from app.api import problems
from app.api.middleware import RequestIdMiddleware
from tests.support.fakes.asgi import Asgi


def broken_halfway() -> StreamingResponse:
    def pieces() -> Iterator[bytes]:
        yield b"first"
        raise RuntimeError("secret")

    return StreamingResponse(pieces(), headers={"X-Own": "1"})


def broken() -> None:
    raise RuntimeError("secret")


def thing(thing_id: str) -> dict[str, str]:
    return {"id": thing_id}


@pytest.fixture
def http() -> Asgi:
    router = APIRouter(prefix="/middleware")
    router.get("/things/{thing_id}")(thing)
    router.get("/broken")(broken)
    router.get("/halfway")(broken_halfway)
    app = FastAPI()
    app.include_router(router)
    app.add_middleware(RequestIdMiddleware)
    return Asgi(app)


def counted(route: str, status: int, method: str = "GET") -> float:
    labels = {"method": method, "route": route, "status": str(status)}
    return REGISTRY.get_sample_value("recurra_http_requests_total", labels) or 0.0


@pytest.mark.parametrize("value", ["a", "a-B_9.z:0", "x" * 128])
def test_a_sane_id_is_handed_back(http: Asgi, value: str) -> None:
    answer = http.get("/middleware/things/1", headers={"X-Request-ID": value})
    assert answer.headers.get_list("x-request-id") == [value]


@pytest.mark.parametrize("value", ["", " ", "x" * 129, "a b", "a;b", "<script>", "a\tb", "é".encode()])
def test_another_id_is_replaced(http: Asgi, value: str | bytes) -> None:
    answer = http.get("/middleware/things/1", headers={"X-Request-ID": value})
    assert re.fullmatch("[0-9a-f]{16}", answer.headers["x-request-id"])


def test_ids_are_made_anew_for_each_request(http: Asgi) -> None:
    made = {http.get("/middleware/things/1").headers["x-request-id"] for _ in range(20)}
    assert len(made) == 20


def test_requests_are_counted_under_their_routes_template(http: Asgi) -> None:
    route = "/middleware/things/{thing_id}"
    before = counted(route, 200)
    for name in ("one", "two", "three"):
        http.get(f"/middleware/things/{name}")
    assert counted(route, 200) == before + 3
    assert counted("/middleware/things/one", 200) == 0
    seconds = {"method": "GET", "route": route}
    assert (REGISTRY.get_sample_value("recurra_http_request_seconds_count", seconds) or 0) >= 3


def test_paths_nobody_serves_share_one_label(http: Asgi) -> None:
    before = counted("unknown", 404)
    for number in range(5):
        assert http.get(f"/nothing/{number}").status_code == 404
    assert counted("unknown", 404) == before + 5


def test_a_fault_is_answered_counted_and_logged_with_its_id(
    http: Asgi, caplog: pytest.LogCaptureFixture
) -> None:
    before = counted("/middleware/broken", 500)
    with caplog.at_level(logging.INFO, "recurra.access"):
        answer = http.get("/middleware/broken", headers={"X-Request-ID": "find-me"})
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"] == "find-me"
    assert "secret" not in answer.text
    assert counted("/middleware/broken", 500) == before + 1
    fault, line = [record for record in caplog.records if record.name == "recurra.access"]
    assert fault.exc_info is not None
    assert "secret" in str(fault.exc_info[1])
    assert {record.__dict__["request_id"] for record in (fault, line)} == {"find-me"}
    assert line.getMessage().startswith("127.0.0.1 GET /middleware/broken 500 ")


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("prefix", ["/middleware", "/v2", "/openai"])
def test_a_body_that_is_too_large_is_refused_with_a_problem(prefix: str, announced: bool) -> None:
    """The framework itself answers in plain text where the length is announced."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"1" * 40

    app = FastAPI()

    @app.post(f"{prefix}/body", max_body_size=100)
    def body(number: Annotated[int, Body()]) -> int:
        return number

    problems.install(app)
    app.add_middleware(RequestIdMiddleware)
    content = b"1" * 120 if announced else pieces()
    headers = {"content-type": "application/json", "x-request-id": "mine"}
    answer = Asgi(app).post(f"{prefix}/body", content=content, headers=headers)
    assert answer.status_code == 413
    assert answer.headers["x-request-id"] == "mine"
    if prefix == "/middleware":
        assert answer.headers["content-type"] == "application/problem+json"
        assert (answer.json()["type"], answer.json()["request_id"]) == ("/problems/too-large", "mine")
    else:
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["error"]


def test_an_answer_that_began_is_broken_off_and_not_mixed_with_another(
    http: Asgi, caplog: pytest.LogCaptureFixture
) -> None:
    before = counted("/middleware/halfway", 200)
    answer = http.get("/middleware/halfway")
    assert (answer.status_code, answer.content) == (200, b"first")
    assert answer.headers["x-own"] == "1"
    assert len(answer.headers.get_list("x-request-id")) == 1
    assert "secret" in caplog.text
    assert counted("/middleware/halfway", 200) == before + 1


def test_what_is_not_http_passes_through() -> None:
    observed: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        observed.append(scope["type"])

    async def nothing(*_: Any) -> Any:
        raise AssertionError("nothing is read or sent")

    coroutine = RequestIdMiddleware(app)({"type": "lifespan"}, nothing, nothing)
    with pytest.raises(StopIteration):
        coroutine.send(None)
    assert observed == ["lifespan"]


def test_head_is_get_without_the_body(http: Asgi) -> None:
    before = counted("/middleware/things/{thing_id}", 200, "HEAD")
    whole, head = (http.request(method, "/middleware/things/1") for method in ("GET", "HEAD"))
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(whole.content))
    assert head.headers["content-type"] == whole.headers["content-type"]
    assert counted("/middleware/things/{thing_id}", 200, "HEAD") == before + 1
    assert http.request("HEAD", "/nothing").status_code == 404


def test_head_of_a_stream_ends_before_its_content(http: Asgi, caplog: pytest.LogCaptureFixture) -> None:
    answer = http.request("HEAD", "/middleware/halfway")
    assert (answer.status_code, answer.content, answer.headers["x-own"]) == (200, b"", "1")
    assert "secret" not in caplog.text


def test_head_of_a_fault_is_its_status(http: Asgi) -> None:
    answer = http.request("HEAD", "/middleware/broken")
    assert (answer.status_code, answer.content) == (500, b"")
