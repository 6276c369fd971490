"""Files as the `openai` package uploads them to train on: each is a data set."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, BackgroundTasks, Query, Request
from fastapi.responses import Response, StreamingResponse

from app.api.access.declared import requires
from app.api.deps import AppState, IdempotencyKey, ReadSession, StateDep
from app.api.protocol_schemas import OpenaiFile, OpenaiFileDeleted, OpenaiFiles
from app.api.response_schemas import BINARY_CONTENT, documented, reference
from app.api.uploads.creation import create_dataset
from app.api.uploads.multipart import UploadForm
from app.errors import Invalid, Problem, pointer
from app.services import datasets
from app.services.access.callers import Scope
from app.services.datasets import Upload
from app.services.openai.files import PURPOSE, check_lines, default_task, file_object, list_files
from app.services.openai.pages import OpenaiPaging
from app.thread_pools import JOB_READS
from app.validation.names import unknown_name

router = APIRouter(prefix="/openai/v1/files", tags=["openai"])

FILE_FIELDS = ("purpose", "task")
FILE_SCHEMA = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "purpose"],
                    "additionalProperties": False,
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "purpose": {"type": "string", "const": PURPOSE},
                        "task": reference("TaskName"),
                    },
                }
            }
        },
    }
}


def _json(body: object) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")


@router.post("", responses=documented(OpenaiFile), openapi_extra=FILE_SCHEMA, operation_id="create_file")
@requires(Scope.TRAIN)
async def create(request: Request, shared: StateDep, key: IdempotencyKey) -> Response:
    """Upload a file to train on; it is read at once, and refused where it has faults.

    Without a `task` it is for models that complete prompts.
    """
    made = await create_dataset(request, shared, key, _upload)
    return _json(await JOB_READS.run(_object, shared, made.body["id"]))


def _object(shared: AppState, dataset_id: str) -> object:
    with shared.readers() as session:
        return file_object(datasets.get(session, dataset_id))


def _upload(form: UploadForm) -> Upload:
    """The upload that a form describes; raises `Invalid`."""
    problems = [
        Problem(pointer(name), unknown_name("field", name, ["file", *FILE_FIELDS]))
        for name in sorted(form.fields.keys() - set(FILE_FIELDS))
    ]
    if not form.filename:
        problems.append(Problem("/file", "missing"))
    if form.fields.get("purpose") != PURPOSE:
        problems.append(Problem("/purpose", f"takes {PURPOSE}: other files have no use here"))
    if problems:
        raise Invalid(problems=problems)
    filename = Path(form.filename or "").name[:255] or "file"
    task = form.fields.get("task") or default_task()
    check_lines(form.path, task)
    return Upload(form.path, filename, form.bytes, form.sha256, task, None, None, {})


@router.get("", responses=documented(OpenaiFiles), operation_id="list_files")
@requires(Scope.READ)
def find(
    session: ReadSession,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    after: Annotated[str | None, Query(max_length=64)] = None,
    purpose: Annotated[str | None, Query(max_length=64)] = None,
    order: Literal["desc"] = "desc",
) -> Response:
    """All data sets as files, newest first; none of another purpose than `fine-tune`."""
    del order
    paging = OpenaiPaging(limit, after)
    rows = [] if purpose not in (None, PURPOSE) else list_files(session, paging)
    return _json(paging.page(rows, file_object))


@router.get("/{dataset_id}", responses=documented(OpenaiFile), operation_id="get_file")
@requires(Scope.READ)
def read(dataset_id: str, session: ReadSession) -> Response:
    """One file."""
    return _json(file_object(datasets.get(session, dataset_id)))


@router.get(
    "/{dataset_id}/content",
    response_class=StreamingResponse,
    responses={200: {"description": "The file", "content": {"application/octet-stream": BINARY_CONTENT}}},
    operation_id="download_file",
)
@requires(Scope.READ)
def content(dataset_id: str, shared: StateDep) -> StreamingResponse:
    """The file as it was uploaded."""
    with shared.readers() as session:
        headers = {"Content-Length": str(datasets.get(session, dataset_id).bytes)}
    chunks = datasets.read_content(shared.storage, dataset_id)
    return StreamingResponse(chunks, media_type="application/octet-stream", headers=headers)


@router.delete("/{dataset_id}", responses=documented(OpenaiFileDeleted), operation_id="delete_file")
@requires(Scope.TRAIN)
def remove(dataset_id: str, shared: StateDep, later: BackgroundTasks) -> Response:
    """Delete a file that no live job needs."""
    with shared.sessions.begin() as session:
        clean_up = datasets.remove(session, dataset_id)
    later.add_task(partial(clean_up, shared.storage))
    response = _json({"id": dataset_id, "object": "file", "deleted": True})
    response.background = later
    return response
