"""The audit: who changed what, and when, and who was refused to. Nothing here changes or deletes an entry."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.tables import AuditEntry
from app.services.access.callers import Caller

MAX_OBJECT_CHARS = 255


def record(
    session: Session,
    caller: Caller,
    action: str,
    target: str,
    *,
    outcome: int,
    address: str,
    request_id: str = "",
) -> None:
    """Add an entry of the caller's project; the caller commits."""
    session.add(
        AuditEntry(
            project=caller.project,
            key_id=caller.key_id,
            key_name=caller.key_name,
            action=action,
            object=target[:MAX_OBJECT_CHARS],
            address=address,
            outcome=outcome,
            request_id=request_id,
        )
    )


def list_after(session: Session, after: int, limit: int) -> list[AuditEntry]:
    """Return entries numbered above `after`, oldest first: `limit`, and one more if there are more."""
    query = select(AuditEntry).where(AuditEntry.id > after)
    return list(session.scalars(query.order_by(AuditEntry.id).limit(limit + 1)))
