"""Predictions on a raw route: no database, dependency injection or response model on the hot path."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any
from urllib.parse import parse_qsl

import orjson

from app.api import sse
from app.api.access.declared import requires
from app.api.raw import (
    DEADLINE_PARAMETER,
    JSON_LENGTH_PARAMETER,
    JSON_TYPE,
    Body,
    Call,
    Headers,
    RawRoute,
)
from app.api.response_schemas import TEXT_CONTENT, reference
from app.errors import Invalid, Problem, pointer
from app.prediction.codec import write_answer
from app.prediction.request_errors import QUERY_FIELDS, problems_moved, request_described
from app.prediction.upload_names import ParsedRequest, as_it_was_sent
from app.services.access.callers import Scope
from app.services.open_inference.predict import (
    instances_from_tensors,
    parse_inference_request_async,
    signature,
)
from app.services.serving.explanations import (
    check_explanation_request_async,
    draw_async,
    write_explanation,
)
from app.services.serving.predictions import (
    encode_async,
    parse_named_request_async,
    parse_request_async,
    rows_for_predictor,
    write_body,
    write_body_async,
)
from app.services.serving.stored_examples import as_example_problem, open_examples
from app.services.serving.streaming import (
    InstanceEnd,
    StreamEvent,
    TextDelta,
    stream_predictions,
    streaming_task,
)
from app.services.serving.version_router import (
    MAX_VERSION,
    ResolvedRoute,
    Route,
    VersionSelector,
    parse_version,
)
from app.tasks import TASKS
from app.thread_pools import DATASET_READS
from app.typedefs import Json
from app.validation.names import unknown_name

BINARY_CONTENT = b"application/octet-stream"
JSON_FORM, SVG_FORM = FORMS = ("json", "svg")  # of an explanation
EXPLAIN_FIELDS = (*QUERY_FIELDS, "format")
PARAMETER_NAMES = {name for task in TASKS.values() for name in task.parameters.__struct_fields__}


@requires(Scope.PREDICT)
async def predict(call: Call) -> tuple[Body, Headers]:
    """One prediction per instance, in order, all by one version.

    A binary body holds the instances as the Open Inference Protocol's tensors. With the parameter `stream`
    texts are sent while they are generated. A request may name a data set instead of instances.
    """
    selector = version_selector(call.parameters["name"], call.query)
    seconds = call.deadline()
    service = call.shared.predictions
    resolved = await service.versions.choose(selector)
    route = resolved.route
    service.admit(route)
    if call.headers.get(b"content-type") == BINARY_CONTENT:
        tensors = signature(route, network=False)
        inference = await parse_inference_request_async(
            call.body, call.json_length(), tensors, call.left(seconds)
        )
        instances, parameters = await instances_from_tensors(route.task, inference, call.left(seconds))
        return await _predict_instances(call, resolved, ParsedRequest(instances, parameters), seconds)
    if rows := rows_for_predictor(resolved, call.body):
        try:
            return await _predict_body(call, route, rows, seconds)
        except Invalid:
            request = await parse_named_request_async(route, call.body, call.left(seconds))
            if request is None:
                raise
    else:
        request = await parse_request_async(route, call.body, call.left(seconds))
    if request.dataset is not None:
        return await _predict_dataset(call, resolved, request, seconds)
    return await _predict_instances(call, resolved, request, seconds)


async def _predict_instances(
    call: Call, resolved: ResolvedRoute, request: Any, seconds: float
) -> tuple[Body, Headers]:
    route, parameters = resolved.route, request.parameters
    size = max(len(call.body), getattr(request, "size", 0))
    if getattr(parameters, "stream", False):
        streaming_task(route)
        with request_described(route.task), as_it_was_sent(request):
            examples = await encode_async(route, request.instances, parameters, call.left(seconds), size)
        events = stream_predictions(
            call.shared.predictions, route, examples, parameters, seconds, call.started
        )
        return await sse.after_first_chunk(_stream_events(route, events)), [*sse.SSE_HEADERS]
    with request_described(route.task), as_it_was_sent(request):
        return await _predicted(call, resolved, request.instances, parameters, seconds, size)


async def _predict_dataset(
    call: Call, resolved: ResolvedRoute, request: Any, seconds: float
) -> tuple[Body, Headers]:
    call.hand_over()
    shared, parameters = call.shared, request.parameters
    arguments = (shared.readers, shared.storage, shared.incoming, resolved.route, request.dataset, parameters)
    examples = await DATASET_READS.run_within(call.left(seconds), open_examples, *arguments)
    with problems_moved(as_example_problem):
        return await _predicted(call, resolved, examples, parameters, seconds, examples.size)


async def _predicted(
    call: Call, resolved: ResolvedRoute, instances: Sequence[Any], parameters: Any, seconds: float, size: int
) -> tuple[Body, Headers]:
    predictions, answer = await call.shared.predictions.predict(
        resolved, instances, parameters, call.left(seconds), size
    )
    body = await write_body_async(resolved.route, predictions, answer, parameters, call.left(seconds))
    return body, [JSON_TYPE, call.timing(answer)]


async def _predict_body(call: Call, route: Route, rows: int, seconds: float) -> tuple[Body, Headers]:
    service = call.shared.predictions
    predictions, answer = await service.predict_body(route, call.body, rows, seconds, call.started)
    return write_answer(route.model, route.version, predictions), [JSON_TYPE, call.timing(answer)]


async def _stream_events(route: Route, events: AsyncGenerator[StreamEvent]) -> AsyncGenerator[bytes]:
    async with aclosing(events):
        async for event in events:
            match event:
                case TextDelta(index, text):
                    yield sse.event(orjson.dumps({"index": index, "text": text}))
                case InstanceEnd(index, reason, tokens):
                    end = {"index": index, "text": "", "finish_reason": reason, "tokens": tokens}
                    yield sse.event(orjson.dumps(end))
                case _:
                    yield sse.event(write_body(route, event.predictions), b"done")


@requires(Scope.PREDICT)
async def explain(call: Call) -> tuple[Body, Headers]:
    """What one prediction depended on, step by step; it is computed beside the predictors."""
    fields = dict(parse_qsl(call.query.decode("latin-1"), keep_blank_values=True))
    form = fields.get("format", JSON_FORM)
    if form not in FORMS:
        raise Invalid(problems=[Problem("/query/format", f"takes {' or '.join(FORMS)}")])
    selector = version_selector(call.parameters["name"], call.query, EXPLAIN_FIELDS)
    seconds, service = call.deadline(), call.shared.explanations
    route = (await service.versions.choose(selector)).route
    await check_explanation_request_async(route, call.body, call.left(seconds))
    answer = await service.explain(route, call.body, call.left(seconds))
    if form == SVG_FORM:
        picture = await draw_async(route, answer.predictions, call.left(seconds))
        return picture, [(b"content-type", b"image/svg+xml"), call.timing(answer)]
    return write_explanation(route, answer.predictions), [JSON_TYPE, call.timing(answer)]


def version_selector(model: str, query: bytes, names: Sequence[str] = QUERY_FIELDS) -> VersionSelector:
    """The version that a request names in its query, by `version=n` or `alias=a`.

    `names` are all parameters that the query may have.
    """
    if not query:
        return VersionSelector(model, None, None)
    fields = dict(parse_qsl(query.decode("latin-1")))
    for name in fields.keys() - set(names):
        detail = unknown_name("parameter", name, names, {"`parameters` of the body": PARAMETER_NAMES})
        raise Invalid(problems=[Problem(pointer("query", name), detail)])
    version, alias = fields.get("version"), fields.get("alias")
    if version is not None and alias is not None:
        raise Invalid(problems=[Problem("/query/alias", "name a version or an alias, not both")])
    if version is None:
        return VersionSelector(model, None, alias)
    number = parse_version(version)
    if number is None:
        raise Invalid(problems=[Problem("/query/version", f"a version is a number from 1 to {MAX_VERSION}")])
    return VersionSelector(model, number, None)


DESCRIPTION = """One prediction per instance, in order, all by one version.

Instances may have the column names of the upload that the version was trained on. With `dataset` instead of
`instances` the examples of a stored data set are predicted, 4,096 at most.

With the parameter `stream` of tasks that have it the answer is a stream of server-sent events: the text of
each instance as it is generated, `{"index","text"}`, and at its end `finish_reason` and `tokens`. The last
event is `done` with the answer that a request without `stream` gets, or `error` with a problem."""
TENSORS_SCHEMA: Json = {
    "type": "string",
    "format": "binary",
    "description": "The task's tensors as the Open Inference Protocol v2 sends them.",
}
VERSION_PARAMETERS: list[Json] = [
    {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}},
    {
        "name": "version",
        "in": "query",
        "schema": {"type": "integer", "minimum": 1, "maximum": MAX_VERSION},
    },
    {
        "name": "alias",
        "in": "query",
        "description": "Without an alias or a version `production` answers.",
        "schema": {"type": "string"},
    },
]
OPERATION: Json = {
    "tags": ["predictions"],
    "summary": "Predict",
    "description": DESCRIPTION,
    "operationId": "predict",
    "parameters": [*VERSION_PARAMETERS, JSON_LENGTH_PARAMETER, DEADLINE_PARAMETER],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": reference("PredictIn")},
            BINARY_CONTENT.decode(): {"schema": TENSORS_SCHEMA},
        },
    },
    "responses": {
        "200": {
            "description": "The predictions",
            "content": {
                "application/json": {"schema": reference("PredictOut")},
                "text/event-stream": TEXT_CONTENT,
            },
        },
    },
}
EXPLAIN_DESCRIPTION = """Which steps of one instance its prediction depended on, and what the gates did.

The body is that of `predict` with exactly one instance, and may have a `method`. The instance may have the
column names of the upload, and be the rows of one series. `influence` is the norm of
the gradient of the answer with respect to the input of each step (of token numbers, to their embedding), or
its integral along a line from an input of zeros (`integrated_gradients`); it sums to 1. A row of `gates` and
`hidden` is of a layer: the mean activation of its units at each step, and the root mean square of its state.
`memory_length` is how many steps, from the last one back, hold nine tenths of the influence."""
EXPLAIN_OPERATION: Json = {
    "tags": ["predictions"],
    "summary": "Explain a prediction",
    "description": EXPLAIN_DESCRIPTION,
    "operationId": "explain",
    "parameters": [
        *VERSION_PARAMETERS,
        {
            "name": "format",
            "in": "query",
            "schema": {"type": "string", "enum": [*FORMS], "default": JSON_FORM},
        },
        DEADLINE_PARAMETER,
    ],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": reference("ExplainIn")}},
    },
    "responses": {
        "200": {
            "description": "The explanation",
            "content": {
                "application/json": {"schema": reference("ExplainOut")},
                "image/svg+xml": TEXT_CONTENT,
            },
        },
    },
}
ROUTE = RawRoute("/v1/models/{name}/predict", predict, OPERATION)
EXPLAIN_ROUTE = RawRoute("/v1/models/{name}/explain", explain, EXPLAIN_OPERATION)
