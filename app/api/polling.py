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
from app.services.idempotency import CachedResponse, KeyedRequest, KeyLock
from app.states import TERMINAL

CREATE_LOCK_SECONDS = 30.0  # of a key whose request makes a row


def keyed_request(
    route: str, key: str | None, request: BaseModel, *named: str | int | None
) -> KeyedRequest | None:
    """A request with its idempotency key; None has no key.

    It is the same request again where the body is, and what its path and query `named`. Raises `Invalid`.
    """
    if key is None:
        return None
    try:
        content = orjson.dumps(named) + request.model_dump_json().encode()
    except PydanticSerializationError:
        raise Invalid("The request is nested too deeply") from None
    return KeyedRequest(route, key, hashlib.sha256(content).hexdigest())


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

    def work(lock: KeyLock | None) -> Job:
        with shared.sessions.begin() as session:
            usage.check_queue(session, shared.caller)
            job = submit(session)
            job.key_id = shared.caller.key_id
            if lock is not None:
                idempotency.finish(session, lock, CachedResponse(202, JobOut.of(job).model_dump(mode="json")))
        return job

    job = idempotency.run_once(shared.sessions, keyed, CREATE_LOCK_SECONDS, work)
    if isinstance(job, CachedResponse):
        return replayed(job, "/v1/jobs", {"Retry-After": "1"})
    shared.dispatcher.notify(job.id)
    return job_response(job, 202, {"Location": f"/v1/jobs/{job.id}"})


def replayed(first: CachedResponse, path: str, more: dict[str, str] | None = None) -> Response:
    """The first response to an idempotency key again, about an object below `path`."""
    headers = {"Location": f"{path}/{first.body['id']}", "Idempotency-Replayed": "true", **(more or {})}
    return Response(orjson.dumps(first.body), first.status, headers, media_type="application/json")
