"""Requests that FastAPI refuses: what was wrong, in the words of the problems that all routes have."""

import json
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from app.errors import AppError, Invalid, Problem, UnsupportedMediaType, pointer
from app.services.jobs.field_names import unknown_field
from app.validation.json_text import TOO_DEEP, json_problem, syntax_reason
from app.validation.schema_errors import pydantic_problems

JSON_TYPE_NEEDED = "the body is JSON, so send the header Content-Type: application/json"
BODY_ERROR = "There was an error parsing the body"  # FastAPI's, of every error but one of syntax


def invalid_request(request: Request, error: RequestValidationError) -> AppError:
    """The error for a request that its route's parameters or body refuse."""
    errors = error.errors()
    if any(one["type"] == "json_invalid" for one in errors) and isinstance(
        error.__cause__, json.JSONDecodeError
    ):
        return _not_json(syntax_reason(error.__cause__))
    if isinstance(error.body, bytes):  # which was not read as JSON
        kind = request.headers.get("content-type")
        sent = f"it says {kind}" if kind else "there is none"
        detail = f"{JSON_TYPE_NEEDED}; {sent}"
        return UnsupportedMediaType(
            f"{detail[0].upper()}{detail[1:]}", [Problem("/header/Content-Type", detail)]
        )
    in_body = [one | {"loc": one["loc"][1:]} for one in errors if one["loc"][:1] == ("body",)]
    if in_body and error.body is None:
        return Invalid(problems=[Problem("", "the body is missing; it is a JSON object")])
    problems = [Problem(pointer(*one["loc"]), one["msg"]) for one in errors if one["loc"][:1] != ("body",)]
    return Invalid(problems=problems + _body_problems(request, error.body, in_body))


def _body_problems(request: Request, body: Any, errors: list[Any]) -> list[Problem]:
    field = getattr(request.scope.get("route"), "body_field", None)
    if field is None:
        return pydantic_problems(errors, body)
    task_name = body.get("task") if isinstance(body, dict) else None
    return pydantic_problems(errors, body, unknown_field(field.field_info.annotation, task_name))


def unreadable_body(error: HTTPException) -> AppError | None:
    """The error for a body that could not be read as JSON; None if that is not what `error` is about."""
    if error.status_code != 400 or error.detail != BODY_ERROR:
        return None
    match error.__cause__:
        case AppError() as known:
            return known
        case UnicodeDecodeError() as cause:
            return _not_json(json_problem(cause.object, str(cause)).detail)
        case RecursionError():
            return _not_json(TOO_DEEP)
        case ValueError():
            return _not_json("a number has too many digits")
    return None


def _not_json(reason: str) -> Invalid:
    return Invalid(f"The body is not JSON: {reason}", [Problem("", f"not JSON: {reason}")])
