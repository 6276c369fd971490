"""Predictions: the hot path, without the database, dependency injection of bodies, or a response model."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from urllib.parse import parse_qsl

import orjson

from app.api import sse
from app.api.problems import RESPONSES
from app.api.raw import JSON_TYPE, LONGEST, Body, Call, Headers, RawRoute
from app.errors import Invalid, Problem
from app.services.open_inference.codec import read
from app.services.open_inference.predict import requested, signature
from app.services.serving.predictions import MAX_INSTANCES, admit, encoded, infer, parse
from app.services.serving.streaming import Delta, Ended, Event, stream, teller
from app.services.serving.version_router import LAST_VERSION, Route, Wanted, version_number
from app.tasks import TASKS
from app.typedefs import Json

BINARY = b"application/octet-stream"


async def predict(call: Call) -> tuple[Body, Headers]:
    """One prediction per instance, in order, all by one version.

    A binary body holds the instances as the Open Inference Protocol's tensors. With the parameter `stream`
    texts are told while they are found.
    """
    wanted = named(call.parameters["name"], call.query)
    seconds = call.deadline()
    plane = call.house.plane
    chosen = await plane.catalog.choose(wanted)
    admit(plane, chosen.route)
    if call.headers.get(b"content-type") == BINARY:
        asked = read(call.body, call.json_length(), signature(chosen.route, network=False))
        instances, parameters = await requested(chosen.route.task, asked)
    else:
        request = parse(chosen.route.task, call.body)
        instances, parameters = request.instances, request.parameters
    if getattr(parameters, "stream", False):
        teller(chosen.route)
        examples = await encoded(chosen.route, instances, parameters)
        events = stream(plane, chosen.route, examples, parameters, seconds, call.begun)
        return await sse.opened(_told(chosen.route, events)), [*sse.HEADERS]
    predictions, answer = await infer(plane, chosen, instances, parameters, seconds)
    return _whole(chosen.route, predictions), [JSON_TYPE, call.timing(answer)]


def _whole(route: Route, predictions: list[Json]) -> bytes:
    body = {"model": route.model, "version": route.version, "predictions": predictions}
    return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)


async def _told(route: Route, events: AsyncGenerator[Event]) -> AsyncGenerator[bytes]:
    async with aclosing(events):
        async for event in events:
            match event:
                case Delta(place, text):
                    yield sse.event(orjson.dumps({"index": place, "text": text}))
                case Ended(place, reason, tokens):
                    end = {"index": place, "text": "", "finish_reason": reason, "tokens": tokens}
                    yield sse.event(orjson.dumps(end))
                case _:
                    yield sse.event(_whole(route, event.predictions), b"done")


def named(model: str, query: bytes) -> Wanted:
    """The version a request names in its query: `version=n` or `alias=a`."""
    if not query:
        return Wanted(model, None, None)
    given = dict(parse_qsl(query.decode("latin-1")))
    version, alias = given.get("version"), given.get("alias")
    if version is not None and alias is not None:
        raise Invalid(problems=[Problem("/query/alias", "name a version or an alias, not both")])
    if version is None:
        return Wanted(model, None, alias)
    number = version_number(version)
    if number is None:
        raise Invalid(problems=[Problem("/query/version", f"a version is a number from 1 to {LAST_VERSION}")])
    return Wanted(model, number, None)


DESCRIPTION = """One prediction per instance, in order, all by one version.

With the parameter `stream` of tasks that have it the answer is a stream of server-sent events: the text of
each instance as it is found, `{"index","text"}`, when it ends with its `finish_reason` and `tokens`. The last
event is `done` with what would be the answer without a stream, or `error` with a problem."""
ASKED: Json = {
    "type": "object",
    "required": ["instances"],
    "additionalProperties": False,
    "properties": {
        "instances": {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_INSTANCES,
            "description": "`GET /v1/tasks` has each task's instance schema: " + ", ".join(sorted(TASKS)),
        },
        "parameters": {"type": "object", "description": "How to answer, by task."},
    },
}
TENSORS: Json = {
    "type": "string",
    "format": "binary",
    "description": "The task's tensors as the Open Inference Protocol v2 sends them.",
}
ANSWERED: Json = {
    "type": "object",
    "required": ["model", "version", "predictions"],
    "properties": {
        "model": {"type": "string"},
        "version": {"type": "integer"},
        "predictions": {"type": "array"},
    },
}
OPERATION: Json = {
    "tags": ["predictions"],
    "summary": "Predict",
    "description": DESCRIPTION,
    "operationId": "predict",
    "parameters": [
        {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}},
        {"name": "version", "in": "query", "schema": {"type": "integer", "minimum": 1}},
        {"name": "alias", "in": "query", "schema": {"type": "string", "default": "production"}},
        {"name": "Inference-Header-Content-Length", "in": "header", "schema": {"type": "integer"}},
        {"name": "X-Request-Timeout", "in": "header", "schema": {"type": "number", "maximum": LONGEST}},
    ],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": ASKED}, BINARY.decode(): {"schema": TENSORS}},
    },
    "responses": {
        "200": {
            "description": "The predictions",
            "content": {"application/json": {"schema": ANSWERED}, "text/event-stream": {}},
        },
        **{str(status): RESPONSES[status] for status in (404, 422, 503)},
        "429": {"description": "Queue full"},
        "504": {"description": "Deadline passed"},
    },
}
ROUTE = RawRoute("/v1/models/{name}/predict", predict, OPERATION)
