"""Events for webhooks: added as deliveries in the transaction that changes what they are about.

So an event is sent if and only if its change was committed, whatever dies afterwards.
"""

import time
from enum import StrEnum

import orjson
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.database.tables import Job, Webhook, WebhookDelivery
from app.identifiers import new_id
from app.states import Status
from app.times import rfc3339
from app.typedefs import Json

MAX_PENDING_DELIVERIES = 1_000  # of one webhook; further events are counted and not sent


class EventType(StrEnum):
    """What webhooks can be sent."""

    JOB_RUNNING = "job.running"
    JOB_PAUSED = "job.paused"
    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_CANCELLED = "job.cancelled"
    VERSION_CREATED = "model.version.created"
    ALIAS_MOVED = "model.alias.moved"


TEST_EVENT = "webhook.test"  # sent on request only


class DeliveryStatus(StrEnum):
    """What has become of a delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


JOB_EVENTS = {
    Status.RUNNING: EventType.JOB_RUNNING,
    Status.PAUSED: EventType.JOB_PAUSED,
    Status.SUCCEEDED: EventType.JOB_SUCCEEDED,
    Status.FAILED: EventType.JOB_FAILED,
    Status.CANCELLED: EventType.JOB_CANCELLED,
}


def enqueue(session: Session, project: str, kind: EventType, data: Json) -> None:
    """Add an event of a project to the queues of the webhooks that are sent such events."""
    hooks = [hook for hook in _webhooks(session, project) if kind in hook.events]
    for hook in hooks:
        if _pending(session, hook.id) < MAX_PENDING_DELIVERIES:
            add_delivery(session, hook, kind, data)
            continue
        session.execute(
            update(Webhook)
            .where(Webhook.id == hook.id)
            .values(omitted=Webhook.omitted + 1)
            .execution_options(synchronize_session=False)
        )


def enqueue_status(session: Session, project: str, job_id: str, status: str) -> None:
    """Add the event that a job has this status now; the runs of a sweep have none."""
    kind = JOB_EVENTS.get(Status(status))
    if kind is None or not any(kind in hook.events for hook in _webhooks(session, project)):
        return
    columns = (
        Job.id, Job.kind, Job.task, Job.dataset_id.label("dataset"), Job.model, Job.model_version,
        Job.job_metadata.label("metadata"),
    )  # fmt: skip
    errors = (Job.error_code, Job.error_message, Job.sweep_id)
    row = session.execute(select(*columns, *errors).where(Job.id == job_id)).one()
    if row.sweep_id is not None:
        return
    data = {column.key: getattr(row, column.key) for column in columns}
    error = None if row.error_code is None else {"code": row.error_code, "message": row.error_message}
    enqueue(session, project, kind, {**data, "status": status, "error": error})


def add_delivery(session: Session, hook: Webhook, kind: str, data: Json) -> WebhookDelivery:
    """Add an event to one webhook's queue."""
    body = {"type": kind, "timestamp": rfc3339(time.time()), "data": data}
    delivery = WebhookDelivery(
        id=new_id("msg"),
        project=hook.project,
        webhook_id=hook.id,
        type=kind,
        body=orjson.dumps(body).decode(),
        status=DeliveryStatus.PENDING,
    )
    session.add(delivery)
    session.flush()
    return delivery


def _webhooks(session: Session, project: str) -> list[Webhook]:
    return list(session.scalars(select(Webhook).where(Webhook.project == project).order_by(Webhook.id)))


def _pending(session: Session, webhook_id: str) -> int:
    own = (WebhookDelivery.webhook_id == webhook_id, WebhookDelivery.status == DeliveryStatus.PENDING)
    return session.scalar(select(func.count()).select_from(WebhookDelivery).where(*own)) or 0
