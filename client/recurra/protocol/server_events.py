"""Server-sent events from lines."""

import json
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import httpx

from recurra.protocol.steps import ReadLine, Step


@dataclass(frozen=True)
class ServerEvent:
    """One event of a stream; `name` is empty where it has none."""

    name: str
    data: Any  # parsed JSON
    id: str


def read_event(response: httpx.Response) -> Generator[Step, Any, ServerEvent | None]:
    """The next event of a streamed response; None at its end, also within an event."""
    name, number, data = "", "", list[str]()
    while (line := (yield ReadLine(response))) is not None:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "id":
            number = value
        elif field == "data":
            data.append(value)
        elif not line and data:
            return ServerEvent(name, json.loads("\n".join(data)), number)
        elif not line:
            name = ""
    return None
