"""Keyed requests: the first answer is kept and replayed (draft-ietf-httpapi-idempotency-key-header)."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.database.engine import Sessions, db_now
from app.database.tables import IdempotencyKey
from app.errors import Conflict, Invalid, Problem
from app.typedefs import Json

KEPT = 48 * 3600.0
MAX_KEY = 255


@dataclass(frozen=True)
class Answer:
    """An answer as it was given the first time."""

    status: int
    body: Json


@dataclass(frozen=True)
class Keyed:
    """A request with a key."""

    route: str
    key: str
    fingerprint: str  # hash of what was asked

    def __post_init__(self) -> None:
        """Refuse keys that cannot be stored."""
        if not 0 < len(self.key) <= MAX_KEY:
            raise Invalid(
                problems=[Problem("/header/Idempotency-Key", f"must have 1 to {MAX_KEY} characters")]
            )


@dataclass(frozen=True)
class Lock:
    """The right to answer a key for the first time; whoever takes it over makes it worthless."""

    keyed: Keyed
    until: float


def begin(sessions: Sessions, keyed: Keyed, seconds: float) -> Answer | Lock:
    """Take the key, or give the first answer back; a lock a dead process left behind ends after `seconds`."""
    try:
        with sessions.begin() as session:
            session.execute(delete(IdempotencyKey).where(IdempotencyKey.created_at < db_now() - KEPT))
            found = session.get(IdempotencyKey, (keyed.route, keyed.key), with_for_update=True)
            if found is not None:
                return _again(session, found, keyed, seconds)
            made = IdempotencyKey(
                route=keyed.route,
                key=keyed.key,
                fingerprint=keyed.fingerprint,
                locked_until=db_now() + seconds,
            )
            session.add(made)
            session.flush()
            session.refresh(made)
            return Lock(keyed, made.locked_until)
    except IntegrityError:
        raise Conflict("The first request with this Idempotency-Key still runs") from None


def _again(session: Session, found: IdempotencyKey, keyed: Keyed, seconds: float) -> Answer | Lock:
    if found.fingerprint != keyed.fingerprint:
        raise Invalid(
            problems=[
                Problem("/header/Idempotency-Key", "this key was used with another body; use a new one")
            ]
        )
    if found.status is not None:
        return Answer(found.status, found.answer or {})
    if found.locked_until > session.execute(select(db_now())).scalar_one():
        raise Conflict("The first request with this Idempotency-Key still runs")
    found.locked_until = db_now() + seconds
    session.flush()
    session.refresh(found)
    return Lock(keyed, found.locked_until)


def finish(session: Session, lock: Lock, answer: Answer) -> None:
    """Keep the answer, in the transaction that does the work; raises `Conflict` if the lock is lost."""
    kept = session.execute(
        update(IdempotencyKey)
        .where(*_ours(lock))
        .values(status=answer.status, answer=answer.body)
        .returning(IdempotencyKey.key)
        .execution_options(synchronize_session=False)
    ).scalar()
    if kept is None:
        raise Conflict("This request took so long that another one with its Idempotency-Key has begun")


def forget(sessions: Sessions, lock: Lock) -> None:
    """Free the key of a request that failed, so that it can be repeated."""
    with sessions.begin() as session:
        session.execute(delete(IdempotencyKey).where(*_ours(lock)))


def _ours(lock: Lock) -> tuple[ColumnElement[bool], ...]:
    return (
        IdempotencyKey.route == lock.keyed.route,
        IdempotencyKey.key == lock.keyed.key,
        IdempotencyKey.locked_until == lock.until,
        IdempotencyKey.status.is_(None),
    )
