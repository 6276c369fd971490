"""The webhooks of a project: made, listed, deleted; and their deliveries, for reading."""

from collections.abc import Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app.database.projects import own_project
from app.database.tables import Webhook, WebhookDelivery
from app.errors import Conflict, NotFound
from app.identifiers import new_id
from app.infrastructure.events.webhook_events import TEST_EVENT, EventType, add_delivery
from app.services.paging import Paging
from app.services.webhooks.signatures import new_secret

MAX_WEBHOOKS = 20  # of a project


def create(
    session: Session, url: str, events: Sequence[EventType], description: str, key_id: str | None
) -> Webhook:
    """Add a webhook of the session's project to a URL that is allowed; raises `Conflict` beyond the limit."""
    if (session.scalar(select(func.count()).select_from(Webhook)) or 0) >= MAX_WEBHOOKS:
        raise Conflict(f"The project has {MAX_WEBHOOKS} webhooks, and may have no more; delete one first")
    row = Webhook(
        id=new_id("wh"),
        project=own_project(session),
        url=url,
        events=[kind.value for kind in EventType if kind in events],
        description=description,
        secret=new_secret(),
        omitted=0,
        key_id=key_id,
    )
    session.add(row)
    session.flush()
    session.refresh(row)
    return row


def get(session: Session, webhook_id: str) -> Webhook:
    """Return a webhook; raises `NotFound`."""
    row = session.get(Webhook, webhook_id)
    if row is None:
        raise NotFound(f"There is no webhook {webhook_id}")
    return row


def list_page(session: Session, paging: Paging) -> list[Webhook]:
    """Return the page's webhooks, newest first, and one more if there are more."""
    return list(session.scalars(paging.apply(select(Webhook), Webhook.id)))


def remove(session: Session, webhook_id: str) -> None:
    """Delete a webhook with its deliveries; raises `NotFound`."""
    get(session, webhook_id)
    session.execute(delete(WebhookDelivery).where(WebhookDelivery.webhook_id == webhook_id))
    session.execute(delete(Webhook).where(Webhook.id == webhook_id))


def add_test(session: Session, webhook_id: str) -> WebhookDelivery:
    """Queue a delivery that is only a test; raises `NotFound`."""
    delivery = add_delivery(session, get(session, webhook_id), TEST_EVENT, {"webhook": webhook_id})
    session.refresh(delivery)
    return delivery


def list_deliveries(session: Session, webhook_id: str, paging: Paging) -> list[WebhookDelivery]:
    """Return the page's deliveries, newest first, and one more if there are more; raises `NotFound`."""
    get(session, webhook_id)
    query = select(WebhookDelivery).where(WebhookDelivery.webhook_id == webhook_id)
    return list(session.scalars(paging.apply(query, WebhookDelivery.id)))
