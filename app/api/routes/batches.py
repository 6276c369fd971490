"""Batch predictions: submit one, and fetch its result."""

import re
from typing import Annotated

from fastapi import APIRouter, Header, HTTPException
from fastapi.responses import Response, StreamingResponse
from pydantic import Field
from sqlalchemy.orm import Session

from app.api.access.declared import requires
from app.api.deps import MAX_JSON_BYTES, IdempotencyKey, StateDep
from app.api.polling import keyed_request, submit_once
from app.api.response_schemas import TEXT_CONTENT
from app.database.tables import Job
from app.errors import Invalid, Problem
from app.hyperparameters.options import StrictModel
from app.schemas import JobOut, Priority, Text, VersionNumber
from app.services.access.callers import Scope
from app.services.jobs import batch_predictions
from app.services.models import versions
from app.typedefs import Json

router = APIRouter(prefix="/v1", tags=["batch predictions"])

NDJSON = "application/x-ndjson"
RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{1,18})?|-(\d{1,18}))")


class BatchIn(StrictModel):
    """A data set to predict, and how."""

    dataset: Text
    parameters: Json = Field(default_factory=dict)
    priority: Priority = 0


@router.post(
    "/models/{name}/batch-predictions",
    status_code=202,
    response_model=JobOut,
    max_body_size=MAX_JSON_BYTES,
    operation_id="submit_batch_prediction",
)
@requires(Scope.PREDICT, changes=True)
def submit(
    name: str,
    request: BatchIn,
    shared: StateDep,
    key: IdempotencyKey,
    version: VersionNumber | None = None,
    alias: str | None = None,
) -> Response:
    """Queue the prediction of every example of a data set, all by the version that answers now."""
    if version is not None and alias is not None:
        raise Invalid(problems=[Problem("/query/alias", "name a version or an alias, not both")])
    keyed = keyed_request("POST /v1/models/batch-predictions", key, request, name, version, alias)

    def make(session: Session) -> Job:
        row = versions.resolve_version(session, name, version, alias)
        state = batch_predictions.load_state(shared.storage, row)
        job = batch_predictions.submit(session, row, state, request.dataset, request.parameters)
        job.priority = request.priority
        return job

    return submit_once(shared, keyed, make)


@router.get(
    "/jobs/{job_id}/result",
    response_class=StreamingResponse,
    responses={
        200: {"description": "The predictions", "content": {NDJSON: TEXT_CONTENT}},
        206: {"description": "The requested range", "content": {NDJSON: TEXT_CONTENT}},
        304: {"description": "Nothing has changed"},
        416: {"description": "No such range"},
    },
    operation_id="download_job_result",
)
@requires(Scope.READ)
def result(
    job_id: str,
    shared: StateDep,
    if_none_match: Annotated[str | None, Header()] = None,
    if_range: Annotated[str | None, Header()] = None,
    range_: Annotated[str | None, Header(alias="Range")] = None,
) -> Response:
    """The predictions of a batch: one JSON object a line, in the order of the data set.

    A line has the `index` of its example, its `item_id` if it has one, and either the `prediction` that a
    request would get or an `error` with `pointer` and `detail`.
    """
    with shared.readers() as session:
        parts = batch_predictions.result_parts(session, shared.storage, job_id)
    size = sum(parts.values())
    headers = {"ETag": f'"{job_id}-{size}"', "Accept-Ranges": "bytes"}
    if if_none_match is not None and (headers["ETag"] in if_none_match or if_none_match.strip() == "*"):
        return Response(status_code=304, headers=headers)
    span = _byte_range(range_ or "", size) if if_range in {None, headers["ETag"]} else None
    first, last = span or (0, size)
    headers |= {"Content-Length": str(last - first)}
    headers |= {"Content-Disposition": f'attachment; filename="{job_id}.jsonl"'}
    if span:
        headers["Content-Range"] = f"bytes {first}-{last - 1}/{size}"
    body = batch_predictions.read_range(shared.storage, parts, first, last)
    return StreamingResponse(body, 206 if span else 200, headers, media_type=NDJSON)


def _byte_range(header: str, size: int) -> tuple[int, int] | None:
    """Start and end of a header's single byte range; None for any other header (RFC 9110, 14.1.2)."""
    match = RANGE.fullmatch(header)
    if match is None:
        return None
    first, last, suffix = (None if number is None else int(number) for number in match.groups())
    if first is not None and last is not None and last < first:
        return None
    begin = first if first is not None else max(0, size - (suffix or 0))
    end = size if last is None else min(size, last + 1)
    if begin >= end:
        raise HTTPException(416, headers={"Content-Range": f"bytes */{size}"})
    return begin, end
