"""Jobs: submit, poll, follow, cancel, pause."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Annotated

import orjson
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response, StreamingResponse
from sqlalchemy.orm import Session
from starlette.background import BackgroundTask

from app.api.deps import House, HouseDep, IdempotencyKey, PagingDep, ReadSession, reply
from app.api.polling import etag, fingerprint, polled, queued
from app.database.tables import Job, JobEvent
from app.errors import NotFound
from app.infrastructure.storage import Storage
from app.schemas import EventOut, JobIn, JobOut, Page
from app.services.idempotency import Keyed
from app.services.jobs import batch_predictions, checkpoints, control, submission
from app.services.sweeps import state
from app.states import SWEEP, TERMINAL, Status

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

MAX_WAIT = 60.0
STREAM_SECONDS = 600.0  # then the client comes back with Last-Event-ID
PING_SECONDS = 15.0
EVENTS_AT_ONCE, STREAMED_AT_ONCE = 500, 100
NEWEST, SEQ_DIGITS = 2**31 - 1, 10  # the highest number an event can have
WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})\"?(?:$|[,;\s])")
JSON_BYTES = 1 << 20


@router.post("", status_code=202, response_model=JobOut, max_body_size=JSON_BYTES)
def submit(request: JobIn, shared: HouseDep, key: IdempotencyKey) -> Response:
    """Queue a training job; whatever does not fit together is refused here, not later."""
    keyed = Keyed("POST /v1/jobs", key, fingerprint(request)) if key is not None else None
    return queued(shared, keyed, lambda session: submission.submit(session, request))


@router.get("", response_model=Page[JobOut])
def find(
    session: ReadSession,
    at: PagingDep,
    status: Annotated[Status | None, Query()] = None,
    task: str | None = None,
    model: str | None = None,
    kind: str | None = None,
    sweep: str | None = None,
) -> Response:
    """Jobs newest first; `kind` is `train`, `sweep` or `batch_predict`, and `sweep` has its runs listed."""
    asked = {"status": status, "task": task, "model": model, "kind": kind, "sweep_id": sweep}
    wanted = {name: value for name, value in asked.items() if value}
    rows, cursor = at.page(submission.find(session, at, wanted), "id")
    return reply(Page(data=[JobOut.of(row) for row in rows], has_more=cursor is not None, next_cursor=cursor))


@router.get("/{job_id}", response_model=JobOut)
async def read(
    job_id: str,
    shared: HouseDep,
    if_none_match: Annotated[str | None, Header()] = None,
    prefer: Annotated[str | None, Header()] = None,
) -> Response:
    """The job; with `Prefer: wait=30` only once something has changed, or after that time."""
    job = await asyncio.to_thread(_get, shared, job_id)
    more = {}
    if prefer is not None and (found := WAIT.search(prefer)) is not None and job.status not in TERMINAL:
        more["Preference-Applied"] = f"wait={found[1]}"
        if if_none_match is None or etag(job) in if_none_match:
            await shared.follower.changed(job_id, job.revision, min(float(found[1]), MAX_WAIT))
            job = await asyncio.to_thread(_get, shared, job_id)
    if if_none_match is not None and (etag(job) in if_none_match or if_none_match.strip() == "*"):
        more |= {} if job.status in TERMINAL else {"Retry-After": "1"}
        return Response(status_code=304, headers={"ETag": etag(job), **more})
    return polled(job, more=more)


def _get(shared: House, job_id: str) -> Job:
    with shared.readers() as session:
        return submission.get(session, job_id)


@router.get("/{job_id}/metrics")
def metrics(job_id: str, session: ReadSession) -> Response:
    """The learning curves: one entry an epoch."""
    body = orjson.dumps({"epochs": submission.curves(session, job_id)})
    return Response(body, media_type="application/json")


@router.post("/{job_id}/cancel", status_code=202, response_model=JobOut)
def cancel(job_id: str, shared: HouseDep) -> Response:
    """Ask a job to end; one that runs stops at its next step."""
    answer, job = _order(shared, job_id, control.cancel)
    if job.kind == SWEEP:
        answer.background = BackgroundTask(_discard_runs, shared, job_id)
    elif job.status in TERMINAL:  # of one that runs its owner deletes what it kept
        answer.background = BackgroundTask(_discard, shared.storage, job_id)
    return answer


@router.post("/{job_id}/pause", status_code=202, response_model=JobOut)
def pause(job_id: str, shared: HouseDep) -> Response:
    """Ask a job to take a checkpoint and let go of its device; one that is queued waits from now on."""
    return _order(shared, job_id, control.pause)[0]


@router.post("/{job_id}/resume", status_code=202, response_model=JobOut)
def resume(job_id: str, shared: HouseDep) -> Response:
    """Queue a paused job again; it goes on from its checkpoint to the result it would have had."""
    answer, job = _order(shared, job_id, control.resume)
    if job.status == Status.QUEUED:
        shared.dispatcher.ring(job_id)
    return answer


def _order(shared: House, job_id: str, order: Callable[[Session, str], Job]) -> tuple[Response, Job]:
    with shared.sessions.begin() as session:
        job = order(session, job_id)
    return polled(job, 202, {"Location": f"/v1/jobs/{job_id}"}), job


def _discard(storage: Storage, job_id: str) -> None:
    for prefix in (batch_predictions.prefix(job_id), checkpoints.prefix(job_id)):
        storage.delete(prefix)


def _discard_runs(shared: House, sweep_id: str) -> None:
    """Delete what ended runs made: a sweep that is cancelled has no version."""
    ended: list[str] = []
    with suppress(NotFound), shared.readers() as session:  # it may be deleted by now
        ended = [run.job_id for run in state.read(session, sweep_id).runs if not run.live]
    for job_id in ended:
        shared.storage.delete(f"artifacts/{job_id}")
        shared.storage.delete(checkpoints.prefix(job_id))


@router.delete("/{job_id}", status_code=204)
def remove(job_id: str, shared: HouseDep) -> Response:
    """Delete a finished job, its history and its result; the model version it made stays."""
    with shared.sessions.begin() as session:
        submission.remove(session, job_id)
    return Response(status_code=204, background=BackgroundTask(_discard, shared.storage, job_id))


@router.get("/{job_id}/events", response_model=Page[EventOut])
async def events(
    job_id: str,
    request: Request,
    shared: HouseDep,
    after: Annotated[int, Query(ge=0, le=NEWEST)] = 0,
    limit: Annotated[int, Query(ge=1, le=EVENTS_AT_ONCE)] = 50,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """What happened, oldest first: a page of JSON, or a stream that ends with the job."""
    await asyncio.to_thread(_get, shared, job_id)
    if "text/event-stream" in request.headers.get("accept", ""):
        if last_event_id is not None and last_event_id.isdecimal():
            after = max(after, min(int(last_event_id[:SEQ_DIGITS]), NEWEST))
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        return StreamingResponse(
            _stream(shared, job_id, after), media_type="text/event-stream", headers=headers
        )
    rows = await asyncio.to_thread(_events, shared, job_id, after, limit)
    more = len(rows) > limit
    page = [EventOut.of(row) for row in rows[:limit]]
    return reply(Page(data=page, has_more=more, next_cursor=str(page[-1].seq) if more else None))


def _events(shared: House, job_id: str, after: int, limit: int) -> list[JobEvent]:
    with shared.readers() as session:
        return submission.events(session, job_id, after, limit)


def _told(shared: House, job_id: str, after: int) -> tuple[bytes, int]:
    """Events as one piece of a stream, and the number of the last; made in a thread, where others can run."""
    lines = []
    for row in _events(shared, job_id, after, STREAMED_AT_ONCE):
        after = row.seq
        lines.append(f"id: {after}\nevent: {row.type}\ndata: {EventOut.of(row).model_dump_json()}\n\n")
    return "".join(lines).encode(), after


async def _stream(shared: House, job_id: str, after: int) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    ends = loop.time() + STREAM_SECONDS
    yield b"retry: 1000\n\n"
    while loop.time() < ends:
        # The job is read before its events: an event that ends it cannot slip in between unseen.
        job = await asyncio.to_thread(_get, shared, job_id)
        told, after = await asyncio.to_thread(_told, shared, job_id, after)
        if told:
            yield told
            continue
        if job.status in TERMINAL or shared.follower.closed:
            return
        if not await shared.follower.changed(job_id, job.revision, PING_SECONDS):
            yield b": ping\n\n"
