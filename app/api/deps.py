"""What the routes are given: built once by the composition root, found on the application's state."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Header, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel
from sqlalchemy.orm import Session

from app.database.engine import Sessions
from app.infrastructure.job_events import Follower
from app.infrastructure.notices import Notices
from app.infrastructure.storage import Storage
from app.lanes import Lane
from app.services.jobs.dispatcher import Dispatcher
from app.services.paging import Paging
from app.services.serving.predictions import Plane
from app.services.serving.version_router import Catalog


@dataclass(frozen=True)
class Limits:
    """Bounds on what a request may cost."""

    upload_bytes: int
    request_bytes: int
    ingest_seconds: float


@dataclass(frozen=True)
class House:
    """Everything the routes share."""

    sessions: Sessions
    readers: Sessions
    storage: Storage
    dispatcher: Dispatcher
    follower: Follower
    plane: Plane
    notices: Notices
    limits: Limits
    incoming: Path  # uploads on their way

    @property
    def lane(self) -> Lane:
        """The way to the predictors."""
        return self.plane.lane

    @property
    def catalog(self) -> Catalog:
        """What names stand for."""
        return self.plane.catalog


def house(request: Request) -> House:
    """The shared parts of this application."""
    found: House = request.app.state.house
    return found


HouseDep = Annotated[House, Depends(house)]


def reading(shared: HouseDep) -> Iterator[Session]:
    """A session that only reads."""
    with shared.readers() as session:
        yield session


# It ends before the answer is sent: a client that is slow to read it must not hold a connection.
ReadSession = Annotated[Session, Depends(reading, scope="function")]


def paging(limit: Annotated[int, Query(ge=1, le=200)] = 50, cursor: str | None = None) -> Paging:
    """Where in a list the caller is."""
    return Paging.parse(limit, cursor)


PagingDep = Annotated[Paging, Depends(paging)]


def idempotency_key(
    given: Annotated[str | None, Header(alias="Idempotency-Key", max_length=255)] = None,
) -> str | None:
    """The caller's key; the draft wants it quoted, most clients send it bare."""
    return None if given is None else given.strip('"')


IdempotencyKey = Annotated[str | None, Depends(idempotency_key)]


def reply(model: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A model as JSON, straight from pydantic's own serialiser."""
    return Response(model.model_dump_json(), status, headers, media_type="application/json")
