"""Redis dies, forgets, says nothing, or drops everybody: jobs are taken, run once, and none is lost."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from app.services.jobs.dispatcher import RENOTIFY_SECONDS
from app.states import Status
from tests.faults.jobs.harness import ENDLESS, QUICK, STEADY
from tests.faults.jobs.invariants import check
from tests.faults.jobs.siege import Pulse, Siege, siege
from tests.support.fixtures.servers import until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

AT_ONCE = 1.0  # seconds in which a request is answered, Redis or not
SOON = 15.0  # seconds until a queued job starts once Redis is back
LAG = 0.1  # seconds of the event loop, but for one look in twenty on a machine that trains meanwhile


def submit_all(besieged: Siege, count: int) -> list[str]:
    """Submissions that are all taken at once."""
    ids = []
    for number in range(count):
        begun = time.monotonic()
        ids.append(besieged.submit(QUICK, seed=number))
        assert time.monotonic() - begun < AT_ONCE
    return ids


def served(besieged: Siege, submit: Callable[[], list[str]]) -> tuple[str, list[str]]:
    """A job that runs for long, and more that were submitted meanwhile."""
    besieged.api()
    besieged.worker()
    besieged.dataset()
    running = besieged.submit(STEADY)
    besieged.until_step(running, 1)
    return running, submit()


def undisturbed(besieged: Siege, job_id: str) -> None:
    job = besieged.wait(job_id)
    assert (job.attempt, job.crashes, job.failures) == (1, 0, 0), f"{job_id} ran more than once"


# F6


def killed(besieged: Siege) -> None:
    """Redis is killed while a job runs and others come; it is away for some seconds."""

    def submit() -> list[str]:
        before = submit_all(besieged, 1)
        besieged.valkey.kill()
        return before + submit_all(besieged, 2)

    running, queued = served(besieged, submit)
    with Pulse(str(besieged.http.base_url)) as pulse:
        undisturbed(besieged, running)
        time.sleep(1)  # nobody can tell the worker of the others
        assert {besieged.job(job_id).status for job_id in queued} == {Status.QUEUED}
        besieged.valkey.start()
        besieged.until(queued[0], lambda job: job.attempt > 0, "the start", SOON)
        for job_id in queued:
            undisturbed(besieged, job_id)
    pulse.check()
    check(besieged)


def test_redis_is_killed(tmp_path: Path) -> None:
    with siege(tmp_path) as besieged:
        killed(besieged)


def test_that_nobody_rings_again_is_noticed(tmp_path: Path) -> None:
    with siege(tmp_path, "sweep") as besieged, pytest.raises(AssertionError, match="the start of"):
        killed(besieged)


# F7


def forgotten(besieged: Siege, forget: str) -> None:
    """Redis loses every wake-up that was sent."""

    def submit() -> list[str]:
        ids = submit_all(besieged, 2)
        until(lambda: besieged.broker.pending() == 2, 10, "the wake-ups", every=0.05)
        if forget == "flush":
            with redis.Redis.from_url(besieged.redis_url) as client:
                client.flushall()
        else:
            besieged.valkey.kill()
            besieged.valkey.start()
        assert besieged.broker.pending() == 0
        return ids

    running, queued = served(besieged, submit)
    undisturbed(besieged, running)
    besieged.until(queued[0], lambda job: job.attempt > 0, "the start", RENOTIFY_SECONDS + SOON)
    for job_id in queued:
        undisturbed(besieged, job_id)
    check(besieged)


@pytest.mark.parametrize("forget", ["flush", "restart"])
def test_redis_forgets(forget: str, tmp_path: Path) -> None:
    with siege(tmp_path) as besieged:
        forgotten(besieged, forget)


def test_a_lost_wake_up_is_noticed(tmp_path: Path) -> None:
    with siege(tmp_path, "sweep") as besieged, pytest.raises(AssertionError, match="the start of"):
        forgotten(besieged, "flush")


# F8


def silent(besieged: Siege) -> None:
    """Redis accepts connections and says nothing."""
    besieged.api()
    besieged.worker()
    job_id = besieged.submit(ENDLESS)
    besieged.until_step(job_id, 1)
    wish = besieged.wish()
    besieged.redis_proxy.black_hole()
    with Pulse(str(besieged.http.base_url)) as pulse, ThreadPoolExecutor(8) as pool:
        for _ in range(6):
            asked = [pool.submit(besieged.ask, "POST", "/v1/jobs", wish) for _ in range(3)]
            asked += [pool.submit(besieged.ask, "GET", f"/v1/jobs/{job_id}") for _ in range(3)]
            asked += [pool.submit(besieged.ask, "GET", "/v1/jobs") for _ in range(2)]
            answers = [one.result() for one in asked]
            assert {status for status, _ in answers} == {200, 202}
            assert max(took for _, took in answers) < AT_ONCE, f"late answers: {answers}"
            time.sleep(0.5)
    pulse.check()
    assert pulse.percentile(0.95) < LAG, sorted(pulse.seconds)[-20:]
    assert besieged.order(job_id, "cancel").status_code == 202
    besieged.wait(job_id, Status.CANCELLED)
    besieged.redis_proxy.heal()
    queued = besieged.queued()
    assert len(queued) == 18
    for queued_id in queued[1:]:
        besieged.order(queued_id, "cancel")
    undisturbed(besieged, queued[0])
    check(besieged)


def test_redis_says_nothing(tmp_path: Path) -> None:
    with siege(tmp_path) as besieged:
        silent(besieged)


def test_a_request_that_waits_is_noticed(tmp_path: Path) -> None:
    with siege(tmp_path, "own_thread") as besieged, pytest.raises(AssertionError, match="late answers"):
        silent(besieged)


# F9


def dropped(besieged: Siege) -> None:
    """Everybody's connection to Redis is reset while a job runs, and another worker is free."""
    besieged.api()
    workers = [besieged.worker(), besieged.worker()]
    job_id = besieged.submit(STEADY)
    besieged.until_step(job_id, 1)
    for _ in range(3):
        besieged.redis_proxy.reset()
        until(lambda: besieged.redis_proxy.connections >= len(workers), 30, "the workers' return", every=0.05)
        time.sleep(0.5)
    undisturbed(besieged, job_id)
    undisturbed(besieged, besieged.submit(QUICK))
    check(besieged)


def test_all_connections_to_redis_are_reset(tmp_path: Path) -> None:
    with siege(tmp_path) as besieged:
        dropped(besieged)


def test_a_second_run_is_noticed(tmp_path: Path) -> None:
    with siege(tmp_path, "wake_up") as besieged, pytest.raises(AssertionError, match="ran more than once"):
        dropped(besieged)
