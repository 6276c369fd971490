"""Responses as JSON objects or as problem documents."""

from typing import Any

import httpx

from recurra.errors import Json, RecurraError

MAX_TEXT_CHARS = 500  # of a response without a problem document


def parse_problem(response: httpx.Response) -> Json:
    """The problem document of a response; of a response without one, such as a proxy's, its text in one."""
    document = parse_json(response)
    if document is not None and "status" in document:
        return document
    return {
        "title": response.reason_phrase,
        "status": response.status_code,
        "detail": response.text[:MAX_TEXT_CHARS],
        "errors": [],
    }


def json_object(response: httpx.Response) -> Json:
    """The JSON object in a response; raises `RecurraError` for anything else."""
    document = parse_json(response)
    if document is None:
        raise RecurraError(f"{response.url} did not answer JSON; is that a Recurra server?")
    return document


def parse_json(response: httpx.Response) -> Json | None:
    """The response's JSON object; None for any other content."""
    try:
        document: Any = response.json()
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
