"""The Open Inference Protocol v2 without inference: health, metadata, statistics and the model repository."""

from typing import Any

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response

from app.api.access.declared import requires
from app.api.deps import AppState, StateDep
from app.api.protocol_schemas import (
    EmptyObject,
    ModelConfiguration,
    ModelMetadata,
    ModelStatistics,
    Readiness,
    RepositoryEntry,
    ServerLiveness,
    ServerMetadata,
)
from app.api.response_schemas import documented
from app.errors import Invalid, Unavailable
from app.services.access.callers import Scope
from app.services.open_inference import metadata as repository
from app.services.open_inference.predict import split_name, version_selector
from app.services.serving.version_router import Route
from app.thread_pools import VERSION_READS
from app.typedefs import Json

router = APIRouter(prefix="/v2", tags=["open inference protocol"])

READINESS = documented(Readiness) | documented(Readiness, 503, "Not ready")
PROTOCOL_EXTENSIONS = [
    "binary_tensor_data",
    "parameters",
    "model_repository",
    "model_configuration",
    "statistics",
]


def _json(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), status, headers, media_type="application/json")


@router.get("", responses=documented(ServerMetadata), operation_id="get_server_metadata")
@requires(Scope.READ)
async def server(request: Request) -> Response:
    """The server's name, version and protocol extensions."""
    return _json({"name": "recurra", "version": request.app.version, "extensions": PROTOCOL_EXTENSIONS})


@router.get("/health/live", responses=documented(ServerLiveness), operation_id="get_server_liveness")
@requires(Scope.READ)
async def live() -> Response:
    """Whether the process is alive."""
    return _json({"live": True})


@router.get("/health/ready", responses=READINESS, operation_id="get_server_readiness")
@requires(Scope.READ)
async def ready(shared: StateDep) -> Response:
    """Whether an inference request would be answered now."""
    return await _readiness(shared, {"live": True})


async def _readiness(shared: AppState, body: Json) -> Response:
    if await shared.lane.predictors():
        return _json({**body, "ready": True})
    error = Unavailable("No serving worker is running; try again shortly.")
    if not shared.lane.redis_reachable:
        error = Unavailable("The queue is unreachable; try again shortly.")
    content = {**body, "ready": False, "error": error.message}
    return _json(content, error.status, {"Retry-After": str(error.retry_after)})


async def _route(shared: AppState, model: str, version: str | None) -> Route:
    return (await shared.versions.choose(version_selector(model, version))).route


async def _versions(shared: AppState, model: str, version: str | None) -> list[int]:
    """The numbers of the versions that a path names: one, or all."""
    if version is not None:
        return [(await _route(shared, model, version)).version]

    def query() -> list[int]:
        with shared.readers() as session:
            return repository.versions(session, split_name(model)[0])

    return await VERSION_READS.run(query)


# This route hides the metadata of a model that is called `stats`, and nothing else.
@router.get("/models/stats", responses=documented(ModelStatistics), operation_id="get_all_statistics")
@requires(Scope.READ)
async def all_statistics(shared: StateDep) -> Response:
    """Statistics of every version that this process has predicted with."""
    return _json(repository.statistics(shared.predictions.metrics, None, None))


@router.get("/models/{model}", responses=documented(ModelMetadata), operation_id="get_tensor_metadata")
@requires(Scope.READ)
async def metadata(shared: StateDep, model: str) -> Response:
    """The input and output tensors of a model."""
    return await _metadata(shared, model, None)


@router.get(
    "/models/{model}/versions/{version}",
    responses=documented(ModelMetadata),
    operation_id="get_version_tensor_metadata",
)
@requires(Scope.READ)
async def version_metadata(shared: StateDep, model: str, version: str) -> Response:
    """The input and output tensors of a version."""
    return await _metadata(shared, model, version)


async def _metadata(shared: AppState, model: str, version: str | None) -> Response:
    route = await _route(shared, model, version)
    return _json(repository.metadata(model, await _versions(shared, model, None), route))


@router.get("/models/{model}/ready", responses=READINESS, operation_id="get_model_readiness")
@requires(Scope.READ)
async def model_ready(shared: StateDep, model: str) -> Response:
    """Whether a model would answer now; every model does while a serving worker runs."""
    await _route(shared, model, None)
    return await _readiness(shared, {"name": model})


@router.get(
    "/models/{model}/versions/{version}/ready",
    responses=READINESS,
    operation_id="get_version_readiness",
)
@requires(Scope.READ)
async def version_ready(shared: StateDep, model: str, version: str) -> Response:
    """Whether a version would answer now."""
    await _route(shared, model, version)
    return await _readiness(shared, {"name": model})


@router.get(
    "/models/{model}/config", responses=documented(ModelConfiguration), operation_id="get_model_config"
)
@requires(Scope.READ)
async def config(shared: StateDep, model: str) -> Response:
    """The tensors in the form of Triton's model configuration."""
    return _json(repository.config(model, await _route(shared, model, None)))


@router.get(
    "/models/{model}/versions/{version}/config",
    responses=documented(ModelConfiguration),
    operation_id="get_version_config",
)
@requires(Scope.READ)
async def version_config(shared: StateDep, model: str, version: str) -> Response:
    """The tensors of one version in the form of Triton's model configuration."""
    return _json(repository.config(model, await _route(shared, model, version)))


@router.get(
    "/models/{model}/stats", responses=documented(ModelStatistics), operation_id="get_model_statistics"
)
@requires(Scope.READ)
async def statistics(shared: StateDep, model: str) -> Response:
    """Statistics of all versions of a model, from this process."""
    numbers = await _versions(shared, model, None)
    return _json(repository.statistics(shared.predictions.metrics, model, numbers))


@router.get(
    "/models/{model}/versions/{version}/stats",
    responses=documented(ModelStatistics),
    operation_id="get_version_statistics",
)
@requires(Scope.READ)
async def version_statistics(shared: StateDep, model: str, version: str) -> Response:
    """Statistics of one version, from this process."""
    numbers = await _versions(shared, model, version)
    return _json(repository.statistics(shared.predictions.metrics, model, numbers))


@router.post(
    "/repository/index", responses=documented(list[RepositoryEntry]), operation_id="index_repository"
)
@requires(Scope.READ)
def index(shared: StateDep) -> Response:
    """Every version of every model; each is ready, as it is loaded with its first request."""
    with shared.readers() as session:
        return _json(repository.index(session))


@router.post("/repository/models/{model}/load", responses=documented(EmptyObject), operation_id="load_model")
@requires(Scope.PREDICT)
async def load(shared: StateDep, model: str) -> Response:
    """Have every serving worker load the version that answers, before it is requested."""
    await shared.lane.preload((await _route(shared, model, None)).artifact)
    return _json({})


@router.post(
    "/repository/models/{model}/unload", responses=documented(EmptyObject), operation_id="unload_model"
)
@requires(Scope.PREDICT)
async def unload(shared: StateDep, model: str) -> Response:
    """Refused: workers unload by themselves versions that are not requested."""
    await _route(shared, model, None)
    raise Invalid("Models cannot be unloaded: a worker that needs memory unloads the least used version")
