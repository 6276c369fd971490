"""Deliveries over a real database and real sockets: at least once, in order, with bounds on everything."""

import json
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import event, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from standardwebhooks.webhooks import Webhook as Verifier

from app.database.engine import Sessions, db_now
from app.database.tables import Webhook, WebhookDelivery
from app.infrastructure.events import webhook_events
from app.infrastructure.events.job_events import append_events
from app.infrastructure.events.webhook_events import EventType, enqueue
from app.services.webhooks import deliveries, registration, transport
from app.services.webhooks import sender as sender_module
from app.services.webhooks.deliveries import MAX_ATTEMPTS
from app.services.webhooks.sender import WebhookSender
from app.services.webhooks.targets import AllowedTargets
from tests.app.services.jobs.test_leases import submit
from tests.support.fakes.receiver import Receiver, receiver, silent_server
from tests.support.fixtures.servers import until


@pytest.fixture
def target() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.fixture
def sender(sessions: Sessions, target: Receiver) -> WebhookSender:
    return WebhookSender(sessions, AllowedTargets([target.host]), poll_seconds=0.02)


def hook(sessions: Sessions, url: str, *events: EventType) -> str:
    with sessions.begin() as session:
        return registration.create(session, url, events or list(EventType), "", None).id


def announce(
    sessions: Sessions, kind: EventType = EventType.JOB_FAILED, project: str = "default", **data: object
) -> None:
    with sessions.begin() as session:
        enqueue(session, project, kind, dict(data))


def rows(sessions: Sessions) -> list[WebhookDelivery]:
    with sessions() as session:
        return list(session.scalars(select(WebhookDelivery).order_by(WebhookDelivery.id)))


def make_due(sessions: Sessions) -> None:
    with sessions.begin() as session:
        session.execute(update(WebhookDelivery).values(due_at=db_now() - 1))


def test_an_event_is_delivered_signed_and_once(
    sessions: Sessions, sender: WebhookSender, target: Receiver
) -> None:
    webhook_id = hook(sessions, target.url)
    announce(sessions, id="job_1")
    assert sender.send_due(webhook_id) == 1
    assert sender.send_due(webhook_id) == 0
    ((path, headers, body),) = target.requests
    assert path == "/hook?of=recurra"
    assert headers["host"] == target.host
    assert headers["content-type"] == "application/json"
    with sessions() as session:
        secret = session.get_one(Webhook, webhook_id).secret
    message = Verifier(secret).verify(body, headers)
    assert (message["type"], message["data"]) == ("job.failed", {"id": "job_1"})
    (row,) = rows(sessions)
    assert (row.status, row.attempts, row.response_status, row.error) == ("delivered", 1, 204, None)
    assert headers["webhook-id"] == row.id
    assert row.finished_at is not None


def test_only_the_events_and_the_project_of_a_webhook_are_sent(
    sessions: Sessions, sender: WebhookSender, target: Receiver
) -> None:
    webhook_id = hook(sessions, target.url, EventType.JOB_SUCCEEDED)
    announce(sessions)
    assert rows(sessions) == []
    announce(sessions, EventType.JOB_SUCCEEDED)
    assert sender.send_due(webhook_id) == 1


def test_a_failed_attempt_is_repeated_later_with_the_same_id_until_the_last(
    sessions: Sessions, sender: WebhookSender, target: Receiver
) -> None:
    webhook_id, target.status = hook(sessions, target.url), 500
    announce(sessions)
    for number in range(1, MAX_ATTEMPTS + 1):
        assert sender.send_due(webhook_id) == 1
        assert sender.send_due(webhook_id) == 0  # not before its time
        (row,) = rows(sessions)
        last = number == MAX_ATTEMPTS
        assert (row.attempts, row.status) == (number, "failed" if last else "pending")
        make_due(sessions)
    assert (row.response_status, row.error) == (500, "the answer is 500")
    assert sender.send_due(webhook_id) == 0
    assert len({headers["webhook-id"] for _, headers, _ in target.requests}) == 1


def test_delays_grow(sessions: Sessions, sender: WebhookSender, target: Receiver) -> None:
    webhook_id, target.status = hook(sessions, target.url), 503
    announce(sessions)
    sender.send_due(webhook_id)
    with sessions() as session:
        delay = session.scalar(select(WebhookDelivery.due_at - db_now()))
    assert delay is not None
    assert 0 < delay <= deliveries.DELAYS_SECONDS[0] * (1 + deliveries.JITTER)
    assert list(deliveries.DELAYS_SECONDS) == sorted(deliveries.DELAYS_SECONDS)


def test_a_receiver_that_is_gone_gets_no_other_attempt(
    sessions: Sessions, sender: WebhookSender, target: Receiver
) -> None:
    webhook_id, target.status = hook(sessions, target.url), 410
    announce(sessions)
    sender.send_due(webhook_id)
    assert rows(sessions)[0].status == "failed"


def test_redirects_are_not_followed(sessions: Sessions, sender: WebhookSender, target: Receiver) -> None:
    with receiver() as elsewhere:
        target.status, target.location = 307, elsewhere.url
        webhook_id = hook(sessions, target.url)
        announce(sessions)
        sender.send_due(webhook_id)
        assert elsewhere.requests == []
    assert rows(sessions)[0].error == "the answer is 307"


def test_what_was_sent_and_not_recorded_is_sent_again(
    sessions: Sessions, sender: WebhookSender, target: Receiver
) -> None:
    webhook_id = hook(sessions, target.url)
    announce(sessions)
    commits: list[None] = []

    def die_after_sending(_: Session) -> None:
        commits.append(None)
        if target.requests:
            raise OperationalError("", {}, OSError("the process is gone"))

    event.listen(sessions, "before_commit", die_after_sending)
    with pytest.raises(OperationalError):
        sender.send_due(webhook_id)
    event.remove(sessions, "before_commit", die_after_sending)
    other = WebhookSender(sessions, AllowedTargets([target.host]))
    assert other.send_due(webhook_id) == 0  # the lease of the dead one holds
    with sessions.begin() as session:
        session.execute(update(Webhook).values(busy_until=db_now() - 1))
    make_due(sessions)
    assert other.send_due(webhook_id) == 1
    first, second = target.requests
    assert first[1]["webhook-id"] == second[1]["webhook-id"]
    assert (rows(sessions)[0].status, rows(sessions)[0].attempts) == ("delivered", 2)


def test_two_senders_never_send_to_one_webhook_at_a_time(
    sessions: Sessions, sender: WebhookSender, target: Receiver
) -> None:
    webhook_id, target.hold = hook(sessions, target.url), threading.Event()
    announce(sessions)
    thread = threading.Thread(target=sender.send_due, args=(webhook_id,))
    thread.start()
    until(lambda: bool(target.requests), what="the first request")
    assert WebhookSender(sessions, AllowedTargets([target.host])).send_due(webhook_id) == 0
    target.hold.set()
    thread.join(60)
    assert len(target.requests) == 1
    assert rows(sessions)[0].status == "delivered"


def test_the_threads_deliver_whatever_comes_and_a_silent_receiver_delays_nobody_else(
    sessions: Sessions, target: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "TOTAL_SECONDS", 30.0)
    with silent_server() as port:
        allowed = AllowedTargets([target.host, f"127.0.0.1:{port}"])
        hook(sessions, f"http://127.0.0.1:{port}/")
        hook(sessions, target.url)
        sender = WebhookSender(sessions, allowed, poll_seconds=0.02)
        sender.start()
        try:
            for number in range(3):
                announce(sessions, id=f"job_{number}")
            until(lambda: len(target.requests) == 3, what="three deliveries")
        finally:
            sender.stop()
    bodies = [json.loads(body)["data"]["id"] for _, _, body in target.requests]
    assert bodies == ["job_0", "job_1", "job_2"]


def start_sending(sessions: Sessions, sender: WebhookSender, target: Receiver) -> threading.Event:
    """Have a delivery come to a receiver that answers once the event is set."""
    target.hold = threading.Event()
    hook(sessions, target.url)
    announce(sessions)
    sender.start()
    until(lambda: target.requests, what="the delivery")
    return target.hold


def test_what_is_being_sent_is_recorded_before_the_sender_has_stopped(
    sessions: Sessions, sender: WebhookSender, target: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender_module, "MAX_STOP_WAIT_SECONDS", 60.0)
    hold = start_sending(sessions, sender, target)
    stopping = threading.Thread(target=sender.stop)
    stopping.start()
    assert [row.status for row in rows(sessions)] == ["pending"]
    hold.set()
    stopping.join(60)
    assert [row.status for row in rows(sessions)] == ["delivered"]


def test_the_database_is_not_used_once_the_sender_has_stopped(
    sessions: Sessions, sender: WebhookSender, target: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender_module, "MAX_STOP_WAIT_SECONDS", 0.0)
    hold = start_sending(sessions, sender, target)
    sender.stop()
    hold.set()
    until(lambda: not [one for one in threading.enumerate() if one.name == "webhook"], what="its end")
    assert [row.status for row in rows(sessions)] == ["pending"]


def test_a_receiver_has_a_limited_time(
    sessions: Sessions, target: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "TOTAL_SECONDS", 0.1)
    with silent_server() as port:
        webhook_id = hook(sessions, f"http://127.0.0.1:{port}/")
        announce(sessions)
        WebhookSender(sessions, AllowedTargets([f"127.0.0.1:{port}"])).send_due(webhook_id)
    assert rows(sessions)[0].error == "no answer in time"


def test_a_name_that_leads_to_a_private_address_is_not_connected_to(
    sessions: Sessions, target: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "look_up", lambda *_: ["127.0.0.1"])
    host = f"hooks.example.com:{target.port}"
    webhook_id = hook(sessions, f"https://{host}/")
    announce(sessions)
    WebhookSender(sessions, AllowedTargets([host])).send_due(webhook_id)
    assert rows(sessions)[0].error == "The host has an address that is not public, and not allowed either"
    assert target.requests == []


def test_a_host_that_is_not_allowed_any_more_gets_nothing(sessions: Sessions, target: Receiver) -> None:
    webhook_id = hook(sessions, target.url)
    announce(sessions)
    WebhookSender(sessions, AllowedTargets(["hooks.example.com"])).send_due(webhook_id)
    assert "does not name" in str(rows(sessions)[0].error)
    assert target.requests == []


def test_a_full_queue_takes_no_more_and_counts_what_it_omits(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_events, "MAX_PENDING_DELIVERIES", 2)
    webhook_id = hook(sessions, "https://hooks.example.com/")
    for _ in range(5):
        announce(sessions)
    assert len(rows(sessions)) == 2
    with sessions() as session:
        assert session.get_one(Webhook, webhook_id).omitted == 3


def test_a_change_that_is_rolled_back_announces_nothing(sessions: Sessions) -> None:
    hook(sessions, "https://hooks.example.com/")
    with sessions() as session:
        enqueue(session, "default", EventType.JOB_FAILED, {})
        session.rollback()
    assert rows(sessions) == []


def test_a_status_announces_the_job_but_none_of_a_run(sessions: Sessions) -> None:
    hook(sessions, "https://hooks.example.com/")
    with sessions.begin() as session:
        job_id = submit(session)
        append_events(session, job_id, [("epoch", {"epoch": 1}), ("status", {"status": "running"})])
    (row,) = rows(sessions)
    body = json.loads(row.body)
    assert body["type"] == "job.running"
    assert body["data"] == {
        "id": job_id, "kind": "train", "task": "forecasting", "dataset": "ds_1", "model": "m",
        "model_version": None, "metadata": {}, "status": "running", "error": None,
    }  # fmt: skip
