"""Data sets: upload, read, delete."""

import tempfile
from pathlib import Path
from typing import Annotated

import orjson
from fastapi import APIRouter, BackgroundTasks, Query, Request
from fastapi import Path as PathParameter
from fastapi.responses import Response, StreamingResponse
from pydantic import TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool

from app.api.access.declared import requires
from app.api.deps import (
    AppState,
    IdempotencyKey,
    PagingDep,
    ReadSession,
    StateDep,
    json_response,
    page_response,
)
from app.api.raw import DEFAULT_DEADLINE_SECONDS
from app.api.response_schemas import BINARY_CONTENT, reference
from app.api.uploads.creation import create_dataset
from app.api.uploads.multipart import UploadForm
from app.database.tables import Dataset
from app.errors import Invalid, NotFound, Problem, pointer
from app.infrastructure.disk import check_free
from app.schemas import DatasetOut, Page
from app.services import datasets
from app.services.access.callers import Scope
from app.services.datasets import Upload
from app.tasks import TASKS
from app.tasks.contract import bytes_to_json
from app.tasks.preview import MAX_PREVIEW_ROWS
from app.thread_pools import DATASET_READS, UPLOADS
from app.typedefs import Json
from app.validation.names import unknown_name

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])

FORM_FIELDS = ("task", "name", "format", "columns")
FORMATS = sorted({name for task in TASKS.values() for name in task.formats})
DuplicateParameter = Annotated[
    bool, Query(description="Store the file once more, even if the same data set is there.")
]
ExampleIndex = Annotated[
    int, PathParameter(ge=0, lt=1 << 31, description="From 0, in the order of the file.")
]
COLUMNS_JSON = TypeAdapter(dict[str, str])
UPLOAD_SCHEMA = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "task"],
                    "additionalProperties": False,
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "task": reference("TaskName"),
                        "name": {"type": "string"},
                        "format": {"type": "string", "enum": FORMATS},
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


@router.post(
    "",
    status_code=201,
    response_model=DatasetOut,
    responses={200: {"model": DatasetOut, "description": "The data set that the same upload made before."}},
    openapi_extra=UPLOAD_SCHEMA,
    operation_id="create_dataset",
)
@requires(Scope.TRAIN)
async def create(
    request: Request, shared: StateDep, key: IdempotencyKey, *, duplicate: DuplicateParameter = False
) -> Response:
    """Upload a file, which is checked and stored; nothing is left of a file with faults.

    The same content for the same task with the same columns is stored once: `200` with the data set that is
    there, unless a `duplicate` is asked for.
    """
    response = await create_dataset(request, shared, key, _upload, duplicate=duplicate)
    headers = {"Location": f"/v1/datasets/{response.body['id']}"}
    return Response(orjson.dumps(response.body), response.status, headers, media_type="application/json")


def _upload(form: UploadForm) -> Upload:
    """The upload that a form describes; raises `Invalid` for missing and unknown fields."""
    required = {"file": form.filename, "task": form.fields.get("task")}
    problems = [Problem(f"/{name}", "missing") for name, value in required.items() if not value]
    problems += [
        Problem(pointer(name), unknown_name("field", name, ["file", *FORM_FIELDS]))
        for name in sorted(form.fields.keys() - set(FORM_FIELDS))
    ]
    if problems:
        raise Invalid(problems=problems)
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
        return COLUMNS_JSON.validate_json(text) if text else {}
    except ValidationError:
        message = "must be a JSON object: canonical name → column in the file"
        raise Invalid(problems=[Problem("/columns", message)]) from None


@router.get("", response_model=Page[DatasetOut], operation_id="list_datasets")
@requires(Scope.READ)
def find(session: ReadSession, paging: PagingDep) -> Response:
    """Data sets newest first."""
    return page_response(paging, datasets.list_page(session, paging), "id", DatasetOut.of)


@router.get("/{dataset_id}", response_model=DatasetOut, operation_id="get_dataset")
@requires(Scope.READ)
def read(dataset_id: str, session: ReadSession) -> Response:
    """One data set."""
    return json_response(DatasetOut.of(datasets.get(session, dataset_id)))


@router.get(
    "/{dataset_id}/content",
    response_class=StreamingResponse,
    responses={200: {"description": "The file", "content": {"application/octet-stream": BINARY_CONTENT}}},
    operation_id="download_dataset",
)
@requires(Scope.READ)
def content(dataset_id: str, shared: StateDep) -> StreamingResponse:
    """The file as it was uploaded."""
    with shared.readers() as session:
        row: Dataset = datasets.get(session, dataset_id)
    headers = {"Content-Length": str(row.bytes), "Content-Disposition": f'attachment; filename="{row.id}"'}
    chunks = datasets.read_content(shared.storage, dataset_id)
    return StreamingResponse(chunks, media_type="application/octet-stream", headers=headers)


@router.get(
    "/{dataset_id}/preview",
    response_model=None,
    responses={
        200: {
            "description": "The preview",
            "content": {"application/json": {"schema": reference("DatasetPreviewOut")}},
        }
    },
    operation_id="get_dataset_preview",
)
@requires(Scope.READ)
async def preview(
    dataset_id: str, shared: StateDep, limit: Annotated[int, Query(ge=1, le=MAX_PREVIEW_ROWS)] = 10
) -> Response:
    """The first examples as they were understood; what is long in one is cut.

    There are fewer than asked for where the first ones are very large.
    """
    dataset, stored = await run_in_threadpool(_find_preview, shared, dataset_id)
    if stored is None:
        stored = await UPLOADS.run(_make_preview, shared, dataset)
    rows = stored["rows"][:limit]
    body = {
        "dataset": dataset.id,
        "task": dataset.task,
        "data": rows,
        "has_more": len(rows) < stored["examples"],
    }
    return Response(orjson.dumps(body), media_type="application/json")


@router.get(
    "/{dataset_id}/examples/{index}",
    response_model=None,
    responses={
        200: {
            "description": "The example",
            "content": {"application/json": {"schema": reference("DatasetExampleOut")}},
        }
    },
    operation_id="get_dataset_example",
)
@requires(Scope.READ)
async def example(dataset_id: str, index: ExampleIndex, shared: StateDep) -> Response:
    """One example as it was understood, as a whole: what the preview cuts, and the file that it is.

    What an instance of the task has too is named as there, so that a model can be asked with it.
    """
    body = await DATASET_READS.run_within(DEFAULT_DEADLINE_SECONDS, _read_example, shared, dataset_id, index)
    return Response(body, media_type="application/json")


def _read_example(shared: AppState, dataset_id: str, index: int) -> bytes:
    with shared.readers() as session:
        dataset = datasets.get(session, dataset_id)
    with tempfile.TemporaryDirectory(dir=shared.incoming) as directory:
        body: Json = {"dataset": dataset.id, "task": dataset.task, "index": index}
        body |= datasets.read_example(shared.storage, dataset, index, Path(directory))
        return orjson.dumps(body, default=bytes_to_json)


def _find_preview(shared: AppState, dataset_id: str) -> tuple[Dataset, Json | None]:
    with shared.readers() as session:
        dataset = datasets.get(session, dataset_id)
    try:
        return dataset, datasets.load_preview(shared.storage, dataset_id)
    except NotFound:
        return dataset, None


def _make_preview(shared: AppState, dataset: Dataset) -> Json:
    check_free(shared.incoming, dataset.bytes)
    with tempfile.TemporaryDirectory(dir=shared.incoming) as directory:
        return datasets.make_preview(
            shared.storage, dataset, Path(directory), shared.limits.ingest_seconds, shared.limits.files
        )


@router.delete("/{dataset_id}", status_code=204, operation_id="delete_dataset")
@requires(Scope.TRAIN)
def remove(dataset_id: str, shared: StateDep, later: BackgroundTasks) -> Response:
    """Delete a data set that no live job needs."""
    with shared.sessions.begin() as session:
        clean_up = datasets.remove(session, dataset_id)
    later.add_task(clean_up, shared.storage)
    return Response(status_code=204, background=later)
