"""Every error as a problem document: status, slug, headers, places, and nothing of the inside."""

import json
from collections.abc import Callable
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI, Query
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field
from sqlalchemy import exc
from starlette.exceptions import HTTPException

from app import errors
from app.api import problems
from app.api.middleware import RequestIdMiddleware
from app.api.problems import TITLES
from app.errors import AppError, Invalid, Problem, Unavailable, pointer
from app.hyperparameters.options import StrictModel
from app.schemas import Text
from tests.support.fakes.asgi import Asgi

OURS = [
    child
    for child in vars(errors).values()
    if isinstance(child, type) and issubclass(child, AppError) and child is not AppError
]
KNOWN = {
    "NotFound": (404, "not-found", None),
    "ModelNotTrained": (404, "model-not-trained", "5"),
    "Forbidden": (403, "forbidden", None),
    "Unauthenticated": (401, "unauthenticated", None),
    "LimitReached": (429, "limit-reached", None),
    "Conflict": (409, "conflict", None),
    "Invalid": (422, "invalid-request", None),
    "DatasetInvalid": (422, "dataset-invalid", None),
    "Misdirected": (421, "misdirected-request", None),
    "UnsupportedMediaType": (415, "unsupported-media-type", None),
    "TooLarge": (413, "too-large", None),
    "QueueFull": (429, "queue-full", "1"),
    "Unavailable": (503, "unavailable", "2"),
    "DeadlinePassed": (504, "deadline-passed", None),
    "PredictionFailed": (500, "prediction-failed", None),
    "ModelDamaged": (500, "model-damaged", None),
    "NoSpace": (507, "no-space", None),
}


class Body(StrictModel):
    """Something with depth."""

    name: Text
    parts: dict[str, list[int]] = Field(default_factory=dict)


class Stage:
    """An application with one route that raises what it is given."""

    def __init__(self) -> None:
        self.app = FastAPI()
        self.error: BaseException = RuntimeError()
        self.app.get("/raise")(self._raise)
        self.app.post("/body")(self._body)
        self.app.get("/query")(self._query)
        problems.install(self.app)
        self.app.add_middleware(RequestIdMiddleware)
        self.http = Asgi(self.app)

    def _raise(self) -> None:
        raise self.error

    def _body(self, body: Body) -> Body:
        return body

    def _query(self, limit: Annotated[int, Query(ge=1)]) -> int:
        return limit

    def tell(self, error: BaseException) -> httpx.Response:
        self.error = error
        return self.http.get("/raise")


@pytest.fixture(scope="module")
def stage() -> Stage:
    return Stage()


def document(answer: httpx.Response) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = json.loads(answer.content)
    assert list(body) == ["type", "title", "status", "detail", "request_id", "errors"]
    assert body["status"] == answer.status_code
    assert body["request_id"] == answer.headers["x-request-id"]
    assert body["detail"]
    return body


def test_the_contract_names_every_error_there_is() -> None:
    assert {child.__name__ for child in OURS} == KNOWN.keys()


@pytest.mark.parametrize("child", OURS, ids=lambda child: child.__name__)
def test_each_error_has_its_status_slug_and_headers(stage: Stage, child: type[AppError]) -> None:
    status, code, retry_after = KNOWN[child.__name__]
    answer = stage.tell(child())
    body = document(answer)
    assert (body["status"], body["type"]) == (status, f"/problems/{code}")
    assert body["title"] == TITLES[status]
    assert body["detail"] == (child.__doc__ or "").strip()
    assert body["errors"] == []
    assert answer.headers.get("retry-after") == retry_after
    assert answer.headers.get("x-should-retry") == ("false" if status == 409 else None)


def test_a_message_has_its_pointers(stage: Stage) -> None:
    result = document(stage.tell(Invalid("Two faults", [Problem("/a/0", "odd"), Problem("", "rotten")])))
    assert result["detail"] == "Two faults"
    assert result["errors"] == [{"pointer": "/a/0", "detail": "odd"}, {"pointer": "", "detail": "rotten"}]


AWAY: list[Callable[[], exc.SQLAlchemyError]] = [
    lambda: exc.OperationalError("SELECT secret", {"password": "hunter2"}, Exception("10.0.0.7 refused")),
    lambda: exc.InterfaceError("SELECT secret", {}, Exception("hunter2")),
    lambda: exc.TimeoutError("QueuePool hunter2 limit"),
    lambda: exc.DBAPIError("SELECT secret", {}, Exception("hunter2"), connection_invalidated=True),
]
WRONG: list[Callable[[], exc.SQLAlchemyError]] = [
    lambda: exc.ProgrammingError("SELECT secret", {}, Exception("hunter2")),
    lambda: exc.IntegrityError("INSERT secret", {}, Exception("hunter2")),
    lambda: exc.NoResultFound("hunter2 secret"),
]


def inside(answer: httpx.Response) -> list[str]:
    """What of our inside an answer shows."""
    words = ("hunter2", "secret", "10.0.0.7", "SELECT", "Traceback", "sqlalchemy", ".py")
    return [word for word in words if word in answer.text]


@pytest.mark.parametrize("make", AWAY)
def test_a_database_that_is_away_is_worth_another_try(
    stage: Stage, make: Callable[[], exc.SQLAlchemyError]
) -> None:
    answer = stage.tell(make())
    body = document(answer)
    assert (body["status"], body["type"]) == (503, "/problems/unavailable")
    assert answer.headers["retry-after"] == str(Unavailable.retry_after)
    assert inside(answer) == []


@pytest.mark.parametrize("make", WRONG)
def test_any_other_fault_of_the_database_is_ours(
    stage: Stage, make: Callable[[], exc.SQLAlchemyError]
) -> None:
    answer = stage.tell(make())
    body = document(answer)
    assert (body["status"], body["type"]) == (500, "/problems/internal")
    assert "retry-after" not in answer.headers
    assert inside(answer) == []


def test_a_value_no_database_can_hold_is_the_callers(stage: Stage) -> None:
    answer = stage.tell(exc.DataError("SELECT secret", {}, Exception("NUL bytes of hunter2")))
    assert document(answer)["status"] == 422
    assert inside(answer) == []


@pytest.mark.parametrize("error", [RuntimeError("secret"), KeyError("hunter2"), RecursionError("secret")])
def test_a_fault_of_ours_shows_nothing(stage: Stage, error: Exception) -> None:
    answer = stage.tell(error)
    assert document(answer)["type"] == "/problems/internal"
    assert inside(answer) == []


@pytest.mark.parametrize(
    ("error", "slug"),
    [
        (HTTPException(404), "not-found"),
        (HTTPException(405, headers={"Allow": "GET"}), "method-not-allowed"),
        (HTTPException(413), "too-large"),
        (HTTPException(418, "teapot"), "error"),
    ],
)
def test_errors_of_the_framework_look_the_same(stage: Stage, error: HTTPException, slug: str) -> None:
    answer = stage.tell(error)
    assert document(answer)["type"] == f"/problems/{slug}"
    assert answer.headers.get("allow") == (error.headers or {}).get("Allow")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/name"),
        ({"name": 3}, "/name"),
        ({"name": "n", "parts": {"a": [1, "x"]}}, "/parts/a/1"),
        ({"name": "n", "parts": {"a/b": ["x"]}}, "/parts/a~1b/0"),
        ({"name": "n", "parts": {"a~b": ["x"]}}, "/parts/a~0b/0"),
        ({"name": "n", "parts": {"~1": ["x"]}}, "/parts/~01/0"),
        ({"name": "n", "parts": {"": ["x"]}}, "/parts//0"),
        ([], ""),
    ],
)
def test_a_bad_body_is_pointed_at(stage: Stage, body: Any, pointer: str) -> None:
    result = document(stage.http.post("/body", json=body))
    assert (result["status"], result["type"]) == (422, "/problems/invalid-request")
    assert [error["pointer"] for error in result["errors"]] == [pointer]


def test_a_bad_query_is_pointed_at(stage: Stage) -> None:
    for query in ("", "?limit=0", "?limit=x"):
        assert document(stage.http.get(f"/query{query}"))["errors"][0]["pointer"] == "/query/limit"


def unescaped(step: str) -> str:
    return step.replace("~1", "/").replace("~0", "~")


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])) | st.integers(0, 99), max_size=5))
def test_a_pointer_leads_back_to_its_steps(steps: list[str | int]) -> None:
    written = pointer(*steps)
    assert [unescaped(step) for step in written.split("/")[1:]] == [str(step) for step in steps]
    assert written.startswith("/") or not steps


@pytest.mark.parametrize("text", ["\ud800", "ü", "\x00", '"', "\u2028"])
def test_whatever_a_request_had_can_be_quoted(stage: Stage, text: str) -> None:
    result = document(stage.tell(Invalid(f"Odd: {text}", [Problem(pointer("a", text), text)])))
    assert result["detail"] == f"Odd: {text}"
    assert result["errors"] == [{"pointer": f"/a/{text}", "detail": text}]


def test_a_body_without_its_type_says_which_header_is_missing(stage: Stage) -> None:
    for headers in (
        {},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "text/plain"},
    ):
        result = document(stage.http.post("/body", content=b'{"name": "n"}', headers=headers))
        assert (result["status"], result["type"]) == (415, "/problems/unsupported-media-type")
        assert "Content-Type: application/json" in result["detail"]
        assert result["detail"].endswith(f"it says {headers['content-type']}" if headers else "there is none")
        assert [error["pointer"] for error in result["errors"]] == ["/header/Content-Type"]


def test_no_body_is_said_to_be_missing(stage: Stage) -> None:
    result = document(stage.http.post("/body"))
    assert (result["status"], result["detail"]) == (422, "the body is missing; it is a JSON object")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            b'{"name": "n",\n "parts": {,}}',
            "line 2, column 12: Expecting property name enclosed in double quotes",
        ),
        (b"{'name': 1}", "line 1, column 2: Expecting property name enclosed in double quotes"),
        (b'{"name": "gr\xfcn"}', "line 1, column 13: the byte 0xfc is not UTF-8"),
        (b'{"parts": ' + b"[" * 100_000, "it is nested too deeply"),
        (b'{"parts": ' + b"9" * 5_000 + b"}", "a number has too many digits"),
    ],
)
def test_a_syntax_error_has_line_column_and_reason(stage: Stage, content: bytes, reason: str) -> None:
    headers = {"content-type": "application/json"}
    result = document(stage.http.post("/body", content=content, headers=headers))
    assert (result["status"], result["detail"]) == (422, f"The body is not JSON: {reason}")
    assert result["errors"] == [{"pointer": "", "detail": f"not JSON: {reason}"}]


def test_the_detail_is_the_first_fault_and_how_many_there_are(stage: Stage) -> None:
    result = document(stage.http.post("/body", json={"parts": {"a": ["x", "y"]}}))
    assert result["detail"] == "/name: Field required (and 2 more)"
    assert stage.tell(Invalid(problems=[Problem("", "odd")])).json()["detail"] == "odd"


def test_half_a_surrogate_pair_is_pointed_at(stage: Stage) -> None:
    headers = {"content-type": "application/json"}
    result = document(stage.http.post("/body", content=rb'{"name": "bad \ud83d"}', headers=headers))
    detail = "The name is no Unicode text: character 4 is half of a surrogate pair."
    assert result["errors"] == [{"pointer": "/name", "detail": detail}]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/body", "POST"),
        ("HEAD", "/body", "POST"),
        ("PUT", "/query", "GET, HEAD"),
        ("BREW", "/raise", "GET, HEAD"),
    ],
)
def test_another_method_is_told_which_there_are(stage: Stage, method: str, path: str, allow: str) -> None:
    answer = stage.http.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allow)
    if method != "HEAD":
        assert allow in document(answer)["detail"]


def test_an_unknown_path_gets_a_hint(stage: Stage) -> None:
    assert document(stage.http.get("/quary"))["detail"] == "There is no path /quary; did you mean GET /query?"
    assert "lists the paths" in document(stage.http.get("/elsewhere/" + "x" * 1000))["detail"]
