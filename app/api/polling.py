"""Responses with jobs of any kind: submitted once for each idempotency key, then polled."""

import hashlib
from collections.abc import Callable

import orjson
from fastapi.responses import Response
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError
from sqlalchemy.orm import Session

from app.api.deps import AppState, json_response
from app.database.tables import Job
from app.errors import Invalid
from app.schemas import JobOut
from app.services import idempotency
from app.services.access import usage
from app.services.idempotency import CachedResponse, KeyedRequest
from app.states import TERMINAL

SUBMIT_LOCK_SECONDS = 30.0


def fingerprint(request: BaseModel) -> str:
    """A digest of a request's body, by which a repeated request is recognised."""
    try:
        return hashlib.sha256(request.model_dump_json().encode()).hexdigest()
    except PydanticSerializationError:
        raise Invalid("The request is nested too deeply") from None


def etag(job: Job) -> str:
    """A strong validator of the job's representation: the row's revision."""
    return f'"{job.id}-{job.revision}"'


def job_response(job: Job, status: int = 200, more: dict[str, str] | None = None) -> Response:
    """A response with the job, and with the headers that tell a client when to poll again."""
    headers = {"ETag": etag(job), "Cache-Control": "no-cache", **(more or {})}
    if job.status not in TERMINAL:
        headers["Retry-After"] = "1"
    return json_response(JobOut.of(job), status, headers)


def submit_once(shared: AppState, keyed: KeyedRequest | None, submit: Callable[[Session], Job]) -> Response:
    """Store the job that `submit` makes and notify workers, or replay the first response to the same key."""
    lock = None if keyed is None else idempotency.begin(shared.sessions, keyed, SUBMIT_LOCK_SECONDS)
    if isinstance(lock, CachedResponse):
        return _replay(lock)
    try:
        with shared.sessions.begin() as session:
            usage.check_queue(session, shared.caller)
            job = submit(session)
            job.key_id = shared.caller.key_id
            if lock is not None:
                idempotency.finish(session, lock, CachedResponse(202, JobOut.of(job).model_dump(mode="json")))
    except BaseException:
        if lock is not None:
            idempotency.release(shared.sessions, lock)
        raise
    shared.dispatcher.notify(job.id)
    return job_response(job, 202, {"Location": f"/v1/jobs/{job.id}"})


def _replay(first: CachedResponse) -> Response:
    headers = {"Location": f"/v1/jobs/{first.body['id']}", "Retry-After": "1", "Idempotency-Replayed": "true"}
    return Response(orjson.dumps(first.body), first.status, headers, media_type="application/json")
