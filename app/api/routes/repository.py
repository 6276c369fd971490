"""What the Open Inference Protocol v2 tells of the server and its models; inference itself is a raw route."""

import asyncio
from typing import Any

import orjson
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from app.api.deps import House, HouseDep
from app.api.problems import ERRORS
from app.errors import Invalid, Unavailable
from app.services.open_inference import metadata as repository
from app.services.open_inference.predict import parted, wanted
from app.services.serving.version_router import Route
from app.typedefs import Json

router = APIRouter(prefix="/v2", tags=["open inference protocol"], responses=ERRORS)

EXTENSIONS = ["binary_tensor_data", "parameters", "model_repository", "model_configuration", "statistics"]
OTHERS = ["GET", "PUT", "PATCH", "DELETE"]


def _json(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), status, headers, media_type="application/json")


@router.get("")
async def server(request: Request) -> Response:
    """The server and what of the protocol it has."""
    return _json({"name": "recurra", "version": request.app.version, "extensions": EXTENSIONS})


@router.get("/health/live")
async def live() -> Response:
    """Whether the process lives."""
    return _json({"live": True})


@router.get("/health/ready")
async def ready(shared: HouseDep) -> Response:
    """Whether a request would be answered now."""
    return await _readiness(shared, {"live": True})


async def _readiness(shared: House, body: Json) -> Response:
    if await shared.lane.predictors():
        return _json({**body, "ready": True})
    error = Unavailable("No serving worker is running; try again shortly.")
    if not shared.lane.reachable:
        error = Unavailable("The queue is unreachable; try again shortly.")
    said = {**body, "ready": False, "error": error.message}
    return _json(said, error.status, {"Retry-After": str(error.retry_after)})


async def _route(shared: House, model: str, version: str | None) -> Route:
    return (await shared.catalog.choose(wanted(model, version))).route


async def _versions(shared: House, model: str, version: str | None) -> list[int]:
    """The versions a path means: the named one, or all."""
    if version is not None:
        return [(await _route(shared, model, version)).version]

    def look() -> list[int]:
        with shared.readers() as session:
            return repository.versions(session, parted(model)[0])

    return await asyncio.to_thread(look)


# A model of the name `stats` would be hidden here, and nowhere else.
@router.get("/models/stats")
async def all_statistics(shared: HouseDep) -> Response:
    """What this process counted of every version it was asked for."""
    return _json(repository.statistics(shared.plane.meters, None, None))


@router.get("/models/{model}")
async def metadata(shared: HouseDep, model: str) -> Response:
    """The tensors that a model takes and gives."""
    return await _metadata(shared, model, None)


@router.get("/models/{model}/versions/{version}")
async def version_metadata(shared: HouseDep, model: str, version: str) -> Response:
    """The tensors that a version takes and gives."""
    return await _metadata(shared, model, version)


async def _metadata(shared: House, model: str, version: str | None) -> Response:
    route = await _route(shared, model, version)
    return _json(repository.metadata(model, await _versions(shared, model, None), route))


@router.get("/models/{model}/ready")
async def model_ready(shared: HouseDep, model: str) -> Response:
    """Whether a model would answer now; each does while a worker serves."""
    await _route(shared, model, None)
    return await _readiness(shared, {"name": model})


@router.get("/models/{model}/versions/{version}/ready")
async def version_ready(shared: HouseDep, model: str, version: str) -> Response:
    """Whether a version would answer now."""
    await _route(shared, model, version)
    return await _readiness(shared, {"name": model})


@router.get("/models/{model}/config")
async def config(shared: HouseDep, model: str) -> Response:
    """The tensors in the words of Triton's model configuration."""
    return _json(repository.config(model, await _route(shared, model, None)))


@router.get("/models/{model}/versions/{version}/config")
async def version_config(shared: HouseDep, model: str, version: str) -> Response:
    """The same of one version."""
    return _json(repository.config(model, await _route(shared, model, version)))


@router.get("/models/{model}/stats")
async def statistics(shared: HouseDep, model: str) -> Response:
    """What this process counted of all of a model's versions."""
    numbers = await _versions(shared, model, None)
    return _json(repository.statistics(shared.plane.meters, model, numbers))


@router.get("/models/{model}/versions/{version}/stats")
async def version_statistics(shared: HouseDep, model: str, version: str) -> Response:
    """What this process counted of one version."""
    numbers = await _versions(shared, model, version)
    return _json(repository.statistics(shared.plane.meters, model, numbers))


@router.post("/repository/index")
def index(shared: HouseDep) -> Response:
    """Every version of every model; each is ready, because it is loaded when it is first asked."""
    with shared.readers() as session:
        return _json(repository.index(session))


@router.post("/repository/models/{model}/load")
async def load(shared: HouseDep, model: str) -> Response:
    """Have every serving worker load the version that answers, ahead of its use."""
    await shared.lane.prepare((await _route(shared, model, None)).artifact)
    return _json({})


@router.post("/repository/models/{model}/unload")
async def unload(shared: HouseDep, model: str) -> Response:
    """Refused: workers forget by themselves what nobody asks for."""
    await _route(shared, model, None)
    raise Invalid("Models cannot be unloaded: a worker that needs the room forgets the least used version")


@router.api_route("/models/{model}/infer", methods=OTHERS, include_in_schema=False)
@router.api_route("/models/{model}/versions/{version}/infer", methods=OTHERS, include_in_schema=False)
async def only_posted() -> Response:
    """Inference with another verb."""
    raise HTTPException(405, "Method Not Allowed", {"Allow": "POST"})
