"""OpenAI's interface to models that go on from a prompt, as the `openai` package speaks it."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import orjson
from fastapi import APIRouter
from fastapi.responses import Response

from app.api import sse
from app.api.access.declared import requires
from app.api.deps import ReadSession
from app.api.protocol_schemas import CompletionModel, CompletionModels
from app.api.raw import DEADLINE_PARAMETER, JSON_TYPE, Body, Call, Headers, RawRoute
from app.api.response_schemas import TEXT_CONTENT, documented, reference
from app.database.tables import Model
from app.errors import NotFound
from app.prediction.request_parsing import MAX_INLINE_BYTES
from app.services.access.callers import Scope
from app.services.openai.completions import (
    MAX_COMPLETIONS,
    MAX_STOPS,
    CompletionModelNotFound,
    Completions,
    find_model,
    list_models,
    parse_completion_request,
    select_version,
)
from app.services.serving.predictions import MAX_INLINE_INSTANCES
from app.thread_pools import COMPUTING
from app.typedefs import Json

router = APIRouter(prefix="/openai/v1", tags=["openai"])


@router.get("/models", responses=documented(CompletionModels), operation_id="list_completion_models")
@requires(Scope.READ)
def models(session: ReadSession) -> Response:
    """All models that complete prompts."""
    return _json({"object": "list", "data": [_model(row) for row in list_models(session)]})


@router.get("/models/{model}", responses=documented(CompletionModel), operation_id="get_completion_model")
@requires(Scope.READ)
def model(model: str, session: ReadSession) -> Response:
    """One model that completes prompts, or a version of it (`name:1`)."""
    return _json(_model(find_model(session, model)) | {"id": model})


def _model(row: Model) -> Json:
    return {"id": row.name, "object": "model", "created": int(row.created_at), "owned_by": "recurra"}


def _json(body: Json) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")


@requires(Scope.PREDICT)
async def complete(call: Call) -> tuple[Body, Headers]:
    """Complete prompts; the answer is one JSON object or a stream of server-sent events."""
    seconds, service, is_small = call.deadline(), call.shared.predictions, len(call.body) <= MAX_INLINE_BYTES
    if is_small:
        request = parse_completion_request(call.body)
    else:
        request = await COMPUTING.run_within(seconds, parse_completion_request, call.body)
    try:
        resolved = await service.versions.choose(select_version(request.model))
    except NotFound as error:
        raise CompletionModelNotFound(error.message) from None
    completions = Completions(resolved.route, request, call.started)
    service.admit(resolved.route)
    count = len(request.prompts) * (request.n or 1)
    if is_small and count <= MAX_INLINE_INSTANCES and not resolved.route.task.slow_to_encode:
        examples = completions.examples()
    else:
        examples = await COMPUTING.run_within(call.left(seconds), completions.examples)
    if request.stream:
        chunks = completions.stream(service, examples, seconds)
        return await sse.after_first_chunk(_events(chunks)), [*sse.SSE_HEADERS]
    return orjson.dumps(await completions.complete(service, examples, seconds)), [JSON_TYPE]


async def _events(chunks: AsyncGenerator[Json]) -> AsyncGenerator[bytes]:
    async with aclosing(chunks):
        async for chunk in chunks:
            yield sse.event(orjson.dumps(chunk))
    yield sse.event(b"[DONE]")


REQUEST_SCHEMA: Json = {
    "type": "object",
    "required": ["model", "prompt"],
    "additionalProperties": False,
    "properties": {
        "model": {"type": "string"},
        "prompt": {
            "oneOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MAX_COMPLETIONS},
            ]
        },
        "max_tokens": {"type": "integer", "default": 16},
        "temperature": {"type": "number", "default": 1, "minimum": 0, "maximum": 2},
        "top_p": {"type": "number", "default": 1, "minimum": 0, "maximum": 1},
        "n": {"type": "integer", "default": 1},
        "stop": {
            "oneOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "maxItems": MAX_STOPS},
            ]
        },
        "seed": {"type": "integer"},
        "echo": {"type": "boolean", "default": False},
        "stream": {"type": "boolean", "default": False},
        "stream_options": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "include_usage": {"type": "boolean"},
                "include_obfuscation": {"type": "boolean"},
            },
        },
        "user": {"type": "string"},
    },
}
OPERATION: Json = {
    "tags": ["openai"],
    "summary": "Complete",
    "description": "Completions of prompts by one version, in the form of OpenAI's `completions`.",
    "operationId": "create_completion",
    "parameters": [
        DEADLINE_PARAMETER,
    ],
    "requestBody": {"required": True, "content": {"application/json": {"schema": REQUEST_SCHEMA}}},
    "responses": {
        "200": {
            "description": "The completions",
            "content": {
                "application/json": {"schema": reference("CompletionOut")},
                "text/event-stream": TEXT_CONTENT,
            },
        },
    },
}
ROUTE = RawRoute("/openai/v1/completions", complete, OPERATION)
