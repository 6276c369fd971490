"""A thread that calls a function at regular intervals: when, until when, and after errors."""

import threading
import time
from itertools import pairwise

import pytest

from app.infrastructure.periodic_thread import PeriodicThread
from tests.support.fixtures.servers import until


def threads_named(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


def test_work_is_called_every_interval_until_the_stop() -> None:
    calls: list[float] = []
    thread = PeriodicThread("periodic-test", lambda: calls.append(time.monotonic()), 0.05)
    begun = time.monotonic()
    thread.start()
    (running,) = threads_named("periodic-test")
    assert running.daemon
    until(lambda: len(calls) >= 4)
    thread.stop(5)
    assert calls[0] - begun >= 0.05
    assert all(later - earlier >= 0.05 for earlier, later in pairwise(calls))
    count = len(calls)
    assert threads_named("periodic-test") == []
    time.sleep(0.1)
    assert len(calls) == count


@pytest.mark.parametrize(("first", "called"), [(0.0, True), (60.0, False)])
def test_the_first_call_may_come_sooner_or_later(first: float, called: bool) -> None:
    work = threading.Event()
    thread = PeriodicThread("periodic-test", work.set, 60.0 if called else 0.0, first)
    thread.start()
    assert work.wait(5.0 if called else 0.1) == called
    thread.stop(5)


def test_a_stop_does_not_wait_for_the_next_call() -> None:
    thread = PeriodicThread("periodic-test", lambda: None, 60.0)
    thread.start()
    begun = time.monotonic()
    thread.stop(30)
    assert time.monotonic() - begun < 5
    assert threads_named("periodic-test") == []


def test_a_stop_waits_for_a_call_in_progress_for_a_bounded_time() -> None:
    working, release, done = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        working.set()
        release.wait(10)
        done.set()

    thread = PeriodicThread("periodic-test", work, 60.0, 0.0)
    thread.start()
    assert working.wait(5)
    thread.stop(0.05)
    assert not done.is_set()
    release.set()
    thread.stop(5)
    assert done.is_set()


def test_an_error_is_logged_and_the_next_call_is_made(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []

    def work() -> None:
        calls.append(len(calls))
        if len(calls) == 1:
            raise RuntimeError("no such table")

    thread = PeriodicThread("periodic-test", work, 0.01)
    thread.start()
    until(lambda: len(calls) >= 3)
    thread.stop(5)
    assert "periodic-test failed" in caplog.text
    assert "no such table" in caplog.text


def test_a_thread_that_was_never_started_can_be_stopped() -> None:
    PeriodicThread("periodic-test", lambda: None, 60.0).stop(5)
