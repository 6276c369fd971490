"""Streamed predictions: the text of each instance piece by piece, then the whole answer."""

import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, NamedTuple

from app.errors import AppError, Invalid, Problem
from app.lanes import Answer, PartialAnswer
from app.services.serving.predictions import (
    PredictionService,
    decode_async,
    decoding_settings,
    seconds_left,
)
from app.services.serving.version_router import Route
from app.tasks.contract import Example, PiecewiseTask, StreamDetokenizer, StreamingTask
from app.thread_pools import COMPUTING
from app.typedefs import Json


@dataclass(frozen=True, slots=True)
class TextDelta:
    """Some more text of the instance at an index."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class InstanceEnd:
    """The end of an instance's text."""

    index: int
    finish_reason: str
    tokens: int


class StreamEnd(NamedTuple):
    """The end of the stream: the predictions as a request without a stream gets them."""

    predictions: list[Json]
    answer: Answer


StreamEvent = TextDelta | InstanceEnd | StreamEnd


def streaming_task(route: Route) -> StreamingTask | PiecewiseTask:
    """The version's task, if its predictions can be streamed; raises `Invalid`."""
    task: object = route.task
    if not isinstance(task, StreamingTask | PiecewiseTask):
        detail = f"{route.task.name} gives its answers as a whole"
        raise Invalid(detail, [Problem("/parameters/stream", detail)])
    return task


async def stream_predictions(
    service: PredictionService,
    route: Route,
    examples: Sequence[Example],
    parameters: Any,
    seconds: float,
    begun: float,
) -> AsyncGenerator[StreamEvent]:
    """The events of a stream for encoded instances, of a request that began at `begun` by `perf_counter`.

    Raises what the lane raises.
    """
    task, settings = streaming_task(route), decoding_settings(examples)
    if isinstance(task, PiecewiseTask):
        async with aclosing(
            _stream_pieces(service, route, task, examples, parameters, seconds, begun)
        ) as events:
            async for event in events:
                yield event
        return
    streams = [
        InstanceStream(index, task.detokenizer(route.state, decoding))
        for index, decoding in enumerate(settings)
    ]
    arrays, metrics = [example.inputs for example in examples], service.metrics_of(route)
    try:
        async with aclosing(service.lane.stream(route.artifact, arrays, seconds, settings)) as parts:
            async for part in parts:
                for event in _events(streams, part):
                    yield event
                if isinstance(part, Answer):
                    left = seconds_left(seconds, begun)
                    predictions = await decode_async(route, examples, part, parameters, left)
                    metrics.record_answer(part, time.perf_counter() - begun)
                    yield StreamEnd(predictions, part)
    except AppError:
        metrics.record_failure(time.perf_counter() - begun)
        raise


async def _stream_pieces(
    service: PredictionService,
    route: Route,
    task: PiecewiseTask,
    examples: Sequence[Example],
    parameters: Any,
    seconds: float,
    begun: float,
) -> AsyncGenerator[StreamEvent]:
    """The events of instances whose input goes through the network piece by piece."""
    predictions, metrics = list[Json](), service.metrics_of(route)
    causal = bool(route.graph.get("causal"))
    try:
        for index, example in enumerate(examples):
            reader = task.piece_reader(route.state, example, parameters, causal=causal)
            for first, last in reader.pieces:
                left = seconds_left(seconds, begun)
                answer = await service.lane.send(route.artifact, [example.inputs[first:last]], left)
                left = seconds_left(seconds, begun)
                text = await COMPUTING.run_within(left, reader.push, answer.outputs[0])
                if text:
                    yield TextDelta(index, text)
            predictions.append(await COMPUTING.run_within(seconds_left(seconds, begun), reader.close))
            yield InstanceEnd(index, "stop", reader.tokens)
        metrics.record_answer(answer, time.perf_counter() - begun)
        yield StreamEnd(predictions, answer)
    except AppError:
        metrics.record_failure(time.perf_counter() - begun)
        raise


class InstanceStream:
    """The state of one instance's stream."""

    def __init__(self, index: int, detokenizer: StreamDetokenizer) -> None:
        self._index, self._detokenizer = index, detokenizer
        self.consumed = 0  # tokens
        self.ended = False

    def push(self, tokens: Sequence[int], end: Json) -> Iterator[StreamEvent]:
        """The events of some more tokens; `end` is not empty when they are the last ones."""
        self.consumed += len(tokens)
        text = self._detokenizer.push(tokens)
        if end:
            self.ended = True
            text += self._detokenizer.close()
        if text:
            yield TextDelta(self._index, text)
        if end:
            reason = "stop" if self._detokenizer.ended else end.get("finish_reason", "length")
            yield InstanceEnd(self._index, reason, self._detokenizer.tokens)


def _events(streams: Sequence[InstanceStream], part: PartialAnswer | Answer) -> Iterator[StreamEvent]:
    if isinstance(part, PartialAnswer):
        for stream, tokens, end in zip(streams, part.tokens, part.notes, strict=True):
            if tokens or end:
                yield from stream.push(tokens, end)
        return
    for stream, output, note in zip(streams, part.outputs, part.notes, strict=True):
        if not stream.ended:  # its last tokens come with the answer
            yield from stream.push(output[stream.consumed :].tolist(), note or {"finish_reason": "length"})
