"""The queue of deliveries, in the database: leased by webhook, counted before they are sent, and recorded.

A process that dies after it has sent one, and before that is recorded, has it sent again: at least once.
"""

import random
from dataclasses import dataclass

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.orm import Session

from app.database.engine import db_now
from app.database.tables import Webhook, WebhookDelivery
from app.infrastructure.events.webhook_events import DeliveryStatus

LEASE_SECONDS = 60.0  # for which one process alone sends to a webhook
DELAYS_SECONDS = (5.0, 30.0, 120.0, 600.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0)  # after each attempt
MAX_ATTEMPTS = len(DELAYS_SECONDS) + 1
JITTER = 0.2  # of a delay, by which it is longer at most
GONE = 410  # the status by which a receiver says that it wants no more of it
MAX_ERROR_CHARS = 255


@dataclass(frozen=True)
class Attempt:
    """One attempt to deliver an event, and what it needs."""

    delivery_id: str
    number: int
    url: str
    secret: str
    body: bytes


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt: the status of the answer, or why there is none."""

    status: int | None
    error: str | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the receiver has taken it."""
        return self.status is not None and 200 <= self.status < 300


def due_webhooks(session: Session, limit: int) -> list[str]:
    """Return the ids of webhooks to which something is due and nobody sends."""
    due = select(WebhookDelivery.webhook_id).where(*_is_due())
    query = select(Webhook.id).where(Webhook.id.in_(due), _is_free()).order_by(Webhook.id)
    return list(session.scalars(query.limit(limit)))


def lease(session: Session, webhook_id: str) -> bool:
    """Whether this process may send to a webhook now; then no other one does for a while."""
    statement = (
        update(Webhook)
        .where(Webhook.id == webhook_id, _is_free())
        .values(busy_until=db_now() + LEASE_SECONDS)
        .returning(Webhook.id)
        .execution_options(synchronize_session=False)
    )
    return session.execute(statement).scalar() is not None


def release(session: Session, webhook_id: str) -> None:
    """Let other processes send to a webhook."""
    statement = update(Webhook).where(Webhook.id == webhook_id).values(busy_until=None)
    session.execute(statement.execution_options(synchronize_session=False))


def next_attempt(session: Session, webhook_id: str) -> Attempt | None:
    """Begin the next attempt that is due to a leased webhook: it is counted before anything is sent.

    What has no attempt left, as its last one was never recorded, has failed.
    """
    query = select(WebhookDelivery).where(WebhookDelivery.webhook_id == webhook_id, *_is_due())
    for delivery in session.scalars(query.order_by(WebhookDelivery.due_at, WebhookDelivery.id).limit(10)):
        if delivery.attempts >= MAX_ATTEMPTS:
            _finish(session, delivery.id, Outcome(None, "the sender was lost"), DeliveryStatus.FAILED)
            continue
        number = delivery.attempts + 1
        delay = DELAYS_SECONDS[min(number, len(DELAYS_SECONDS)) - 1] * random.uniform(1, 1 + JITTER)  # noqa: S311
        _change(session, delivery.id, attempts=number, due_at=db_now() + delay)
        hook = session.get_one(Webhook, webhook_id)
        return Attempt(delivery.id, number, hook.url, hook.secret, delivery.body.encode())
    return None


def record(session: Session, attempt: Attempt, outcome: Outcome) -> None:
    """Record what came of an attempt; without success it is due again, unless it was the last one."""
    if outcome.succeeded:
        _finish(session, attempt.delivery_id, outcome, DeliveryStatus.DELIVERED)
    elif attempt.number >= MAX_ATTEMPTS or outcome.status == GONE:
        _finish(session, attempt.delivery_id, outcome, DeliveryStatus.FAILED)
    else:
        _change(session, attempt.delivery_id, **_columns(outcome))


def _finish(session: Session, delivery_id: str, outcome: Outcome, status: DeliveryStatus) -> None:
    _change(session, delivery_id, status=status, finished_at=db_now(), **_columns(outcome))


def _columns(outcome: Outcome) -> dict[str, object]:
    error = None if outcome.error is None else outcome.error[:MAX_ERROR_CHARS]
    return {"response_status": outcome.status, "error": error}


def _change(session: Session, delivery_id: str, **values: object) -> None:
    session.execute(
        update(WebhookDelivery)
        .where(WebhookDelivery.id == delivery_id, WebhookDelivery.status == DeliveryStatus.PENDING)
        .values(**values)
        .execution_options(synchronize_session=False)
    )


def _is_due() -> tuple[ColumnElement[bool], ...]:
    return (WebhookDelivery.status == DeliveryStatus.PENDING, WebhookDelivery.due_at <= db_now())


def _is_free() -> ColumnElement[bool]:
    return or_(Webhook.busy_until.is_(None), Webhook.busy_until <= db_now())
