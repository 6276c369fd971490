"""Jobs: submit, poll, follow, cancel, pause."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import PlainTextResponse, Response, StreamingResponse
from sqlalchemy.orm import Session
from starlette.background import BackgroundTask

from app.api.access.declared import requires
from app.api.deps import (
    MAX_JSON_BYTES,
    AppState,
    IdempotencyKey,
    PagingDep,
    ReadSession,
    StateDep,
    json_response,
    page_response,
)
from app.api.polling import etag, job_response, keyed_request, submit_once
from app.api.response_schemas import TEXT_CONTENT, DiagnosticsOut, LearningCurvesOut, documented
from app.database.tables import Job
from app.errors import NotFound
from app.schemas import EventOut, JobIn, JobOut, LogLineOut, Page
from app.services.access.callers import Scope
from app.services.jobs import checkpoints, control, leases, queries, submission
from app.services.jobs.checkpoints import discard_files
from app.services.jobs.diagnostics import job_diagnostics
from app.services.jobs.diagnostics_chart import draw
from app.services.sweeps import state
from app.states import SWEEP, TERMINAL, Status
from app.thread_pools import JOB_READS
from app.times import rfc3339

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

MAX_WAIT_SECONDS = 60.0
MAX_STREAM_SECONDS = 600.0  # then the client reconnects with Last-Event-ID
PING_SECONDS = 15.0
MAX_PAGE_EVENTS, STREAM_BATCH_EVENTS = 500, 100
MAX_SEQ, MAX_SEQ_DIGITS = 2**31 - 1, 10  # of an event
PREFER_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})\"?(?:$|[,;\s])")


@router.post(
    "", status_code=202, response_model=JobOut, max_body_size=MAX_JSON_BYTES, operation_id="submit_job"
)
@requires(Scope.TRAIN)
def submit(request: JobIn, shared: StateDep, key: IdempotencyKey) -> Response:
    """Queue a training job; a task, data set and options that do not fit together are refused at once."""
    keyed = keyed_request("POST /v1/jobs", key, request)
    return submit_once(shared, keyed, lambda session: submission.submit(session, request))


@router.get("", response_model=Page[JobOut], operation_id="list_jobs")
@requires(Scope.READ)
def find(
    session: ReadSession,
    paging: PagingDep,
    status: Annotated[Status | None, Query()] = None,
    task: str | None = None,
    model: str | None = None,
    kind: str | None = None,
    sweep: str | None = None,
) -> Response:
    """Jobs newest first; `kind` is train, sweep, batch_predict or evaluate; `sweep` has its runs listed."""
    query = {"status": status, "task": task, "model": model, "kind": kind, "sweep_id": sweep}
    filters = {name: value for name, value in query.items() if value}
    return page_response(paging, queries.list_jobs(session, paging, filters), "id", JobOut.of)


@router.get(
    "/{job_id}",
    response_model=JobOut,
    responses={304: {"description": "Nothing has changed"}},
    operation_id="get_job",
)
@requires(Scope.READ)
async def read(
    job_id: str,
    shared: StateDep,
    if_none_match: Annotated[str | None, Header()] = None,
    prefer: Annotated[str | None, Header()] = None,
) -> Response:
    """The job; with `Prefer: wait=30` only once something has changed, or after that time."""
    job = await JOB_READS.run(_get, shared, job_id)
    headers = {}
    match = PREFER_WAIT.search(prefer or "")
    if match is not None and job.status not in TERMINAL:
        headers["Preference-Applied"] = f"wait={match[1]}"
        if if_none_match is None or etag(job) in if_none_match:
            shared.follower.check_room()
            seconds = min(float(match[1]), MAX_WAIT_SECONDS)
            await shared.follower.wait_for_change(job_id, job.revision, seconds)
            job = await JOB_READS.run(_get, shared, job_id)
    if if_none_match is not None and (etag(job) in if_none_match or if_none_match.strip() == "*"):
        headers |= {} if job.status in TERMINAL else {"Retry-After": "1"}
        return Response(status_code=304, headers={"ETag": etag(job), **headers})
    return job_response(job, more=headers)


def _get(shared: AppState, job_id: str) -> Job:
    with shared.readers() as session:
        return queries.get_job(session, job_id)


@router.get("/{job_id}/metrics", responses=documented(LearningCurvesOut), operation_id="get_job_metrics")
@requires(Scope.READ)
def metrics(job_id: str, session: ReadSession) -> Response:
    """The learning curves: one entry an epoch."""
    body = orjson.dumps({"epochs": queries.learning_curves(session, job_id)})
    return Response(body, media_type="application/json")


@router.get(
    "/{job_id}/diagnostics",
    responses=documented(DiagnosticsOut, more={"image/svg+xml": TEXT_CONTENT}),
    operation_id="get_job_diagnostics",
)
@requires(Scope.READ)
def diagnostics(
    job_id: str,
    session: ReadSession,
    form: Annotated[Literal["json", "svg"], Query(alias="format")] = "json",
) -> Response:
    """How far back the network reaches, by epoch, with a verdict on its gradients; `format=svg` draws it."""
    measured = job_diagnostics(session, job_id)
    if form == "svg":
        return Response(draw(measured), media_type="image/svg+xml")
    return Response(orjson.dumps(measured), media_type="application/json")


@router.post("/{job_id}/cancel", status_code=202, response_model=JobOut, operation_id="cancel_job")
@requires(Scope.TRAIN)
def cancel(job_id: str, shared: StateDep) -> Response:
    """Ask a job to end; one that runs stops at its next step."""
    response, job = _control(shared, job_id, control.cancel)
    if job.kind == SWEEP:
        response.background = BackgroundTask(_discard_runs, shared, job_id)
    elif job.status in TERMINAL:  # the files of a running job are deleted by the worker that owns it
        response.background = BackgroundTask(discard_files, shared.storage, job_id)
    return response


@router.post("/{job_id}/pause", status_code=202, response_model=JobOut, operation_id="pause_job")
@requires(Scope.TRAIN)
def pause(job_id: str, shared: StateDep) -> Response:
    """Ask a running job to write a checkpoint and release its device; a queued job is paused at once."""
    return _control(shared, job_id, control.pause)[0]


@router.post("/{job_id}/resume", status_code=202, response_model=JobOut, operation_id="resume_job")
@requires(Scope.TRAIN)
def resume(job_id: str, shared: StateDep) -> Response:
    """Queue a paused job again; it continues from its checkpoint to the result it would have had."""
    response, job = _control(shared, job_id, control.resume)
    if job.status == Status.QUEUED:
        shared.dispatcher.notify(job_id)
    return response


def _control(shared: AppState, job_id: str, act: Callable[[Session, str], Job]) -> tuple[Response, Job]:
    """Cancel, pause or resume a job by `act`; gives the response and the job."""
    with shared.sessions.begin() as session:
        job = act(session, job_id)
    return job_response(job, 202, {"Location": f"/v1/jobs/{job_id}"}), job


def _discard_runs(shared: AppState, sweep_id: str) -> None:
    """Delete the artifacts of ended runs: no version is made of a cancelled sweep."""
    ended: list[str] = []
    with suppress(NotFound), shared.readers() as session:  # it may be deleted by now
        ended = [run.job_id for run in state.load(session, sweep_id).runs if not run.live]
    for job_id in ended:
        shared.storage.delete(f"artifacts/{job_id}")
        shared.storage.delete(checkpoints.prefix(job_id))


@router.delete("/{job_id}", status_code=204, operation_id="delete_job")
@requires(Scope.TRAIN)
def remove(job_id: str, shared: StateDep) -> Response:
    """Delete a finished job, its history and its result; the model version it made stays."""
    with shared.sessions.begin() as session:
        queries.delete_job(session, job_id)
    return Response(status_code=204, background=BackgroundTask(discard_files, shared.storage, job_id))


Seq = Annotated[int, Query(ge=0, le=MAX_SEQ)]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE_EVENTS)]
SeqCursor = Annotated[
    int | None, Query(ge=0, le=MAX_SEQ, description="The `next_cursor` of a page, as `after`.")
]
LastEventId = Annotated[str | None, Header()]
STREAM, TEXT = "text/event-stream", "text/plain"


@dataclass(frozen=True)
class _History:
    """Numbered entries of a job, oldest first: where they are read, and how they are represented."""

    read: Callable[[Session, str, int, int], Sequence[Any]]
    represent: Callable[[Any], EventOut | LogLineOut]
    name: Callable[[Any], str]  # of an entry's event in a stream


EVENTS = _History(queries.list_events, EventOut.of, lambda row: str(row.type))
LOG = _History(queries.list_log_lines, LogLineOut.of, lambda _: "line")


@router.get(
    "/{job_id}/events",
    response_model=Page[EventOut],
    responses={200: {"content": {STREAM: TEXT_CONTENT}}},
    operation_id="list_job_events",
)
@requires(Scope.READ)
async def events(
    job_id: str,
    request: Request,
    shared: StateDep,
    after: Seq = 0,
    limit: Limit = 50,
    cursor: SeqCursor = None,
    last_event_id: LastEventId = None,
) -> Response:
    """The job's events, oldest first: a page of JSON, or a stream that ends with the job."""
    await JOB_READS.run(_get, shared, job_id)
    after = max(after, cursor or 0)
    if STREAM in request.headers.get("accept", ""):
        return _stream_response(EVENTS, shared, job_id, _resumed(after, last_event_id))
    return await _page(EVENTS, shared, job_id, after, limit)


@router.get(
    "/{job_id}/logs",
    response_model=Page[LogLineOut],
    responses={200: {"content": {STREAM: TEXT_CONTENT, TEXT: TEXT_CONTENT}}},
    operation_id="list_job_logs",
)
@requires(Scope.READ)
async def logs(
    job_id: str,
    request: Request,
    shared: StateDep,
    after: Seq = 0,
    limit: Limit = 100,
    cursor: SeqCursor = None,
    last_event_id: LastEventId = None,
) -> Response:
    """What the job's process wrote, oldest first: the newest 5,000 lines, without paths and secrets.

    A page of JSON; as `text/plain` all lines above `after`; or a stream that ends with the job.
    """
    await JOB_READS.run(_get, shared, job_id)
    after, accepted = max(after, cursor or 0), request.headers.get("accept", "")
    if STREAM in accepted:
        return _stream_response(LOG, shared, job_id, _resumed(after, last_event_id))
    if TEXT in accepted:
        return PlainTextResponse(await JOB_READS.run(_log_text, shared, job_id, after))
    return await _page(LOG, shared, job_id, after, limit)


def _log_text(shared: AppState, job_id: str, after: int) -> str:
    rows = _entries(LOG, shared, job_id, after, leases.MAX_LOG_LINES)
    return "".join(f"{rfc3339(row.at)} {row.level.upper():<8} {row.message}\n" for row in rows)


def _resumed(after: int, last_event_id: str | None) -> int:
    """The number after which a stream goes on."""
    if last_event_id is not None and last_event_id.isdecimal():
        return max(after, min(int(last_event_id[:MAX_SEQ_DIGITS]), MAX_SEQ))
    return after


def _stream_response(history: _History, shared: AppState, job_id: str, after: int) -> Response:
    shared.follower.check_room()
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(_stream(history, shared, job_id, after), media_type=STREAM, headers=headers)


async def _page(history: _History, shared: AppState, job_id: str, after: int, limit: int) -> Response:
    rows = await JOB_READS.run(_entries, history, shared, job_id, after, limit)
    has_more = len(rows) > limit
    page = [history.represent(row) for row in rows[:limit]]
    next_cursor = str(page[-1].seq) if has_more else None
    return json_response(Page(data=page, has_more=has_more, next_cursor=next_cursor))


def _entries(history: _History, shared: AppState, job_id: str, after: int, limit: int) -> Sequence[Any]:
    with shared.readers() as session:
        return history.read(session, job_id, after, limit)


def _format_entries(history: _History, shared: AppState, job_id: str, after: int) -> tuple[bytes, int]:
    """The next entries as bytes of a stream, and the number of the last; it reads the database."""
    parts = []
    for row in _entries(history, shared, job_id, after, STREAM_BATCH_EVENTS):
        after, content = row.seq, history.represent(row).model_dump_json()
        parts.append(f"id: {after}\nevent: {history.name(row)}\ndata: {content}\n\n")
    return "".join(parts).encode(), after


async def _stream(history: _History, shared: AppState, job_id: str, after: int) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + MAX_STREAM_SECONDS
    yield b"retry: 1000\n\n"
    while loop.time() < deadline:
        # The job is read before its entries: a terminal event in between is then sent, and not lost.
        job = await JOB_READS.run(_get, shared, job_id)
        content, after = await JOB_READS.run(_format_entries, history, shared, job_id, after)
        if content:
            yield content
            continue
        if job.status in TERMINAL or shared.follower.closed:
            return
        if not await shared.follower.wait_for_change(job_id, job.revision, PING_SECONDS):
            yield b": ping\n\n"
