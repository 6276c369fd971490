"""Warnings about an outage: soon, then rarely, and never about another one."""

import logging

import pytest

from app.infrastructure.outages import MAX_PAUSE_SECONDS, OutageLog

log = logging.getLogger("app.outage")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outage(clock: Clock, caplog: pytest.LogCaptureFixture) -> OutageLog:
    caplog.set_level(logging.INFO, log.name)
    return OutageLog(log, "Redis", clock)


def fail(outage: OutageLog, clock: Clock, seconds: float) -> None:
    """A failure every second."""
    for _ in range(round(seconds)):
        outage.failed("refused")
        clock.now += 1


def test_warnings_of_an_outage_become_rare(
    outage: OutageLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    fail(outage, clock, 61)
    assert caplog.messages == [
        "Redis: refused",
        "Redis: refused (5 times in 4 s)",
        "Redis: refused (13 times in 12 s)",
        "Redis: refused (29 times in 28 s)",
        "Redis: refused (61 times in 60 s)",
    ]
    caplog.clear()
    fail(outage, clock, 3 * MAX_PAUSE_SECONDS)
    assert 2 <= len(caplog.messages) <= 5


def test_the_end_is_logged_and_the_next_outage_is_warned_of_at_once(
    outage: OutageLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    fail(outage, clock, 100)
    caplog.clear()
    outage.worked()
    outage.worked()
    assert caplog.messages == ["Redis: no more, after 100 times in 100 s"]
    assert caplog.records[0].levelno == logging.INFO
    caplog.clear()
    outage.failed("reset")
    assert caplog.messages == ["Redis: reset"]


def test_a_single_failure_is_one_line(outage: OutageLog, caplog: pytest.LogCaptureFixture) -> None:
    outage.failed("reset")
    outage.worked()
    assert caplog.messages == ["Redis: reset"]
