"""Responses to errors: `application/problem+json` (RFC 9457), or what clients of another interface expect."""

import json
import logging
from collections.abc import Collection, Sequence

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from fastapi.responses import Response
from sqlalchemy.exc import DataError, DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from app.api.codings import ACCEPTED_CODINGS, UnsupportedCoding
from app.api.paths import PathIndex
from app.api.request_errors import invalid_request, unreadable_body
from app.api.response_schemas import reference
from app.errors import AppError, Invalid, Problem, Unavailable, pointer
from app.typedefs import Json

log = logging.getLogger(__name__)

TITLES = {
    400: "Bad request",
    401: "Unauthenticated",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Too large",
    415: "Unsupported media type",
    416: "Range not satisfiable",
    421: "Misdirected request",
    422: "Not valid",
    426: "Upgrade required",
    429: "Too many requests",
    500: "Internal error",
    503: "Unavailable",
    504: "Deadline passed",
    507: "No space",
}
PROBLEM_SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "request_id", "errors"],
    "properties": {
        "type": {"type": "string", "examples": ["/problems/dataset-invalid"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}
OPEN_INFERENCE_ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
OPENAI_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
# The schemas of errors: of this interface, of the Open Inference Protocol, and of OpenAI's.
COMPONENTS: Json = {
    "Problem": PROBLEM_SCHEMA | {"description": "What is wrong (RFC 9457), with pointers into the request."},
    "InferenceError": OPEN_INFERENCE_ERROR | {"description": "What is wrong, in one sentence."},
    "CompletionError": OPENAI_ERROR | {"description": "What is wrong, as OpenAI's clients read it."},
}
OPEN_INFERENCE_PREFIX = "/v2/"  # of paths whose errors have the form of the Open Inference Protocol
OPENAI_PREFIX = "/openai/"  # of paths whose errors have OpenAI's form
PROTOCOL_STATUSES = ("400", "413", "415", "429", "504")  # that every path of the two may answer with
OPENAI_ERROR_TYPES = {429: "rate_limit_error"}  # of others: see `_openai`
CHALLENGE = 'Bearer realm="recurra"'  # of 401 (RFC 6750)
MAX_PATH_CHARS = 200  # of an unknown path that are quoted
NO_RETRY = {"x-should-retry": "false"}  # two well-known clients repeat every 409 without this header


def problem(
    request: HTTPConnection,
    status: int,
    code: str,
    detail: str,
    problems: Sequence[Problem] = (),
    headers: dict[str, str] | None = None,
) -> Response:
    """The response to an error in the form of the interface that the path belongs to."""
    if f"{request.scope['path']}/".startswith(OPEN_INFERENCE_PREFIX):
        return _open_inference(status, detail, problems, headers)
    if request.scope["path"].startswith(OPENAI_PREFIX):
        return _openai(status, code, detail, problems, headers)
    body = problem_document(request, status, code, detail, problems)
    # Not orjson: a quotation from the request may hold lone surrogates, which only escapes can express.
    return Response(json.dumps(body), status, {**(headers or {})}, media_type="application/problem+json")


def problem_document(
    connection: HTTPConnection, status: int, code: str, detail: str, problems: Sequence[Problem]
) -> Json:
    """What is wrong with a request, or over a WebSocket, as JSON (RFC 9457)."""
    return {
        "type": f"/problems/{code}",
        "title": TITLES.get(status, "Error"),
        "status": status,
        "detail": detail,
        "request_id": connection.scope.get("request_id", ""),
        "errors": [{"pointer": one.pointer, "detail": one.detail} for one in problems],
    }


def _open_inference(
    status: int, detail: str, problems: Sequence[Problem], headers: dict[str, str] | None
) -> Response:
    """An error in the form of the Open Inference Protocol: one string, which includes the first problem."""
    if problems and problems[0].detail not in detail:
        detail = f"{detail}; {problems[0].pointer}: {problems[0].detail}"
    status = 400 if status == 422 else status
    return Response(json.dumps({"error": detail}), status, headers, media_type="application/json")


def _openai(
    status: int, code: str, detail: str, problems: Sequence[Problem], headers: dict[str, str] | None
) -> Response:
    """An error in OpenAI's form; `param` is the first step of the first problem's pointer."""
    steps = problems[0].pointer.split("/") if problems else []
    message = f"{detail}: {problems[0].detail}" if problems and problems[0].detail not in detail else detail
    error = {
        "message": message,
        "type": OPENAI_ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error"),
        "param": steps[1] if len(steps) > 1 else None,
        "code": code.replace("-", "_"),
    }
    status = 400 if status == 422 else status
    return Response(json.dumps({"error": error}), status, headers, media_type="application/json")


def error_event(request: Request, content: bytes) -> bytes:
    """The content of an error response as a server-sent event; OpenAI's clients expect no event names."""
    name = b"" if request.scope["path"].startswith(OPENAI_PREFIX) else b"event: error\n"
    return name + b"data: " + content + b"\n\n"


def error_response(request: HTTPConnection, error: AppError) -> Response:
    """The response to an `AppError`."""
    headers = dict(NO_RETRY) if error.status == 409 else {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if error.status == 401:
        headers["WWW-Authenticate"] = CHALLENGE
    if isinstance(error, UnsupportedCoding):
        headers["Accept-Encoding"] = ACCEPTED_CODINGS
    return problem(request, error.status, error.code, error.message, error.problems, headers)


async def _handle_app_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, AppError):
        raise error
    return error_response(request, error)


async def _handle_validation_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    return error_response(request, invalid_request(request, error))


async def _handle_handshake_error(request: Request, error: Exception) -> Response:
    """The response to the handshake of a WebSocket whose parameters are refused."""
    if not isinstance(error, WebSocketRequestValidationError):
        raise error
    problems = [Problem(pointer(*one["loc"]), one["msg"]) for one in error.errors()]
    return error_response(request, Invalid(problems=problems))


def error_responses(path: str, statuses: Collection[str]) -> Json:
    """The OpenAPI responses of errors with these statuses, in the form of the interface of a path."""
    kind, name = "application/problem+json", "Problem"
    if f"{path}/".startswith(OPEN_INFERENCE_PREFIX):
        kind, name = "application/json", "InferenceError"
    elif path.startswith(OPENAI_PREFIX):
        kind, name = "application/json", "CompletionError"
    further = () if name == "Problem" else PROTOCOL_STATUSES
    return {
        status: {"description": TITLES[int(status)], "content": {kind: {"schema": reference(name)}}}
        for status in {*statuses, *further}
    }


class HttpExceptionHandler:
    """The responses to exceptions of the framework: above all to paths and methods that there are not."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._paths: PathIndex | None = None

    async def __call__(self, request: Request, error: Exception) -> Response:
        """The response to an exception."""
        if not isinstance(error, HTTPException):
            raise error
        if error.status_code in (404, 405) and (unrouted := self._unrouted(request)) is not None:
            return unrouted
        if (known := unreadable_body(error)) is not None:
            return error_response(request, known)
        code = TITLES.get(error.status_code, "error").lower().replace(" ", "-")
        return problem(request, error.status_code, code, error.detail, headers=dict(error.headers or {}))

    def _unrouted(self, request: Request) -> Response | None:
        """The response where no route has the request's path and method."""
        if self._paths is None:
            self._paths = PathIndex(self._app.openapi())
        path = request.scope["path"]
        allowed = self._paths.allowed_methods(path)
        if request.method in allowed:
            return None
        if allowed:
            detail = f"{request.method} is not allowed on this path; allowed is {', '.join(allowed)}"
            return problem(request, 405, "method-not-allowed", detail, headers={"Allow": ", ".join(allowed)})
        hint = self._paths.hint(path)
        advice = f"did you mean {hint}?" if hint else "GET /openapi.json lists the paths."
        shown = path if len(path) <= MAX_PATH_CHARS else path[:MAX_PATH_CHARS] + "…"
        return problem(request, 404, "not-found", f"There is no path {shown}; {advice}")


async def _handle_database_error(request: Request, error: Exception) -> Response:
    if (known := as_app_error(error)) is None:
        raise error
    return error_response(request, known)


def as_app_error(error: Exception) -> AppError | None:
    """The error as the caller should see it; None for an unexpected one, which is a fault of the service."""
    if isinstance(error, AppError):
        return error
    if isinstance(error, SQLAlchemyError):
        log.warning("database: %s", error)
    if isinstance(error, DataError):  # PostgreSQL's text, for one, holds no NUL
        return Invalid("The request has a value that the database cannot hold")
    # Only a database that is unreachable or overloaded is worth another try; any other error is a bug.
    unavailable = isinstance(error, PoolTimeout) or (
        isinstance(error, DBAPIError)
        and (error.connection_invalidated or type(error).__name__ in {"OperationalError", "InterfaceError"})
    )
    return Unavailable("The database is unavailable; try again shortly.") if unavailable else None


def internal_error(request: Request) -> Response:
    """The response to an unexpected error, which says nothing of its cause."""
    return problem(request, 500, "internal", "Unexpected error; the server's log has the request's id")


def install(app: FastAPI) -> None:
    """Register the handlers of all errors with the application."""
    app.add_exception_handler(AppError, _handle_app_error)
    app.add_exception_handler(RequestValidationError, _handle_validation_error)
    app.add_exception_handler(WebSocketRequestValidationError, _handle_handshake_error)
    app.add_exception_handler(HTTPException, HttpExceptionHandler(app))
    app.add_exception_handler(SQLAlchemyError, _handle_database_error)
