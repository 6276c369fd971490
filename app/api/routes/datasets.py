"""Data sets: upload, read, delete."""

import asyncio
import hashlib
import shutil
import tempfile
from pathlib import Path

import orjson
from fastapi import APIRouter, BackgroundTasks, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.exc import InterfaceError, OperationalError

from app.api.deps import House, HouseDep, IdempotencyKey, PagingDep, ReadSession, reply
from app.api.multipart import Form, receive
from app.database.tables import Dataset
from app.errors import Invalid, NoSpace, Problem, pointer
from app.schemas import DatasetOut, Page
from app.services import datasets, idempotency
from app.services.datasets import Upload
from app.services.idempotency import Answer, Keyed, Lock

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])

LOCK_SECONDS = 900.0
RESERVE_BYTES = 64 << 20  # disk space an upload must leave
FIELDS = {"task", "name", "format", "columns"}
COLUMNS = TypeAdapter(dict[str, str])
UPLOAD_SCHEMA = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "task"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "task": {"type": "string"},
                        "name": {"type": "string"},
                        "format": {"type": "string"},
                        "columns": {
                            "type": "string",
                            "description": "JSON: canonical name → column in the file",
                        },
                    },
                }
            }
        },
    }
}


@router.post("", status_code=201, response_model=DatasetOut, openapi_extra=UPLOAD_SCHEMA)
async def create(request: Request, shared: HouseDep, key: IdempotencyKey) -> Response:
    """Take a file in, check it, and keep it; a file with faults leaves nothing behind."""
    if (
        shutil.disk_usage(shared.incoming).free
        < int(request.headers.get("content-length") or 0) + RESERVE_BYTES
    ):
        raise NoSpace
    directory = Path(tempfile.mkdtemp(dir=shared.incoming))
    try:
        form = await receive(request, directory / "content", shared.limits.upload_bytes)
        answer = await asyncio.to_thread(_create, shared, _upload(form), key)
    finally:
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
    headers = {"Location": f"/v1/datasets/{answer.body['id']}"}
    return Response(orjson.dumps(answer.body), answer.status, headers, media_type="application/json")


def _upload(form: Form) -> Upload:
    missing = [
        name for name, there in (("file", form.filename), ("task", form.fields.get("task"))) if not there
    ]
    problems = [Problem(f"/{name}", "missing") for name in missing]
    problems += [Problem(pointer(name), "no such field") for name in sorted(form.fields.keys() - FIELDS)]
    if problems:
        raise Invalid(f"{problems[0].pointer}: {problems[0].detail}", problems)
    fields = {name: value for name, value in form.fields.items() if value}
    return Upload(
        path=form.path,
        filename=Path(form.filename or "").name[:255] or "file",
        bytes=form.bytes,
        sha256=form.sha256,
        task=fields["task"],
        name=fields.get("name", "")[:255] or None,
        format=fields.get("format"),
        columns=_columns(fields.get("columns")),
    )


def _columns(text: str | None) -> dict[str, str]:
    try:
        return COLUMNS.validate_json(text) if text else {}
    except ValidationError:
        message = "must be a JSON object: canonical name → column in the file"
        raise Invalid(problems=[Problem("/columns", message)]) from None


def _create(shared: House, upload: Upload, key: str | None) -> Answer:
    keyed = Keyed("POST /v1/datasets", key, _fingerprint(upload)) if key is not None else None
    lock = None if keyed is None else idempotency.begin(shared.sessions, keyed, LOCK_SECONDS)
    if isinstance(lock, Answer):
        return lock
    try:
        return _store(shared, upload, lock)
    except BaseException:
        if lock is not None:
            idempotency.forget(shared.sessions, lock)
        raise


def _store(shared: House, upload: Upload, lock: Lock | None) -> Answer:
    dataset = datasets.check(upload, shared.limits.ingest_seconds)
    try:
        datasets.keep(shared.storage, dataset, upload)
        with shared.sessions.begin() as session:
            session.add(dataset)
            session.flush()
            session.refresh(dataset)
            answer = Answer(201, DatasetOut.of(dataset).model_dump(mode="json"))
            if lock is not None:
                idempotency.finish(session, lock, answer)
    except (OperationalError, InterfaceError):
        raise  # perhaps only the answer to the commit was lost; files without a row are swept up
    except BaseException:
        shared.storage.delete(datasets.prefix(dataset.id))
        raise
    return answer


def _fingerprint(upload: Upload) -> str:
    told = [upload.sha256, upload.task, upload.name, upload.format, sorted(upload.columns.items())]
    return hashlib.sha256(orjson.dumps(told)).hexdigest()


@router.get("", response_model=Page[DatasetOut])
def find(session: ReadSession, at: PagingDep) -> Response:
    """Data sets newest first."""
    rows, cursor = at.page(datasets.find(session, at), "id")
    data = [DatasetOut.of(row) for row in rows]
    return reply(Page(data=data, has_more=cursor is not None, next_cursor=cursor))


@router.get("/{dataset_id}", response_model=DatasetOut)
def read(dataset_id: str, session: ReadSession) -> Response:
    """One data set."""
    return reply(DatasetOut.of(datasets.get(session, dataset_id)))


@router.get("/{dataset_id}/content")
def content(dataset_id: str, shared: HouseDep) -> StreamingResponse:
    """The file as it was uploaded."""
    with shared.readers() as session:
        row: Dataset = datasets.get(session, dataset_id)
    headers = {"Content-Length": str(row.bytes), "Content-Disposition": f'attachment; filename="{row.id}"'}
    pieces = datasets.content(shared.storage, dataset_id)
    return StreamingResponse(pieces, media_type="application/octet-stream", headers=headers)


@router.delete("/{dataset_id}", status_code=204)
def remove(dataset_id: str, shared: HouseDep, later: BackgroundTasks) -> Response:
    """Delete a data set that no live job needs."""
    with shared.sessions.begin() as session:
        clean_up = datasets.remove(session, dataset_id)
    later.add_task(clean_up, shared.storage)
    return Response(status_code=204, background=later)
