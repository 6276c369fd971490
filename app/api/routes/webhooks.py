"""Webhooks: which URLs get a project's events, and what has become of the deliveries."""

from functools import partial
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel, Field, StringConstraints

from app.api.access.declared import requires
from app.api.deps import (
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
from app.database.tables import Webhook, WebhookDelivery
from app.hyperparameters.options import StrictModel
from app.infrastructure.events.webhook_events import DeliveryStatus, EventType
from app.schemas import Page, Time
from app.services import idempotency
from app.services.access.callers import Scope
from app.services.idempotency import CachedResponse, KeyLock
from app.services.webhooks import registration

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])

MAX_URL_CHARS, MAX_DESCRIPTION_CHARS = 2048, 255

SentEvent = Annotated[EventType, Field(strict=False)]  # JSON has no enumerations


class WebhookIn(StrictModel):
    """A webhook to make."""

    url: Annotated[str, StringConstraints(max_length=MAX_URL_CHARS)] = Field(
        description="Of a host that the operator allows by RECURRA_WEBHOOK_HOSTS."
    )
    events: list[SentEvent] = Field(min_length=1, max_length=len(EventType))
    description: Annotated[str, StringConstraints(max_length=MAX_DESCRIPTION_CHARS)] = ""


class WebhookOut(BaseModel):
    """A webhook without its secret."""

    id: str
    object: Literal["webhook"] = "webhook"
    url: str
    events: list[EventType]
    description: str
    omitted: int = Field(description="Events that were not sent because too many deliveries waited.")
    created_at: Time

    @classmethod
    def of(cls, row: Webhook, **more: Any) -> Self:
        """The representation of a row."""
        same = ("id", "url", "description", "omitted", "created_at")
        events = [EventType(event) for event in row.events]
        return cls(**{name: getattr(row, name) for name in same}, events=events, **more)


class NewWebhookOut(WebhookOut):
    """A webhook that was just made."""

    secret: str | None = Field(
        description="Signs the deliveries; shown this once, and null in a replayed answer."
    )


class DeliveryOut(BaseModel):
    """An event on its way to a webhook, or how that ended."""

    id: str = Field(description="The `webhook-id` of each attempt.")
    object: Literal["webhook_delivery"] = "webhook_delivery"
    webhook: str
    type: str
    status: DeliveryStatus
    attempts: int
    next_attempt_at: Time | None
    response_status: int | None = Field(description="Of the last attempt that was answered.")
    error: str | None
    created_at: Time
    finished_at: Time | None

    @classmethod
    def of(cls, row: WebhookDelivery) -> "DeliveryOut":
        """The representation of a row."""
        same = ("id", "type", "attempts", "response_status", "error", "created_at", "finished_at")
        status = DeliveryStatus(row.status)
        due_at = row.due_at if status is DeliveryStatus.PENDING else None
        more = {"webhook": row.webhook_id, "status": status, "next_attempt_at": due_at}
        return cls(**{name: getattr(row, name) for name in same}, **more)


@router.post(
    "",
    status_code=201,
    response_model=NewWebhookOut,
    max_body_size=MAX_JSON_BYTES,
    operation_id="create_webhook",
)
@requires(Scope.TRAIN)
def create(request: WebhookIn, shared: StateDep, key: IdempotencyKey) -> Response:
    """Have events of the project sent to a URL; the secret, which signs them, is shown this once."""
    shared.webhook_targets.parse(request.url)
    keyed = keyed_request("POST /v1/webhooks", key, request)
    work = partial(_create, shared, request)
    made = idempotency.run_once(shared.sessions, keyed, CREATE_LOCK_SECONDS, work)
    if isinstance(made, CachedResponse):
        return replayed(made, "/v1/webhooks")
    return json_response(made, 201, {"Location": f"/v1/webhooks/{made.id}"})


def _create(shared: AppState, request: WebhookIn, lock: KeyLock | None) -> NewWebhookOut:
    with shared.sessions.begin() as session:
        row = registration.create(
            session, request.url, request.events, request.description, shared.caller.key_id
        )
        made = NewWebhookOut.of(row, secret=row.secret)
        if lock is not None:
            body = made.model_copy(update={"secret": None}).model_dump(mode="json")
            idempotency.finish(session, lock, CachedResponse(201, body))
    return made


@router.get("", response_model=Page[WebhookOut], operation_id="list_webhooks")
@requires(Scope.TRAIN)
def find(session: ReadSession, paging: PagingDep) -> Response:
    """The project's webhooks, newest first."""
    return page_response(paging, registration.list_page(session, paging), "id", WebhookOut.of)


@router.get("/{webhook_id}", response_model=WebhookOut, operation_id="get_webhook")
@requires(Scope.TRAIN)
def read(webhook_id: str, session: ReadSession) -> Response:
    """One webhook."""
    return json_response(WebhookOut.of(registration.get(session, webhook_id)))


@router.delete("/{webhook_id}", status_code=204, operation_id="delete_webhook")
@requires(Scope.TRAIN)
def remove(webhook_id: str, shared: StateDep) -> Response:
    """Send nothing more to a webhook, and delete it with its deliveries."""
    with shared.sessions.begin() as session:
        registration.remove(session, webhook_id)
    return Response(status_code=204)


@router.post("/{webhook_id}/test", status_code=202, response_model=DeliveryOut, operation_id="test_webhook")
@requires(Scope.TRAIN)
def test(webhook_id: str, shared: StateDep) -> Response:
    """Send an event of the type `webhook.test`, which says nothing."""
    with shared.sessions.begin() as session:
        delivery = registration.add_test(session, webhook_id)
        return json_response(DeliveryOut.of(delivery), 202)


@router.get(
    "/{webhook_id}/deliveries", response_model=Page[DeliveryOut], operation_id="list_webhook_deliveries"
)
@requires(Scope.TRAIN)
def list_deliveries(webhook_id: str, session: ReadSession, paging: PagingDep) -> Response:
    """The deliveries to a webhook, newest first; those that have ended for a week are gone."""
    rows = registration.list_deliveries(session, webhook_id, paging)
    return page_response(paging, rows, "id", DeliveryOut.of)
