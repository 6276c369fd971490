"""Sweeps: submit one, and see its leaderboard."""

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel, Field

from app.api.access.declared import requires
from app.api.deps import (
    MAX_JSON_BYTES,
    IdempotencyKey,
    PagingDep,
    ReadSession,
    StateDep,
    json_response,
    page_response,
)
from app.api.polling import keyed_request, submit_once
from app.schemas import JobOut, Page
from app.services.access.callers import Scope
from app.services.jobs import queries
from app.services.sweeps import state, submission
from app.services.sweeps.search import SweepIn
from app.services.sweeps.state import SweepState
from app.states import SWEEP, Status
from app.typedefs import Json

router = APIRouter(prefix="/v1/sweeps", tags=["sweeps"])


class RunOut(BaseModel):
    """One run of a trial, with one seed: a job."""

    job: str
    seed: int
    status: Status
    value: float | None


class TrialOut(BaseModel):
    """A trial: values of the searched settings, with the metric of its runs on validation data."""

    rank: int | None = Field(description="1 is the best; none without a run that succeeded.")
    number: int
    parameters: Json
    metric: float | None = Field(description="The mean over the trial's runs.")
    spread: float | None = Field(description="The standard deviation over the runs, from two runs on.")
    seconds: float | None = Field(description="The mean duration of a run.")
    status: str = Field(
        description="`queued`, `running`, `succeeded`, `pruned`, `failed`, `cancelled`, or `incomplete` if "
        "the sweep ended before all of its runs."
    )
    pruned: bool
    seeds: list[RunOut]


class SweepOut(JobOut):
    """The present state of a sweep: its job, and its trials, the best first."""

    metric: str
    direction: str
    best: TrialOut | None = Field(
        description="The best trial so far; of a sweep that succeeded, the trial that became the version."
    )
    leaderboard: list[TrialOut]

    @classmethod
    def of_state(cls, sweep_state: SweepState) -> "SweepOut":
        """The representation of a sweep's rows."""
        board = [TrialOut.model_validate(row) for row in state.leaderboard(sweep_state)]
        best = board[0] if board and board[0].rank == 1 else None
        facts = {name: sweep_state.search[name] for name in ("metric", "direction")}
        return cls(**dict(JobOut.of(sweep_state.sweep)), **facts, best=best, leaderboard=board)


@router.post(
    "", status_code=202, response_model=JobOut, max_body_size=MAX_JSON_BYTES, operation_id="submit_sweep"
)
@requires(Scope.TRAIN)
def submit(request: SweepIn, shared: StateDep, key: IdempotencyKey) -> Response:
    """Queue a sweep, which trains its trials as jobs of their own and makes the best one a version.

    Trials are compared on validation data, over several seeds. Settings that do not fit together are refused
    at once.
    """
    keyed = keyed_request("POST /v1/sweeps", key, request)
    return submit_once(shared, keyed, lambda session: submission.submit(session, request))


@router.get("", response_model=Page[JobOut], operation_id="list_sweeps")
@requires(Scope.READ)
def find(session: ReadSession, paging: PagingDep) -> Response:
    """Sweeps newest first, as jobs."""
    return page_response(paging, queries.list_jobs(session, paging, {"kind": SWEEP}), "id", JobOut.of)


@router.get("/{sweep_id}", response_model=SweepOut, operation_id="get_sweep")
@requires(Scope.READ)
def read(sweep_id: str, session: ReadSession) -> Response:
    """The sweep with its leaderboard; to wait for its end, poll the job of the same id."""
    return json_response(SweepOut.of_state(state.load(session, sweep_id)))
