"""Fine-tunings as the `openai` package submits and follows them: each is a training job."""

from collections.abc import Callable
from typing import Annotated

import orjson
from fastapi import APIRouter, Query
from fastapi.responses import Response
from sqlalchemy.orm import Session
from starlette.background import BackgroundTask

from app.api.access.declared import requires
from app.api.deps import MAX_JSON_BYTES, AppState, IdempotencyKey, ReadSession, StateDep
from app.api.polling import keyed_request, submit_once
from app.api.protocol_schemas import FineTuningCheckpoints, FineTuningEvents, FineTuningJob, FineTuningJobs
from app.api.response_schemas import documented
from app.database.tables import Job
from app.services.access.callers import Scope
from app.services.jobs import control
from app.services.jobs.checkpoints import discard_files
from app.services.openai import fine_tuning
from app.services.openai.fine_tuning import FineTuningJobIn
from app.services.openai.pages import OpenaiPaging
from app.states import TERMINAL, Status
from app.typedefs import Json

router = APIRouter(prefix="/openai/v1/fine_tuning/jobs", tags=["openai"])

PageLimit = Annotated[int, Query(ge=1, le=200)]
AfterId = Annotated[str | None, Query(max_length=64)]


def _json(body: Json) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")


@router.post(
    "",
    responses=documented(FineTuningJob),
    max_body_size=MAX_JSON_BYTES,
    operation_id="submit_fine_tuning_job",
)
@requires(Scope.TRAIN)
def submit(request: FineTuningJobIn, shared: StateDep, key: IdempotencyKey) -> Response:
    """Queue a training of the task that its file is for; what does not fit together is refused at once."""
    keyed = keyed_request("POST /openai/v1/fine_tuning/jobs", key, request)
    submitted = submit_once(shared, keyed, lambda session: fine_tuning.submit(session, request))
    with shared.sessions() as session:
        return _json(fine_tuning.job_object(fine_tuning.get_job(session, orjson.loads(submitted.body)["id"])))


@router.get("", responses=documented(FineTuningJobs), operation_id="list_fine_tuning_jobs")
@requires(Scope.READ)
def find(session: ReadSession, limit: PageLimit = 20, after: AfterId = None) -> Response:
    """Training jobs, newest first."""
    paging = OpenaiPaging(limit, after)
    return _json(paging.page(fine_tuning.list_jobs(session, paging), fine_tuning.job_object))


@router.get("/{job_id}", responses=documented(FineTuningJob), operation_id="get_fine_tuning_job")
@requires(Scope.READ)
def read(job_id: str, session: ReadSession) -> Response:
    """One training job."""
    return _json(fine_tuning.job_object(fine_tuning.get_job(session, job_id)))


@router.post("/{job_id}/cancel", responses=documented(FineTuningJob), operation_id="cancel_fine_tuning_job")
@requires(Scope.TRAIN)
def cancel(job_id: str, shared: StateDep) -> Response:
    """Ask a job to end; one that runs stops at its next step."""
    response, job = _control(shared, job_id, control.cancel)
    if job.status in TERMINAL:  # the files of a running job are deleted by the worker that owns it
        response.background = BackgroundTask(discard_files, shared.storage, job_id)
    return response


@router.post("/{job_id}/pause", responses=documented(FineTuningJob), operation_id="pause_fine_tuning_job")
@requires(Scope.TRAIN)
def pause(job_id: str, shared: StateDep) -> Response:
    """Ask a running job to write a checkpoint and release its device; a queued job is paused at once."""
    return _control(shared, job_id, control.pause)[0]


@router.post("/{job_id}/resume", responses=documented(FineTuningJob), operation_id="resume_fine_tuning_job")
@requires(Scope.TRAIN)
def resume(job_id: str, shared: StateDep) -> Response:
    """Queue a paused job again; it continues from its checkpoint."""
    response, job = _control(shared, job_id, control.resume)
    if job.status == Status.QUEUED:
        shared.dispatcher.notify(job_id)
    return response


def _control(shared: AppState, job_id: str, act: Callable[[Session, str], Job]) -> tuple[Response, Job]:
    """Cancel, pause or resume a job by `act`; gives the response and the job."""
    with shared.sessions.begin() as session:
        fine_tuning.get_job(session, job_id)
        job = act(session, job_id)
        body = fine_tuning.job_object(job)
    return _json(body), job


@router.get(
    "/{job_id}/events", responses=documented(FineTuningEvents), operation_id="list_fine_tuning_events"
)
@requires(Scope.READ)
def events(job_id: str, session: ReadSession, limit: PageLimit = 20, after: AfterId = None) -> Response:
    """The events of a job, newest first; those of type `metrics` have an epoch's figures."""
    paging = OpenaiPaging(limit, after)
    return _json(paging.page(fine_tuning.list_events(session, job_id, paging), fine_tuning.event_object))


@router.get(
    "/{job_id}/checkpoints",
    responses=documented(FineTuningCheckpoints),
    operation_id="list_fine_tuning_checkpoints",
)
@requires(Scope.READ)
def checkpoints(job_id: str, session: ReadSession, limit: PageLimit = 10, after: AfterId = None) -> Response:
    """What can be used of a job: once it has succeeded, the version that it made."""
    paging = OpenaiPaging(limit, None)
    rows = [] if after is not None else fine_tuning.checkpoint_objects(session, job_id)
    return _json(paging.page(rows, lambda row: row))
