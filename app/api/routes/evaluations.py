"""Evaluations of versions: submit one, and list those of a version."""

from fastapi import APIRouter
from fastapi.responses import Response
from sqlalchemy.orm import Session

from app.api.access.declared import requires
from app.api.deps import (
    MAX_JSON_BYTES,
    IdempotencyKey,
    PagingDep,
    ReadSession,
    StateDep,
    page_response,
)
from app.api.polling import keyed_request, submit_once
from app.database.tables import Job
from app.schemas import EvaluationIn, JobOut, Page, VersionNumber
from app.services.access.callers import Scope
from app.services.evaluations import queries, submission

router = APIRouter(prefix="/v1/models", tags=["evaluations"])


@router.post(
    "/{name}/evaluations",
    status_code=202,
    response_model=JobOut,
    max_body_size=MAX_JSON_BYTES,
    operation_id="submit_evaluation",
)
@requires(Scope.TRAIN)
def submit(name: str, request: EvaluationIn, shared: StateDep, key: IdempotencyKey) -> Response:
    """Queue the evaluation of versions and baselines on a data set that has the answers."""
    keyed = keyed_request("POST /v1/models/evaluations", key, request, name)

    def make(session: Session) -> Job:
        published = submission.find_versions(session, shared.storage, name, request.versions)
        return submission.submit(session, published, request)

    return submit_once(shared, keyed, make)


@router.get(
    "/{name}/versions/{number}/evaluations",
    response_model=Page[JobOut],
    operation_id="list_version_evaluations",
)
@requires(Scope.READ)
def find(name: str, number: VersionNumber, session: ReadSession, paging: PagingDep) -> Response:
    """A version's evaluations, newest first: jobs, whose metrics compare it."""
    return page_response(paging, queries.list_page(session, name, number, paging), "id", JobOut.of)
