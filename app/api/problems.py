"""Every error as `application/problem+json` (RFC 9457), never a stack trace."""

import json
import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from sqlalchemy.exc import DataError, DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from app.errors import AppError, Invalid, Problem, Unavailable, pointer

log = logging.getLogger(__name__)

TITLES = {
    400: "Bad request",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Too large",
    422: "Not valid",
    429: "Too many requests",
    500: "Internal error",
    503: "Unavailable",
    504: "Deadline passed",
    507: "No space",
}
DOCUMENT = {
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
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": TITLES[status], "content": {"application/problem+json": {"schema": DOCUMENT}}}
    for status in (404, 409, 422, 503)
}  # of any route, as the documentation shows them
STATUSES = (400, 404, 409, 413, 422, 429, 500, 503, 504)
OPEN_INFERENCE = "/v2/"  # paths whose errors have the protocol's form
OPENAI = "/openai/"  # the same of another interface
KINDS = {
    404: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
}  # else the server's
ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"description": TITLES[status], "content": {"application/json": {"schema": ERROR}}}
    for status in STATUSES
}  # of such a path
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
OPENAI_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": TITLES[status], "content": {"application/json": {"schema": OPENAI_ERROR}}}
    for status in STATUSES
}
FINAL = {"x-should-retry": "false"}  # two well-known clients repeat every 409 unless told not to


def problem(
    request: Request,
    status: int,
    code: str,
    detail: str,
    problems: Sequence[Problem] = (),
    headers: dict[str, str] | None = None,
) -> Response:
    """One problem document, or what clients of another interface read."""
    if f"{request.scope['path']}/".startswith(OPEN_INFERENCE):
        said = problems[:1] if problems and problems[0].detail not in detail else ()
        text = "; ".join([detail, *(f"{place}: {what}" for place, what in said)])
        status = 400 if status == 422 else status
        return Response(json.dumps({"error": text}), status, headers, media_type="application/json")
    if request.scope["path"].startswith(OPENAI):
        return _openai(status, code, detail, problems, headers)
    body = {
        "type": f"/problems/{code}",
        "title": TITLES.get(status, "Error"),
        "status": status,
        "detail": detail,
        "request_id": request.scope.get("request_id", ""),
        "errors": [{"pointer": pointer, "detail": text} for pointer, text in problems],
    }
    # Not orjson: what is quoted from a request may hold lone surrogates, which only escapes can spell.
    return Response(json.dumps(body), status, {**(headers or {})}, media_type="application/problem+json")


def _openai(
    status: int, code: str, detail: str, problems: Sequence[Problem], headers: dict[str, str] | None
) -> Response:
    """An error as OpenAI's clients read it; the parameter is the first step of the first place."""
    steps = problems[0].pointer.split("/") if problems else []
    said = f"{detail}: {problems[0].detail}" if problems and problems[0].detail not in detail else detail
    error = {
        "message": said,
        "type": KINDS.get(status, "server_error"),
        "param": steps[1] if len(steps) > 1 else None,
        "code": code.replace("-", "_"),
    }
    status = 400 if status == 422 else status
    return Response(json.dumps({"error": error}), status, headers, media_type="application/json")


def broken_off(request: Request, said: bytes) -> bytes:
    """An error, said as elsewhere, as the last server-sent event; some clients know no names of events."""
    name = b"" if request.scope["path"].startswith(OPENAI) else b"event: error\n"
    return name + b"data: " + said + b"\n\n"


def answer(request: Request, error: AppError) -> Response:
    """The document of one of our own errors."""
    headers = dict(FINAL) if error.status == 409 else {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    return problem(request, error.status, error.code, error.message, error.problems, headers)


async def _ours(request: Request, error: Exception) -> Response:
    if not isinstance(error, AppError):
        raise error
    return answer(request, error)


async def _schema(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    problems = [Problem(_pointer(fault["loc"]), fault["msg"]) for fault in error.errors()]
    detail = f"{problems[0].pointer}: {problems[0].detail}" if problems else "The request is not valid"
    return problem(request, 422, "invalid-request", detail, problems)


def _pointer(loc: Sequence[str | int]) -> str:
    return pointer(*(loc[1:] if loc[:1] == ("body",) else loc))


async def _http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    code = TITLES.get(error.status_code, "error").lower().replace(" ", "-")
    return problem(request, error.status_code, code, error.detail, headers=dict(error.headers or {}))


async def _database(request: Request, error: Exception) -> Response:
    if (known := translated(error)) is None:
        raise error
    return answer(request, known)


def translated(error: Exception) -> AppError | None:
    """What an error means to the caller; None when it is a fault of ours."""
    if isinstance(error, AppError):
        return error
    if isinstance(error, SQLAlchemyError):
        log.warning("database: %s", error)
    if isinstance(error, DataError):  # PostgreSQL's text, for one, holds no NUL
        return Invalid("The request has a value that the database cannot hold")
    # Only a database that is away or overrun is worth another try; anything else is our mistake.
    away = isinstance(error, PoolTimeout) or (
        isinstance(error, DBAPIError)
        and (error.connection_invalidated or type(error).__name__ in {"OperationalError", "InterfaceError"})
    )
    return Unavailable("The database is away; try again shortly.") if away else None


def unexpected(request: Request) -> Response:
    """What is said of a fault of ours."""
    return problem(request, 500, "internal", "Something went wrong here; the log has the request's id")


def install(app: FastAPI) -> None:
    """Have the application answer every error as a problem."""
    app.add_exception_handler(AppError, _ours)
    app.add_exception_handler(RequestValidationError, _schema)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(SQLAlchemyError, _database)
