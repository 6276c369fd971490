"""OpenAI's interface to models that go on from a prompt, as the `openai` package speaks it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import orjson
from fastapi import APIRouter
from fastapi.responses import Response

from app.api import sse
from app.api.deps import ReadSession
from app.api.problems import OPENAI_RESPONSES
from app.api.raw import JSON_TYPE, LONGEST, Body, Call, Headers, RawRoute
from app.database.tables import Model
from app.errors import NotFound
from app.services.openai.completions import Completions, NoModel, find, listed, parse
from app.services.serving.predictions import INLINE, admit
from app.services.serving.version_router import Wanted
from app.typedefs import Json

router = APIRouter(prefix="/openai/v1", tags=["openai"], responses=OPENAI_RESPONSES)


@router.get("/models")
def models(session: ReadSession) -> Response:
    """All models that complete prompts."""
    return _json({"object": "list", "data": [_model(row) for row in listed(session)]})


@router.get("/models/{model}")
def model(model: str, session: ReadSession) -> Response:
    """One of them."""
    return _json(_model(find(session, model)))


def _model(row: Model) -> Json:
    return {"id": row.name, "object": "model", "created": int(row.created_at), "owned_by": "recurra"}


def _json(body: Json) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")


async def complete(call: Call) -> tuple[Body, Headers]:
    """Completions of prompts, as a whole or as server-sent events."""
    asked, seconds, plane = parse(call.body), call.deadline(), call.house.plane
    try:
        chosen = await plane.catalog.choose(Wanted(asked.model, None, None))
    except NotFound as error:
        raise NoModel(error.message) from None
    completions = Completions(chosen.route, asked, call.begun)
    admit(plane, chosen.route)
    many = len(asked.prompts) * (asked.n or 1) > INLINE
    examples = await asyncio.to_thread(completions.examples) if many else completions.examples()
    if asked.stream:
        chunks = completions.chunks(plane, examples, seconds)
        return await sse.opened(_events(chunks)), [*sse.HEADERS]
    return orjson.dumps(await completions.whole(plane, examples, seconds)), [JSON_TYPE]


async def _events(chunks: AsyncGenerator[Json]) -> AsyncGenerator[bytes]:
    async with aclosing(chunks):
        async for chunk in chunks:
            yield sse.event(orjson.dumps(chunk))
    yield sse.event(b"[DONE]")


ASKED: Json = {
    "type": "object",
    "required": ["model", "prompt"],
    "additionalProperties": False,
    "properties": {
        "model": {"type": "string"},
        "prompt": {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
        "max_tokens": {"type": "integer", "default": 16},
        "temperature": {"type": "number", "default": 1, "minimum": 0, "maximum": 2},
        "top_p": {"type": "number", "default": 1, "minimum": 0, "maximum": 1},
        "n": {"type": "integer", "default": 1},
        "stop": {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
        "seed": {"type": "integer"},
        "echo": {"type": "boolean", "default": False},
        "stream": {"type": "boolean", "default": False},
        "stream_options": {"type": "object", "properties": {"include_usage": {"type": "boolean"}}},
        "user": {"type": "string"},
    },
}
OPERATION: Json = {
    "tags": ["openai"],
    "summary": "Complete",
    "description": "Completions of prompts by one version, as OpenAI's `completions` tells them.",
    "operationId": "complete",
    "parameters": [
        {"name": "X-Request-Timeout", "in": "header", "schema": {"type": "number", "maximum": LONGEST}}
    ],
    "requestBody": {"required": True, "content": {"application/json": {"schema": ASKED}}},
    "responses": {
        "200": {
            "description": "The completions",
            "content": {"application/json": {}, "text/event-stream": {}},
        },
        **{str(status): told for status, told in OPENAI_RESPONSES.items()},
    },
}
ROUTE = RawRoute("/openai/v1/completions", complete, OPERATION)
