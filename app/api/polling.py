"""Jobs on the wire, whatever their kind: queued once, then polled."""

import hashlib
from collections.abc import Callable

import orjson
from fastapi.responses import Response
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError
from sqlalchemy.orm import Session

from app.api.deps import House, reply
from app.database.tables import Job
from app.errors import Invalid
from app.schemas import JobOut
from app.services import idempotency
from app.services.idempotency import Answer, Keyed
from app.states import TERMINAL

LOCK_SECONDS = 30.0


def fingerprint(request: BaseModel) -> str:
    """What tells one request from another."""
    try:
        return hashlib.sha256(request.model_dump_json().encode()).hexdigest()
    except PydanticSerializationError:
        raise Invalid("The request is nested too deeply") from None


def etag(job: Job) -> str:
    """A strong validator: the row's revision."""
    return f'"{job.id}-{job.revision}"'


def polled(job: Job, status: int = 200, more: dict[str, str] | None = None) -> Response:
    """The job with the headers a poller reads."""
    headers = {"ETag": etag(job), "Cache-Control": "no-cache", **(more or {})}
    if job.status not in TERMINAL:
        headers["Retry-After"] = "1"
    return reply(JobOut.of(job), status, headers)


def queued(shared: House, keyed: Keyed | None, submit: Callable[[Session], Job]) -> Response:
    """Store what `submit` makes and ring for it, or replay the first answer to the same key."""
    lock = None if keyed is None else idempotency.begin(shared.sessions, keyed, LOCK_SECONDS)
    if isinstance(lock, Answer):
        return _replay(lock)
    try:
        with shared.sessions.begin() as session:
            job = submit(session)
            if lock is not None:
                idempotency.finish(session, lock, Answer(202, JobOut.of(job).model_dump(mode="json")))
    except BaseException:
        if lock is not None:
            idempotency.forget(shared.sessions, lock)
        raise
    shared.dispatcher.ring(job.id)
    return polled(job, 202, {"Location": f"/v1/jobs/{job.id}"})


def _replay(first: Answer) -> Response:
    headers = {"Location": f"/v1/jobs/{first.body['id']}", "Retry-After": "1", "Idempotency-Replayed": "true"}
    return Response(orjson.dumps(first.body), first.status, headers, media_type="application/json")
