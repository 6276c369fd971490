"""Why a body is not the JSON it should be: line, column and reason, or a pointer to the text that is none."""

import json
import re
from functools import partial
from typing import Any, NoReturn

from app.errors import Problem, pointer

STRING_OR_CONSTANT = re.compile(r'"(?:[^"\\]|\\.)*"|(-?Infinity|NaN)\b', re.DOTALL)
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
UTF8_MARK = "\ufeff"
TOO_DEEP = "it is nested too deeply"


class _NotJson(ValueError):
    """The text is not JSON, for this reason."""


def json_problem(body: bytes, reason: str) -> Problem:
    """Why `body` is refused as JSON; `reason` is what its parser said, for what is not found out here."""
    try:
        value = _parse(body)
    except _NotJson as error:
        return Problem("", str(error))
    return surrogate_problem(value) or Problem("", reason)


def _parse(body: bytes) -> Any:
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise _NotJson(_encoding_reason(body, error)) from None
    if text.startswith(UTF8_MARK):
        raise _NotJson("it begins with a byte order mark")
    if not text.strip():
        raise _NotJson("the body is empty")
    try:
        return json.loads(text, parse_constant=partial(_refuse_constant, text))
    except json.JSONDecodeError as error:
        raise _NotJson(syntax_reason(error)) from None
    except RecursionError:
        raise _NotJson(TOO_DEEP) from None
    except _NotJson:
        raise
    except ValueError:  # Python reads no number of more than some thousand digits
        raise _NotJson("a number has too many digits") from None


def syntax_reason(error: json.JSONDecodeError) -> str:
    """Line, column and reason of a syntax error."""
    return f"line {error.lineno}, column {error.colno}: {error.msg}"


def surrogate_problem(value: Any, *place: str | int) -> Problem | None:
    """The first text below `place` that is no Unicode text; None if all are."""
    if isinstance(value, str):
        detail = surrogate_reason(value)
        return None if detail is None else Problem(pointer(*place), f"{_subject(place)} {detail}")
    if isinstance(value, dict):
        for key, inner in value.items():
            if (detail := surrogate_reason(key)) is not None:
                return Problem(pointer(*place), f"The name of a field {detail}")
            if (problem := surrogate_problem(inner, *place, key)) is not None:
                return problem
    if isinstance(value, list):
        for index, inner in enumerate(value):
            if (problem := surrogate_problem(inner, *place, index)) is not None:
                return problem
    return None


def surrogate_reason(text: str) -> str | None:
    """Where a text has half of a surrogate pair, as the end of a sentence; None if nowhere."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"is no Unicode text: character {error.start} is half of a surrogate pair."
    return None


def _subject(place: tuple[str | int, ...]) -> str:
    return next((f"The {step}" for step in reversed(place) if isinstance(step, str)), "The body")


def _refuse_constant(text: str, constant: str) -> NoReturn:
    match = next(match for match in STRING_OR_CONSTANT.finditer(text) if match[1])
    line = text.count("\n", 0, match.start()) + 1
    column = match.start() - text.rfind("\n", 0, match.start())
    raise _NotJson(f"line {line}, column {column}: JSON has no {constant}; a missing value is null")


def _encoding_reason(body: bytes, error: UnicodeDecodeError) -> str:
    if body[:2] in UTF16_MARKS:
        return "it is UTF-16, and JSON is sent as UTF-8"
    line = body.count(b"\n", 0, error.start) + 1
    column = len(body[body.rfind(b"\n", 0, error.start) + 1 : error.start].decode()) + 1
    return f"line {line}, column {column}: the byte 0x{body[error.start]:02x} is not UTF-8"
