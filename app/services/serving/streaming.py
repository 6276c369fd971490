"""Predictions told as they come about: the text of each instance piece by piece, then the whole answer."""

import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple, Protocol, runtime_checkable

from app.errors import AppError, Invalid, Problem
from app.lanes import Answer, Part
from app.services.serving.predictions import Plane, decoded, searches
from app.services.serving.version_router import Route
from app.tasks.contract import Example
from app.typedefs import Json


class Followed(Protocol):
    """What the tokens of one instance say so far; what it has told stays true whatever follows."""

    @property
    def ended(self) -> bool:
        """Whether nothing follows, whatever tokens come."""
        ...

    @property
    def tokens(self) -> int:
        """How many tokens there are."""
        ...

    def push(self, tokens: Sequence[int], /) -> str:
        """The text that some more tokens add."""
        ...

    def close(self) -> str:
        """The rest of the text, when nothing follows."""
        ...


@runtime_checkable
class Tells(Protocol):
    """A task whose answers can be told while they are found."""

    def follow(self, state: Json, search: Json) -> Followed:
        """A reader of the tokens that a search finds."""
        ...


class Delta(NamedTuple):
    """Some more text of the instance at a place."""

    place: int
    text: str


class Ended(NamedTuple):
    """The end of that text."""

    place: int
    finish_reason: str
    tokens: int


class Done(NamedTuple):
    """The end of all: the predictions as a request without a stream would get them."""

    predictions: list[Json]
    answer: Answer


Event = Delta | Ended | Done


def teller(route: Route) -> Tells:
    """The version's task, if its answers can be told so; raises `Invalid`."""
    task: object = route.task
    if not isinstance(task, Tells):
        detail = f"{route.task.name} gives its answers as a whole"
        raise Invalid(detail, [Problem("/parameters/stream", detail)])
    return task


async def stream(
    plane: Plane, route: Route, examples: Sequence[Example], parameters: Any, seconds: float, begun: float
) -> AsyncGenerator[Event]:
    """What is found for examples, of a request that began so; raises what the lane raises."""
    task, search = teller(route), searches(examples)
    tales = [_Tale(place, task.follow(route.state, one)) for place, one in enumerate(search)]
    arrays, meter = [example.inputs for example in examples], plane.meters.of(route.model, route.version)
    try:
        async with aclosing(plane.lane.stream(route.artifact, arrays, seconds, search)) as found:
            async for part in found:
                for event in _told(tales, part):
                    yield event
                if isinstance(part, Answer):
                    predictions = await decoded(route, examples, part, parameters)
                    meter.note(part, time.perf_counter() - begun)
                    yield Done(predictions, part)
    except AppError:
        meter.fail(time.perf_counter() - begun)
        raise


class _Tale:
    """What was told of one instance."""

    def __init__(self, place: int, followed: Followed) -> None:
        self._place, self._followed = place, followed
        self.taken = 0  # tokens
        self.over = False

    def go_on(self, tokens: Sequence[int], ended: Json) -> Iterator[Event]:
        """Some more tokens, and what is known of the end if there is one."""
        self.taken += len(tokens)
        text = self._followed.push(tokens)
        if ended:
            self.over = True
            text += self._followed.close()
        if text:
            yield Delta(self._place, text)
        if ended:
            reason = "stop" if self._followed.ended else ended.get("finish_reason", "length")
            yield Ended(self._place, reason, self._followed.tokens)


def _told(tales: Sequence[_Tale], part: Part | Answer) -> Iterator[Event]:
    if isinstance(part, Part):
        for tale, tokens, ended in zip(tales, part.tokens, part.ended, strict=True):
            if tokens or ended:
                yield from tale.go_on(tokens, ended)
        return
    for tale, output, note in zip(tales, part.outputs, part.notes, strict=True):
        if not tale.over:  # the last of its tokens come with the answer
            yield from tale.go_on(output[tale.taken :].tolist(), note or {"finish_reason": "length"})
