"""The steps of a flow: what a generator asks its driver to do, so that no logic is written twice.

A flow is a generator that yields steps and receives their results. `recurra.protocol.driver` carries them out
and blocks, `recurra.protocol.async_driver` awaits. What fails is raised in the flow where it yields.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from recurra.errors import RecurraError

IDEMPOTENCY_KEY = "Idempotency-Key"
REPEATABLE_METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE"})

UploadProgress = Callable[[int], None]  # gets the number of bytes since the last call


@dataclass(frozen=True)
class FilePart:
    """A file to send as the field `file` of a form, read anew for each attempt."""

    path: Path
    name: str
    progress: UploadProgress | None = None


@dataclass(frozen=True)
class Call:
    """One request; `content` has httpx's arguments, such as `params`, `json`, `data` and `headers`."""

    method: str
    path: str
    content: Mapping[str, Any] = field(default_factory=dict)
    file: FilePart | None = None
    harmless: bool = False  # whether a POST changes nothing, or nothing more when it is repeated

    @property
    def repeatable(self) -> bool:
        """Whether sending it again cannot do the same thing twice."""
        return self.method in REPEATABLE_METHODS or self.harmless or self.keyed

    @property
    def keyed(self) -> bool:
        """Whether it has a key by which the server recognises it."""
        return IDEMPOTENCY_KEY.lower() in {name.lower() for name in self.content.get("headers") or {}}


@dataclass(frozen=True)
class Attempt:
    """Send a call once; the result is a response of any status, with its body unless it is a stream's."""

    call: Call
    stream: bool = False


@dataclass(frozen=True)
class Send:
    """Send a call, again where that is safe; the result is a response of a status below 400."""

    call: Call
    stream: bool = False


@dataclass(frozen=True)
class ReadLine:
    """The next line of a streamed response; None at its end."""

    response: httpx.Response


@dataclass(frozen=True)
class ReadChunk:
    """The next bytes of a streamed response; None at its end."""

    response: httpx.Response


@dataclass(frozen=True)
class CloseStream:
    """Give up what is left of a streamed response."""

    response: httpx.Response


@dataclass(frozen=True)
class Wait:
    """Wait for some seconds."""

    seconds: float


@dataclass(frozen=True)
class Compute:
    """Call a function that takes a while, beside an event loop if there is one."""

    function: Callable[[], Any]


@dataclass(frozen=True)
class Give:
    """An item for whoever iterates over the flow."""

    item: Any


Step = Attempt | Send | ReadLine | ReadChunk | CloseStream | Wait | Compute | Give
Result = TypeVar("Result")
Flow = Generator[Step, Any, Result]


def advance(flow: Flow[Any], result: Any, error: Exception | None) -> Step:
    """The flow's next step, after the result or the error of its last one."""
    return flow.send(result) if error is None else flow.throw(error)


def handled(flow: Flow[None], handle: Callable[[Any], Any]) -> Flow[None]:
    """Run a flow within another one; what `handle` makes of each item is given, unless it is None."""
    result: Any = None
    error: Exception | None = None
    while True:
        try:
            step = advance(flow, result, error)
        except StopIteration:
            return
        result, error = None, None
        if isinstance(step, Give):
            item = handle(step.item)
            if item is not None:
                yield Give(item)
            continue
        try:
            result = yield step
        except RecurraError as caught:
            error = caught
