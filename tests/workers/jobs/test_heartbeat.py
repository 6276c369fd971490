"""A heartbeat on a clock that the tests set: the owner has to let go before others may take its job."""

from types import SimpleNamespace

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.database.engine import Sessions
from app.services.jobs import queries
from tests.app.services.jobs.test_leases import claimed, submit
from workers.jobs import heartbeat
from workers.jobs.heartbeat import Heartbeat, StopReason
from workers.jobs.supervisor import EXIT_GRACE_SECONDS, STOP_GRACE_SECONDS, Timeouts

LEASE_SECONDS = Timeouts().lease


class Clock:
    """A monotonic clock that stands still."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(heartbeat, "time", SimpleNamespace(monotonic=made))
    return made


@pytest.fixture
def beating(sessions: Sessions, clock: Clock) -> Heartbeat:
    """The heartbeat of a job that was just claimed; its thread does not run."""
    with sessions.begin() as session:
        job_id = submit(session)
    return Heartbeat(sessions, claimed(sessions, job_id, seconds=LEASE_SECONDS), LEASE_SECONDS, lambda: False)


def go_away(sessions: Sessions) -> list[bool]:
    """Have the database refuse every commit as long as the list is not empty."""
    away = [True]

    def refuse(_: Session) -> None:
        if away:
            raise OperationalError("", {}, OSError("away"))

    event.listen(sessions, "before_commit", refuse)
    return away


def test_an_owner_without_a_heartbeat_stops_its_child_before_the_lease_ends(
    beating: Heartbeat, sessions: Sessions, clock: Clock
) -> None:
    assert beating.renew()
    go_away(sessions)
    clock.now += LEASE_SECONDS / 4
    assert not beating.renew()
    assert beating.stop_reason is None
    clock.now += LEASE_SECONDS * 3 / 4 - STOP_GRACE_SECONDS - EXIT_GRACE_SECONDS
    assert beating.stop_reason is StopReason.HEARTBEAT_LOST


def test_the_lease_counts_from_when_its_renewal_was_sent(
    beating: Heartbeat, sessions: Sessions, clock: Clock
) -> None:
    """The database's clock was read some time before the answer came, perhaps just after the request."""

    def answer_late(_: Session) -> None:
        clock.now += 0.9 * LEASE_SECONDS

    event.listen(sessions, "after_commit", answer_late)
    assert beating.renew()
    assert beating.stop_reason is StopReason.HEARTBEAT_LOST


def test_a_heartbeat_that_is_back_in_time_goes_on(
    beating: Heartbeat, sessions: Sessions, clock: Clock
) -> None:
    away = go_away(sessions)
    clock.now += LEASE_SECONDS / 4
    assert not beating.renew()
    away.clear()
    assert beating.renew()
    clock.now += LEASE_SECONDS / 4
    assert beating.stop_reason is None


def test_reports_during_an_outage_are_stored_in_order_afterwards(
    beating: Heartbeat, sessions: Sessions
) -> None:
    away = go_away(sessions)
    for number in (1, 2):
        beating.record({"type": "epoch", "epoch": number})
        assert not beating.renew()
    away.clear()
    beating.record({"type": "epoch", "epoch": 3})
    assert beating.renew()
    with sessions() as session:
        events = queries.list_events(session, beating.lease.job_id, 0, 50)
    assert [one.data["epoch"] for one in events if one.type == "epoch"] == [1, 2, 3]
