"""Sweeps: submit one, and see which trials lead."""

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel, Field

from app.api.deps import HouseDep, IdempotencyKey, PagingDep, ReadSession, reply
from app.api.polling import fingerprint, queued
from app.schemas import JobOut, Page
from app.services.idempotency import Keyed
from app.services.jobs import submission
from app.services.sweeps import state
from app.services.sweeps import submission as sweep_submission
from app.services.sweeps.search import SweepIn
from app.services.sweeps.state import Standing
from app.states import SWEEP, Status
from app.typedefs import Json

router = APIRouter(prefix="/v1/sweeps", tags=["sweeps"])

JSON_BYTES = 1 << 20


class RunOut(BaseModel):
    """One run of a trial: a job."""

    job: str
    seed: int
    status: Status
    value: float | None


class TrialOut(BaseModel):
    """A setting of what is searched, with what its runs reached on validation data."""

    rank: int | None = Field(description="1 is the best; none without a run that ended well.")
    number: int
    parameters: Json
    metric: float | None = Field(description="The mean over its runs.")
    spread: float | None = Field(description="Their standard deviation, from two runs on.")
    seconds: float | None = Field(description="That a run takes, on average.")
    status: str = Field(
        description="`queued`, `running`, `succeeded`, `pruned`, `failed`, `cancelled`, or `incomplete` if "
        "the sweep ended before all of its runs."
    )
    pruned: bool
    seeds: list[RunOut]


class SweepOut(JobOut):
    """A sweep as it stands: its job, and its trials, the best first."""

    metric: str
    direction: str
    best: TrialOut | None = Field(
        description="The trial that leads; of a sweep that succeeded the version's."
    )
    leaderboard: list[TrialOut]

    @classmethod
    def standing(cls, found: Standing) -> "SweepOut":
        """From its rows."""
        board = [TrialOut.model_validate(row) for row in state.leaderboard(found)]
        best = board[0] if board and board[0].rank == 1 else None
        facts = {name: found.search[name] for name in ("metric", "direction")}
        return cls(**dict(JobOut.of(found.sweep)), **facts, best=best, leaderboard=board)


@router.post("", status_code=202, response_model=JobOut, max_body_size=JSON_BYTES)
def submit(request: SweepIn, shared: HouseDep, key: IdempotencyKey) -> Response:
    """Queue a sweep, which trains its trials as jobs of their own and makes the best one a version.

    Trials are compared on validation data, over several seeds. What does not fit together is refused here.
    """
    keyed = Keyed("POST /v1/sweeps", key, fingerprint(request)) if key is not None else None
    return queued(shared, keyed, lambda session: sweep_submission.submit(session, request))


@router.get("", response_model=Page[JobOut])
def find(session: ReadSession, at: PagingDep) -> Response:
    """Sweeps newest first, as jobs."""
    rows, cursor = at.page(submission.find(session, at, {"kind": SWEEP}), "id")
    return reply(Page(data=[JobOut.of(row) for row in rows], has_more=cursor is not None, next_cursor=cursor))


@router.get("/{sweep_id}", response_model=SweepOut)
def read(sweep_id: str, session: ReadSession) -> Response:
    """The sweep with its leaderboard; to wait for its end, poll the job of the same id."""
    return reply(SweepOut.standing(state.read(session, sweep_id)))
