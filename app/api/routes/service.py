"""The service itself: health, readiness, metrics, tasks, workers."""

from contextlib import suppress
from enum import Enum
from functools import cache

import msgspec
import orjson
from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, RedirectResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import URL

from app.api.access.declared import requires
from app.api.deps import AppState, PagingDep, ReadSession, StateDep, page_response
from app.api.metrics_text import joint_text, own_text, queue_text
from app.api.response_schemas import HealthOut, ReadinessOut, TasksOut, documented
from app.errors import DeadlinePassed, NotFound, QueueFull
from app.hyperparameters.options import NETWORK, TRAINING, NetworkIn, TrainingIn
from app.schemas import Page, WorkerOut
from app.services.access.callers import Scope
from app.services.jobs import workers
from app.services.jobs.queries import QueueState, read_queue
from app.services.jobs.workers import LiveWorker
from app.services.models import versions
from app.tasks import TASKS
from app.tasks.contract import Task
from app.thread_pools import READINESS
from app.typedefs import Json

router = APIRouter()

SERVICE: list[str | Enum] = ["service"]  # the tags of most operations

CHECK_SECONDS = 2.0
NETWORK_IN, TRAINING_IN = NetworkIn.model_json_schema(), TrainingIn.model_json_schema()


@router.get("/", include_in_schema=False, operation_id="open_page")
@requires(None)
async def open_page(request: Request, shared: StateDep) -> Response:
    """Send people to the page, if there is one."""
    if not shared.page_url:
        raise NotFound("There is no page here; /docs has the documentation")
    return RedirectResponse(locate_page(shared.page_url, request.url), 307)


def locate_page(page_url: str, called: URL) -> str:
    """The URL of the page; a port alone is at the host that was called, which is one of this service's."""
    if not page_url.startswith(":"):
        return page_url
    host = f"[{called.hostname}]" if ":" in (called.hostname or "") else called.hostname
    return f"{called.scheme}://{host}{page_url}/"


@router.get("/healthz", responses=documented(HealthOut), operation_id="get_health", tags=SERVICE)
@requires(None)
async def health() -> Response:
    """Whether the process is alive; checks nothing else."""
    return Response(b'{"status":"ok"}', media_type="application/json")


@router.get(
    "/readyz",
    responses=documented(ReadinessOut) | documented(ReadinessOut, 503, "Something is missing"),
    operation_id="get_readiness",
    tags=SERVICE,
)
@requires(None)
async def ready(shared: StateDep) -> Response:
    """Whether a job could be submitted, trained and served now."""
    try:
        roles = await READINESS.run_within(CHECK_SECONDS, _roles, shared)
    except (SQLAlchemyError, DeadlinePassed, QueueFull):
        roles = None
    predictors = await shared.lane.predictors()
    checks = {
        "database": roles is not None,
        "redis": shared.lane.redis_reachable,
        "train_workers": "train" in (roles or ()),
        "serve_workers": bool(predictors),
    }
    is_ready = all(checks.values())
    body = {
        "status": "ok" if is_ready else "unavailable",
        "checks": {name: "ok" if passed else "unavailable" for name, passed in checks.items()},
    }
    return Response(orjson.dumps(body), 200 if is_ready else 503, media_type="application/json")


def _roles(shared: AppState) -> set[str]:
    with shared.readers() as session:
        session.execute(select(1))
        return {worker.role for worker, _ in workers.list_live(session)}


@router.get("/metrics", response_class=PlainTextResponse, operation_id="get_service_metrics", tags=SERVICE)
@requires(Scope.READ)
async def metrics(shared: StateDep) -> Response:
    """Prometheus text; of several processes (`--processes`) each sample is labelled with its own.

    Jobs and workers are in the database: while it does not answer, their series are left out.
    """
    await shared.lane.predictors()
    if shared.siblings is None:
        text = own_text(shared.predictions.metrics)
    else:
        text = joint_text(await shared.siblings.texts(shared.project))
    with suppress(SQLAlchemyError, DeadlinePassed, QueueFull):
        text += queue_text(await READINESS.run_within(CHECK_SECONDS, _queue, shared))
    return Response(text, media_type=CONTENT_TYPE_LATEST)


def _queue(shared: AppState) -> QueueState:
    with shared.readers() as session:
        return read_queue(session)


@router.get("/v1/tasks", responses=documented(TasksOut), operation_id="list_tasks", tags=["tasks"])
@requires(Scope.READ)
def tasks() -> Response:
    """Each task: its options, data set formats, the shapes of instances and parameters, and its defaults.

    `network` and `training` are the schemas of those parts of a job; a job may set the options that the
    defaults of its kind of data have.
    """
    description = {"data": [_describe_task(name) for name in sorted(TASKS)], "network": NETWORK_IN}
    return Response(orjson.dumps(description | {"training": TRAINING_IN}), media_type="application/json")


@cache
def _describe_task(name: str) -> Json:
    task: Task = TASKS[name]
    return {
        "name": task.name,
        "bidirectional": task.bidirectional,
        "formats": list(task.formats),
        "columns": list(task.columns),
        "options": task.options.model_json_schema(),
        "instance": msgspec.json.schema(task.instance),
        "parameters": msgspec.json.schema(task.parameters),
        "prediction": msgspec.json.schema(task.prediction),
        "defaults": [
            {"data": data, **_describe_defaults(task, *kind)} for data, kind in task.example_datasets.items()
        ],
    }


def _describe_defaults(task: Task, summary: Json, options: Json) -> Json:
    """Network and training options of a job that sets only `options`, on a data set with this summary."""
    defaults = task.defaults(summary, task.options.model_validate(options))
    network, training = NETWORK | defaults.network, TRAINING | defaults.training
    return {"options": options, "network": network, "training": training}


@router.get("/v1/workers", response_model=Page[WorkerOut], operation_id="list_workers", tags=SERVICE)
@requires(Scope.READ)
def list_workers(shared: StateDep, session: ReadSession, paging: PagingDep) -> Response:
    """Live workers, those that began last first; of their jobs and versions those of the project."""
    rows = workers.list_page(session, paging)
    own = None if shared.access is None else versions.list_references(session)

    def represent(row: LiveWorker) -> WorkerOut:
        out = WorkerOut.of(row.worker, row.job_id)
        if own is not None:
            out.loaded = [artifact for artifact in out.loaded if artifact in own]
        return out

    return page_response(paging, rows, "id", represent)
