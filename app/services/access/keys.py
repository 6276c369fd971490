"""Keys: made, listed, rotated and revoked.

A key is `rk_`, twelve characters by which its row is found, and a secret of 256 random bits. Only a digest of
the whole is stored: against so many bits nothing is gained by a slow one, and every request computes it.
"""

import hashlib
import re
import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from app.database.engine import db_now
from app.database.projects import own_project
from app.database.tables import Key
from app.errors import NotFound
from app.identifiers import new_id
from app.services.access.callers import KeyLimits, Scope
from app.services.paging import Paging

ALPHABET = string.ascii_letters + string.digits
PREFIX_CHARS, SECRET_CHARS = 12, 43  # of 62 characters: 43 are 256 bits
KEY_PATTERN = re.compile(rf"(rk_[A-Za-z0-9]{{{PREFIX_CHARS}}})_[A-Za-z0-9]{{{SECRET_CHARS}}}")


@dataclass(frozen=True)
class NewKey:
    """A key that was just made: its row, and the key itself, which is shown once."""

    row: Key
    key: str


def digest(key: str) -> str:
    """The digest of a key as it is stored."""
    return hashlib.sha256(key.encode()).hexdigest()


def prefix_of(key: str) -> str | None:
    """The part of a key by which its row is found; None for what is no key."""
    match = KEY_PATTERN.fullmatch(key)
    return None if match is None else match[1]


def create(
    session: Session,
    name: str,
    scopes: Sequence[Scope],
    limits: KeyLimits = KeyLimits(),  # noqa: B008 - it is frozen
    expires_at: float | None = None,
) -> NewKey:
    """Add a key of the session's project; the caller commits."""
    prefix, key = _draw()
    row = Key(
        id=new_id("key"),
        project=own_project(session),
        name=name,
        prefix=prefix,
        digest=digest(key),
        scopes=[scope.value for scope in Scope if scope in scopes],
        requests_per_second=limits.requests_per_second,
        queued_jobs=limits.queued_jobs,
        running_jobs=limits.running_jobs,
        stored_bytes=limits.stored_bytes,
        expires_at=expires_at,
    )
    session.add(row)
    session.flush()
    session.refresh(row)
    return NewKey(row, key)


def _draw() -> tuple[str, str]:
    """A new prefix, and the key that begins with it."""
    drawn = "".join(secrets.choice(ALPHABET) for _ in range(PREFIX_CHARS + SECRET_CHARS))
    prefix = f"rk_{drawn[:PREFIX_CHARS]}"
    return prefix, f"{prefix}_{drawn[PREFIX_CHARS:]}"


def list_page(session: Session, paging: Paging) -> list[Key]:
    """Return the page's keys that are not revoked, newest first, and one more if there are more."""
    return list(session.scalars(paging.apply(select(Key).where(Key.revoked_at.is_(None)), Key.id)))


def list_all(session: Session) -> list[Key]:
    """Return all keys that are not revoked, the oldest first."""
    return list(session.scalars(select(Key).where(Key.revoked_at.is_(None)).order_by(Key.id)))


def get(session: Session, key_id: str) -> Key:
    """Return a key that is not revoked; raises `NotFound`."""
    row = session.get(Key, key_id)
    if row is None or row.revoked_at is not None:
        raise NotFound(f"There is no key {key_id}")
    return row


def rotate(session: Session, key_id: str) -> NewKey:
    """Give a key a new secret; the old one is void. Raises `NotFound`."""
    row = get(session, key_id)
    row.prefix, key = _draw()
    row.digest = digest(key)
    session.flush()
    return NewKey(row, key)


def revoke(session: Session, key_id: str) -> Key:
    """Make a key void for good; its row stays for the audit. Raises `NotFound`."""
    row = get(session, key_id)
    session.execute(update(Key).where(Key.id == key_id).values(revoked_at=db_now()))
    return row


def find_valid(session: Session, prefix: str) -> tuple[Key, float | None] | None:
    """Return the key with a prefix, and seconds until it expires, in a session of all projects."""
    alive = or_(Key.expires_at.is_(None), Key.expires_at > db_now())
    valid = (Key.prefix == prefix, Key.revoked_at.is_(None), alive)
    row = session.execute(select(Key, Key.expires_at - db_now()).where(*valid)).one_or_none()
    return None if row is None else (row[0], row[1])


def limits_of(row: Key) -> KeyLimits:
    """The limits of a key."""
    return KeyLimits(row.requests_per_second, row.queued_jobs, row.running_jobs, row.stored_bytes)
