"""Which installation a store belongs to, and which of its files are newer than a restored database.

The store carries a mark: the id that its installation's database made up, and a number that grows by one each
time the mark is renewed. The database has both too, and commits the number first. So:

- another id: the store is another installation's, and nothing in it may be deleted;
- a larger number in the store: the database was restored from a copy that is older than the store. What was
  stored in between has no row, and is kept for good;
- no id in the database, but files that it knows: it was restored from a copy of an older release, and keeps
  whatever has no row.
"""

import logging
from dataclasses import dataclass
from enum import StrEnum

import orjson
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.database.engine import Sessions
from app.database.tables import Installation
from app.errors import NotFound
from app.identifiers import new_id
from app.infrastructure.storage import Storage

log = logging.getLogger(__name__)

MARK_KEY = "installation.json"
RENEW_SECONDS = 60.0  # between two renewals: how much of the newest a restored database may not know to keep
MARGIN_SECONDS = 3600.0  # before the newest renewal, since files are stored before their row
ONLY = 1  # number of the only row

Span = tuple[float, float]  # of time by the store's clock


class WrongDatabase(Exception):
    """The store is not this database's, so it is unknown which files are orphans."""


class Owner(StrEnum):
    """Whose a store is."""

    THIS = "this installation"
    NOBODY = "nobody"  # it has no mark, or the database has no id yet
    ANOTHER = "another installation"


@dataclass(frozen=True)
class StoreMark:
    """What the store says about its installation."""

    installation: str
    number: int


def read_mark(storage: Storage) -> StoreMark | None:
    """Return the store's mark; None when it has none. One that is damaged is nobody's: an empty id."""
    try:
        content = orjson.loads(b"".join(storage.read(MARK_KEY)))
        return StoreMark(str(content["installation"]), int(content["number"]))
    except NotFound:
        return None
    except (ValueError, LookupError, TypeError):
        return StoreMark("", 0)


def owner_of(session: Session, storage: Storage) -> Owner:
    """Return whose the store is, by its mark and the database."""
    mark, row = read_mark(storage), session.get(Installation, ONLY)
    if mark is None or row is None or not row.marks:
        return Owner.NOBODY
    return Owner.THIS if row.id == mark.installation else Owner.ANOTHER


def describe_foreign(session: Session, storage: Storage) -> str:
    """Return a sentence that names the ids of the store's installation and of the database's."""
    mark, row = read_mark(storage), session.get(Installation, ONLY)
    theirs = "none" if mark is None else mark.installation or "unreadable"
    ours = "none yet" if row is None else row.id
    return (
        f"The store is not this database's: {MARK_KEY} in it names the installation {theirs}, the database "
        f"{ours}. Nothing in the store is deleted"
    )


def renew_mark(sessions: Sessions, storage: Storage, *, claim: bool) -> Owner:
    """Renew the store's mark if it is this installation's, and return whose the store is.

    With `claim`, a store that is nobody's becomes this installation's.
    """
    now = storage.now()
    with sessions.begin() as session:
        row = _locked_row(session)
        mark = read_mark(storage)
        if not claim and (mark is None or not row.marks):
            return Owner.NOBODY
        if mark is not None and not row.marks:
            row.id = mark.installation or row.id
        if mark is not None and mark.installation != row.id and row.marks:
            return Owner.ANOTHER
        if mark is not None and mark.number > row.marks:
            log.warning("The database was restored: what the store has got since its copy is kept")
            row.restored = [*row.restored, [_kept_from(row), now]]
        row.marks = number = max(0 if mark is None else mark.number, row.marks) + 1
        row.marked_at, installation = now, row.id
    content = orjson.dumps({"installation": installation, "number": number})
    if mark is not None:
        storage.write(MARK_KEY, content)
    elif not storage.create(MARK_KEY, content):  # another process was faster, of whichever installation
        return renew_mark(sessions, storage, claim=False)
    return Owner.THIS


def kept_spans(session: Session, storage: Storage) -> list[Span]:
    """Return the times from which files are kept, although no row of a restored database names them."""
    mark, row = read_mark(storage), session.get(Installation, ONLY)
    spans = [] if row is None else [(float(first), float(last)) for first, last in row.restored]
    if mark is not None and (row is None or mark.number > row.marks):
        spans.append((_kept_from(row), float("inf")))
    return spans


def _kept_from(row: Installation | None) -> float:
    """Return from when on a restored database may not know what was stored."""
    return 0.0 if row is None or row.marked_at is None else row.marked_at - MARGIN_SECONDS


def _locked_row(session: Session) -> Installation:
    query = select(Installation).where(Installation.number == ONLY).with_for_update()
    row = session.scalars(query).one_or_none()
    if row is None:
        try:
            with session.begin_nested():
                session.add(Installation(number=ONLY, id=new_id("ins"), marks=0, restored=[]))
        except IntegrityError:
            log.debug("another process has given the installation its id")
        row = session.scalars(query).one()
    return row
