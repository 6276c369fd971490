"""Idempotency keys: the first response to a key is stored and replayed.

Follows draft-ietf-httpapi-idempotency-key-header.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.database.engine import Sessions, db_now
from app.database.projects import own_project
from app.database.tables import IdempotencyKey
from app.errors import Conflict, Invalid, Problem
from app.typedefs import Json

Result = TypeVar("Result")

RETENTION_SECONDS = 48 * 3600.0
MAX_KEY_CHARS = 255


@dataclass(frozen=True)
class CachedResponse:
    """The response to the first request with a key."""

    status: int
    body: Json


@dataclass(frozen=True)
class KeyedRequest:
    """A request with an idempotency key; raises `Invalid` for a key that cannot be stored."""

    route: str
    key: str
    fingerprint: str  # hash of the request's content

    def __post_init__(self) -> None:
        if not 0 < len(self.key) <= MAX_KEY_CHARS:
            raise Invalid(
                problems=[Problem("/header/Idempotency-Key", f"must have 1 to {MAX_KEY_CHARS} characters")]
            )


@dataclass(frozen=True)
class KeyLock:
    """The right to give a key its first response; void once another request has taken the key over."""

    request: KeyedRequest
    until: float


def run_once(
    sessions: Sessions,
    request: KeyedRequest | None,
    seconds: float,
    work: Callable[[KeyLock | None], Result],
) -> CachedResponse | Result:
    """The result of `work`, or the response to an earlier request with the same key; None has no key.

    `work` finishes the lock that it gets. The key is free again when it fails. Raises as `begin` does.
    """
    if request is None:
        return work(None)
    lock = begin(sessions, request, seconds)
    if isinstance(lock, CachedResponse):
        return lock
    try:
        return work(lock)
    except BaseException:
        release(sessions, lock)
        raise


def begin(sessions: Sessions, request: KeyedRequest, seconds: float) -> CachedResponse | KeyLock:
    """Lock the key for `seconds`, or return the response stored under it.

    Raises `Conflict` while the first request runs, and `Invalid` when the key was used with another body.
    """
    try:
        with sessions.begin() as session:
            # This key alone: those of others are the cleanup's, and would be looked for with every request.
            expired = IdempotencyKey.created_at < db_now() - RETENTION_SECONDS
            own = (IdempotencyKey.route == request.route, IdempotencyKey.key == request.key)
            session.execute(delete(IdempotencyKey).where(*own, expired))
            row = session.get(
                IdempotencyKey, (own_project(session), request.route, request.key), with_for_update=True
            )
            if row is not None:
                return _cached_or_relocked(session, row, request, seconds)
            row = IdempotencyKey(
                route=request.route,
                key=request.key,
                fingerprint=request.fingerprint,
                locked_until=db_now() + seconds,
            )
            session.add(row)
            session.flush()
            session.refresh(row)
            return KeyLock(request, row.locked_until)
    except IntegrityError:
        raise Conflict("The first request with this Idempotency-Key still runs") from None


def _cached_or_relocked(
    session: Session, row: IdempotencyKey, request: KeyedRequest, seconds: float
) -> CachedResponse | KeyLock:
    if row.fingerprint != request.fingerprint:
        raise Invalid(
            problems=[
                Problem("/header/Idempotency-Key", "this key was used with another body; use a new one")
            ]
        )
    if row.status is not None:
        return CachedResponse(row.status, row.answer or {})
    if row.locked_until > session.execute(select(db_now())).scalar_one():
        raise Conflict("The first request with this Idempotency-Key still runs")
    row.locked_until = db_now() + seconds  # the process that held the lock has died
    session.flush()
    session.refresh(row)
    return KeyLock(request, row.locked_until)


def finish(session: Session, lock: KeyLock, response: CachedResponse) -> None:
    """Store the response, in the transaction that does the work; raises `Conflict` if the lock was lost."""
    key = session.execute(
        update(IdempotencyKey)
        .where(*_holds_lock(lock))
        .values(status=response.status, answer=response.body)
        .returning(IdempotencyKey.key)
        .execution_options(synchronize_session=False)
    ).scalar()
    if key is None:
        raise Conflict("This request took so long that another one with its Idempotency-Key has begun")


def release(sessions: Sessions, lock: KeyLock) -> None:
    """Free the key of a request that failed, so that it can be repeated."""
    with sessions.begin() as session:
        session.execute(delete(IdempotencyKey).where(*_holds_lock(lock)))


def _holds_lock(lock: KeyLock) -> tuple[ColumnElement[bool], ...]:
    return (
        IdempotencyKey.route == lock.request.route,
        IdempotencyKey.key == lock.request.key,
        IdempotencyKey.locked_until == lock.until,
        IdempotencyKey.status.is_(None),
    )
