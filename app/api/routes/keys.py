"""Keys of a project, what a key may do, and the audit of what keys have changed."""

from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import AwareDatetime, BaseModel, Field, StringConstraints

from app.api.access.declared import requires
from app.api.access.identity import refuse_without_key
from app.api.deps import (
    KEY_SUBJECT,
    MAX_JSON_BYTES,
    AppState,
    IdempotencyKey,
    PagingDep,
    ReadSession,
    StateDep,
    json_response,
    page_response,
)
from app.api.polling import CREATE_LOCK_SECONDS, keyed_request, replayed
from app.database.projects import DEFAULT_PROJECT
from app.database.tables import AuditEntry, Key
from app.errors import Forbidden
from app.hyperparameters.options import StrictModel
from app.patterns import PROJECT_PATTERN
from app.schemas import Page, Time
from app.services import idempotency
from app.services.access import audit, keys, usage
from app.services.access.callers import KeyLimits, Scope
from app.services.idempotency import CachedResponse, KeyLock
from app.thread_pools import MODEL_CHANGES

router = APIRouter(prefix="/v1", tags=["keys"])

MAX_AUDIT_PAGE = 200
MAX_ID = 2**63 - 1  # of an entry of the audit
ProjectName = Annotated[str, StringConstraints(pattern=PROJECT_PATTERN)]

GrantedScope = Annotated[Scope, Field(strict=False)]  # JSON has no enumerations, and no times
Moment = Annotated[AwareDatetime, Field(strict=False)]


class LimitsIn(StrictModel):
    """What a key may use; what is left out has no limit."""

    requests_per_second: float | None = Field(default=None, gt=0, le=1e6)
    queued_jobs: int | None = Field(default=None, ge=0, lt=2**31)
    running_jobs: int | None = Field(default=None, ge=0, lt=2**31)
    stored_bytes: int | None = Field(default=None, ge=0, lt=2**53)


class KeyIn(StrictModel):
    """A key to make."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    scopes: Annotated[list[GrantedScope], Field(min_length=1, max_length=len(Scope))]
    project: ProjectName | None = Field(
        default=None, description="That of the caller; those of the default project may name another."
    )
    limits: LimitsIn = Field(default_factory=LimitsIn)
    expires_at: Moment | None = None


class LimitsOut(BaseModel):
    """What a key may use; null is without a limit."""

    requests_per_second: float | None
    queued_jobs: int | None
    running_jobs: int | None
    stored_bytes: int | None

    @classmethod
    def of(cls, limits: KeyLimits) -> "LimitsOut":
        """The representation of limits."""
        return cls.model_validate(limits, from_attributes=True)


class KeyOut(BaseModel):
    """A key without its secret."""

    id: str
    object: Literal["key"] = "key"
    name: str
    project: str
    prefix: str = Field(description="How the key begins.")
    scopes: list[Scope]
    limits: LimitsOut
    created_at: Time
    expires_at: Time | None

    @classmethod
    def of(cls, row: Key, **more: Any) -> Self:
        """The representation of a row."""
        same = ("id", "name", "project", "prefix", "created_at", "expires_at")
        scopes = [Scope(scope) for scope in row.scopes]
        limits = LimitsOut.of(keys.limits_of(row))
        return cls(**{name: getattr(row, name) for name in same}, scopes=scopes, limits=limits, **more)


class NewKeyOut(KeyOut):
    """A key that was just made or rotated."""

    key: str | None = Field(
        description="The key itself, which is shown this once; null in a replayed answer."
    )


class UsageOut(BaseModel):
    """What was made with a key, as far as it has limits."""

    queued_jobs: int
    running_jobs: int
    stored_bytes: int


class CallerOut(BaseModel):
    """Who makes this request."""

    id: str | None = Field(description="Of the key; null where no keys are needed.")
    object: Literal["caller"] = "caller"
    name: str
    project: str
    scopes: list[Scope]
    limits: LimitsOut
    use: UsageOut


class AuditOut(BaseModel):
    """Something that was changed, or refused to be."""

    id: int
    at: Time
    key: str | None = Field(description="Null for what was done on the machine itself.")
    name: str
    action: str
    object: str
    address: str
    outcome: int = Field(description="The status of the answer.")
    request_id: str

    @classmethod
    def of(cls, row: AuditEntry) -> "AuditOut":
        """The representation of a row."""
        same = cls.model_fields.keys() - {"key", "name"}
        return cls(**{name: getattr(row, name) for name in same}, key=row.key_id, name=row.key_name)


@router.post(
    "/keys",
    status_code=201,
    response_model=NewKeyOut,
    max_body_size=MAX_JSON_BYTES,
    operation_id="create_key",
)
@requires(Scope.ADMIN)
def create(request: KeyIn, shared: StateDep, key: IdempotencyKey) -> Response:
    """Make a key, which is shown this once: an answer that is replayed lacks it."""
    refuse_without_key(shared.caller)
    project = request.project or shared.project
    if shared.project not in (project, DEFAULT_PROJECT):
        raise Forbidden("Keys of another project are made by keys of the default project, or on the machine")
    keyed = keyed_request("POST /v1/keys", key, request)
    work = partial(_create, shared, request, project)
    made = idempotency.run_once(shared.sessions, keyed, CREATE_LOCK_SECONDS, work)
    if isinstance(made, CachedResponse):
        return replayed(made, "/v1/keys")
    return json_response(made, 201, {"Location": f"/v1/keys/{made.id}"})


def _create(shared: AppState, request: KeyIn, project: str, lock: KeyLock | None) -> NewKeyOut:
    with shared.projects.state(project).sessions.begin() as session:
        new = keys.create(
            session,
            request.name,
            request.scopes,
            KeyLimits(**request.limits.model_dump()),
            None if request.expires_at is None else request.expires_at.timestamp(),
        )
        made = NewKeyOut.of(new.row, key=new.key)
        if project != shared.project:  # the project whose key it is sees who made it
            maker = replace(shared.caller, project=project)
            audit.record(session, maker, "create_key", f"/v1/keys/{made.id}", outcome=201, address="")
    if lock is not None:
        with shared.sessions.begin() as session:
            body = made.model_copy(update={"key": None}).model_dump(mode="json")
            idempotency.finish(session, lock, CachedResponse(201, body))
    return made


@router.get("/keys", response_model=Page[KeyOut], operation_id="list_keys")
@requires(Scope.ADMIN)
def find(session: ReadSession, paging: PagingDep) -> Response:
    """The project's keys, newest first."""
    return page_response(paging, keys.list_page(session, paging), "id", KeyOut.of)


@router.get("/keys/{key_id}", response_model=KeyOut, operation_id="get_key")
@requires(Scope.ADMIN)
def read(key_id: str, session: ReadSession) -> Response:
    """One key."""
    return json_response(KeyOut.of(keys.get(session, key_id)))


@router.post("/keys/{key_id}/rotate", response_model=NewKeyOut, operation_id="rotate_key")
@requires(Scope.ADMIN)
async def rotate(key_id: str, shared: StateDep) -> Response:
    """Give a key a new secret, which is shown this once; the old one is void at once."""
    refuse_without_key(shared.caller)
    prefix, made = await MODEL_CHANGES.run(_rotate, shared, key_id)
    await shared.notices.notices.invalidate(KEY_SUBJECT + prefix)
    return json_response(made)


def _rotate(shared: AppState, key_id: str) -> tuple[str, NewKeyOut]:
    with shared.sessions.begin() as session:
        prefix = keys.get(session, key_id).prefix
        new = keys.rotate(session, key_id)
        return prefix, NewKeyOut.of(new.row, key=new.key)


@router.delete("/keys/{key_id}", status_code=204, operation_id="delete_key")
@requires(Scope.ADMIN)
async def revoke(key_id: str, shared: StateDep) -> Response:
    """Make a key void for good."""
    refuse_without_key(shared.caller)
    prefix = await MODEL_CHANGES.run(_revoke, shared, key_id)
    await shared.notices.notices.invalidate(KEY_SUBJECT + prefix)
    return Response(status_code=204)


def _revoke(shared: AppState, key_id: str) -> str:
    with shared.sessions.begin() as session:
        return str(keys.revoke(session, key_id).prefix)


@router.get("/me", response_model=CallerOut, operation_id="get_caller")
@requires(None)
def me(shared: StateDep, session: ReadSession) -> Response:
    """The key of this request: what it may do, its limits, and what it uses of them."""
    caller = shared.caller
    used = UsageOut.model_validate(usage.measure(session, caller), from_attributes=True)
    return json_response(
        CallerOut(
            id=caller.key_id,
            name=caller.key_name,
            project=caller.project,
            scopes=sorted(caller.scopes),
            limits=LimitsOut.of(caller.limits),
            use=used,
        )
    )


@router.get("/audit", response_model=Page[AuditOut], operation_id="list_audit")
@requires(Scope.ADMIN)
def list_audit(
    session: ReadSession,
    after: Annotated[int, Query(ge=0, le=MAX_ID)] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_AUDIT_PAGE)] = 50,
    cursor: Annotated[
        int | None, Query(ge=0, le=MAX_ID, description="The `next_cursor` of a page, as `after`.")
    ] = None,
) -> Response:
    """What was changed in the project, or refused to be changed, the oldest first."""
    rows = audit.list_after(session, max(after, cursor or 0), limit)
    page = [AuditOut.of(row) for row in rows[:limit]]
    has_more = len(rows) > limit
    return json_response(
        Page(data=page, has_more=has_more, next_cursor=str(page[-1].id) if has_more else None)
    )
