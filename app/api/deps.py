"""Dependencies of the routes: the application's shared state, sessions, paging and idempotency keys."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Header, Query
from fastapi.responses import Response
from pydantic import BaseModel
from sqlalchemy.orm import Session
from starlette.requests import HTTPConnection
from starlette.types import Scope

from app.api.access.identity import AccessControl, caller_of
from app.database.engine import Sessions
from app.database.projects import DEFAULT_PROJECT
from app.errors import Invalid, Problem, pointer
from app.infrastructure.events.job_events import JobFollower
from app.infrastructure.notices import Notices
from app.infrastructure.processes.siblings import Siblings
from app.infrastructure.storage import Storage
from app.ingest.limits import FileLimits
from app.lanes import Lane
from app.schemas import Page
from app.services.access.callers import ANYONE, Caller
from app.services.jobs.dispatcher import Dispatcher
from app.services.paging import Paging
from app.services.serving.explanations import ExplanationService
from app.services.serving.predictions import PredictionService
from app.services.serving.version_router import VersionRouter
from app.services.webhooks.targets import AllowedTargets
from app.validation.names import unknown_name

Row = TypeVar("Row")

MODEL_SUBJECT, KEY_SUBJECT = "model:", "key:"  # how subjects of notices begin
MAX_PROJECTS = 1024  # whose states a process keeps
MAX_JSON_BYTES = 1 << 18  # of a request's body, on routes that submit jobs: a few milliseconds to parse


@dataclass(frozen=True)
class Limits:
    """Bounds on the size of requests, and on the time to read an upload and what is in it."""

    upload_bytes: int
    request_bytes: int
    ingest_seconds: float
    files: FileLimits


class ModelNotices:
    """Tells all processes which of a project's models have changed."""

    def __init__(self, notices: Notices, project: str) -> None:
        self.notices, self._project = notices, project

    async def invalidate(self, model: str) -> bool:
        """Have every process forget a model; false when one has not acknowledged it within a second."""
        return await self.notices.invalidate(f"{MODEL_SUBJECT}{self._project}/{model}")


@dataclass(frozen=True)
class AppState:
    """What all routes of a project share.

    The composition root builds it; that of the default project is `app.state.shared`.
    """

    sessions: Sessions
    readers: Sessions
    storage: Storage
    dispatcher: Dispatcher
    follower: JobFollower
    predictions: PredictionService
    explanations: ExplanationService
    notices: ModelNotices
    limits: Limits
    incoming: Path  # directory of unfinished uploads
    webhook_targets: AllowedTargets
    projects: "Projects"
    project: str = DEFAULT_PROJECT
    siblings: Siblings | None = None  # with several processes on one socket
    access: AccessControl | None = None  # None: no keys are needed
    page_url: str = ""  # of the page for people, see `Settings`
    caller: Caller = ANYONE

    @property
    def lane(self) -> Lane:
        """The queue to the predictors."""
        return self.predictions.lane

    @property
    def versions(self) -> VersionRouter:
        """The router from names and aliases to versions."""
        return self.predictions.versions


class Projects:
    """The states of projects: each with its own sessions, caches and metrics, so that nothing is mixed up."""

    def __init__(self, make: Callable[[str], AppState]) -> None:
        self._make = make
        self._states: OrderedDict[str, AppState] = OrderedDict()  # the least recently used first

    def state(self, project: str) -> AppState:
        """The state of a project, which is made when it is first needed."""
        state = self._states.get(project)
        if state is None:
            state = self._states[project] = self._make(project)
            if len(self._states) > MAX_PROJECTS:
                oldest = next(name for name in self._states if name != DEFAULT_PROJECT)
                del self._states[oldest]
        self._states.move_to_end(project)
        return state

    def forget(self, subject: str) -> None:
        """Forget what is remembered of a notice's subject: a model, or a key."""
        kind, _, name = subject.partition(":")
        if kind == "model":
            project, _, model = name.partition("/")
            if project in self._states:
                self._states[project].versions.invalidate(model)
        else:
            for state in self._states.values():
                if state.access is not None:
                    state.access.authenticator.forget(name)

    def distrust(self) -> None:
        """Read everything anew: notices may have been missed."""
        for state in self._states.values():
            state.versions.invalidate_all()
            if state.access is not None:
                state.access.authenticator.distrust()

    async def close(self) -> None:
        """Cancel what runs in the background."""
        for state in self._states.values():
            await state.predictions.shadows.close()


def app_state(connection: HTTPConnection) -> AppState:
    """The state of the project in which this request is made, with its caller."""
    state, caller = state_of(connection.scope), caller_of(connection.scope)
    return state if caller is ANYONE else replace(state, caller=caller)


def state_of(scope: Scope) -> AppState:
    """The state of the project in which a request is made."""
    shared: AppState = scope["app"].state.shared
    caller = caller_of(scope)
    return shared if caller.project == DEFAULT_PROJECT else shared.projects.state(caller.project)


StateDep = Annotated[AppState, Depends(app_state)]


def read_session(shared: StateDep) -> Iterator[Session]:
    """Open a read-only session for one request."""
    with shared.readers() as session:
        yield session


# The session ends before the response is sent: a client that reads slowly must not hold a connection.
ReadSession = Annotated[Session, Depends(read_session, scope="function")]


def refuse_unknown_query(connection: HTTPConnection) -> None:
    """Raise `Invalid` for query parameters that the route does not have: it would ignore them in silence."""
    if connection.scope["type"] == "http":  # a WebSocket says so in its last message
        check_query(connection)


def check_query(connection: HTTPConnection) -> None:
    """Raise `Invalid` for query parameters that the connection's route does not have."""
    dependant = getattr(connection.scope.get("route"), "dependant", None)
    if dependant is None or not connection.query_params:
        return
    known = sorted(_query_names(dependant))
    problems = [
        Problem(pointer("query", name), unknown_name("parameter", name, known))
        for name in connection.query_params
        if name not in known
    ]
    if problems:
        raise Invalid(problems=problems)


def _query_names(dependant: Any) -> set[str]:
    names = {field.alias for field in dependant.query_params}
    return names.union(*map(_query_names, dependant.dependencies))


def paging(limit: Annotated[int, Query(ge=1, le=200)] = 50, cursor: str | None = None) -> Paging:
    """The page of a list that the query asks for."""
    return Paging.parse(limit, cursor)


PagingDep = Annotated[Paging, Depends(paging)]


def idempotency_key(
    header: Annotated[str | None, Header(alias="Idempotency-Key", max_length=255)] = None,
) -> str | None:
    """The caller's key without quotes: the IETF draft wants it quoted, most clients send it bare."""
    return None if header is None else header.strip('"')


IdempotencyKey = Annotated[str | None, Depends(idempotency_key)]


def page_response(
    paging: Paging, rows: list[Row], key: str, represent: Callable[[Row], BaseModel]
) -> Response:
    """A response with one page of a list: `rows` of its query, in the order of `key`, each represented."""
    page, cursor = paging.page(rows, key)
    data = [represent(row) for row in page]
    return json_response(Page(data=data, has_more=cursor is not None, next_cursor=cursor))


def json_response(model: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A response with a model as JSON, serialised by pydantic itself."""
    return Response(model.model_dump_json(), status, headers, media_type="application/json")
