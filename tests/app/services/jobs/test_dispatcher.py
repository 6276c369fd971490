"""Wake-ups: sent after the commit, sent again when they are lost, and never piled up."""

import secrets
import time
from collections.abc import Iterator

import pytest
import redis
from sqlalchemy import update

from app.database.engine import Sessions, db_now
from app.database.tables import Job, Worker
from app.errors import Unavailable
from app.infrastructure.broker import TRAIN, Broker, celery_url
from app.services.jobs import leases, reaper
from app.services.jobs.dispatcher import ANNOUNCERS, Dispatcher
from app.states import Status
from tests.app.services.jobs.test_leases import claimed, expire, status, submit
from tests.support.fixtures.servers import until


class RecordingNotifier:
    """A broker that records which jobs it was notified of."""

    def __init__(self, pending: int = 0, reachable: bool = True) -> None:
        self.job_ids: list[str] = []
        self.devices: dict[str, str] = {}  # that a job asked for, by its id
        self.queue = pending
        self.waiting = dict[str, int]()  # wake-ups for a device, where there are more or fewer than `pending`
        self.reachable = reachable

    def notify(self, job_id: str, device: str) -> bool:
        if self.reachable:
            self.job_ids.append(job_id)
            self.devices[job_id] = device
        return self.reachable

    def pending(self, device: str) -> int:
        return self.waiting.get(device, self.queue)


def dispatcher(sessions: Sessions, notifier: RecordingNotifier, pass_seconds: float = 0.05) -> Dispatcher:
    return Dispatcher(sessions, notifier, pass_seconds=pass_seconds, renotify_seconds=5)


def test_a_committed_job_is_announced_at_once(sessions: Sessions) -> None:
    notifier = RecordingNotifier()
    made = dispatcher(sessions, notifier, pass_seconds=60)
    made.start()
    with sessions.begin() as session:
        job_id = submit(session)
    made.notify(job_id)
    until(lambda: notifier.job_ids == [job_id])
    made.stop()
    with sessions() as session:
        assert session.get_one(Job, job_id).dispatched_at is not None


def test_a_pass_announces_jobs_that_were_never_announced(sessions: Sessions) -> None:
    with sessions.begin() as session:
        ids = [submit(session) for _ in range(3)]
    notifier = RecordingNotifier(pending=7)
    dispatcher(sessions, notifier).run_pass()
    assert notifier.job_ids == sorted(ids)
    dispatcher(sessions, notifier).run_pass()
    assert notifier.job_ids == sorted(ids)


@pytest.mark.parametrize(("workers", "announced"), [(ANNOUNCERS, 2), (10 * ANNOUNCERS, 1)])
def test_in_a_large_fleet_each_process_looks_for_queued_jobs_less_often(
    sessions: Sessions, workers: int, announced: int
) -> None:
    """All of them together look as often as a few; expired leases are taken back by each all the same."""
    with sessions.begin() as session:
        for number in range(workers):
            row = {"host": "h", "pid": number, "loaded": [], "device": "cpu"}
            session.add(Worker(id=f"w{number}", role="train", **row))
        running = submit(session)
    claimed(sessions, running)
    expire(sessions, running)
    notifier = RecordingNotifier()
    made = dispatcher(sessions, notifier, pass_seconds=1000)
    for _ in range(2):
        with sessions.begin() as session:
            submit(session)
        made.run_due_pass()
    assert len(set(notifier.job_ids) - {running}) == announced
    assert status(sessions, running) == Status.QUEUED
    made.run_pass()
    assert len(set(notifier.job_ids)) == 3


def test_a_lost_wake_up_is_sent_again_but_a_pending_one_is_not(sessions: Sessions) -> None:
    with sessions.begin() as session:
        job_id = submit(session)
        session.execute(update(Job).values(dispatched_at=db_now() - 60))
    pending, lost = RecordingNotifier(pending=1), RecordingNotifier(pending=0)
    dispatcher(sessions, pending).run_pass()
    dispatcher(sessions, lost).run_pass()
    assert (pending.job_ids, lost.job_ids) == ([], [job_id])


def test_a_wake_up_goes_to_workers_that_have_the_device(sessions: Sessions) -> None:
    asked = ["auto", "cuda", "cpu", "cuda:1"]
    with sessions.begin() as session:
        ids = {submit(session, device=device): device for device in asked}
    passing, at_once = RecordingNotifier(), RecordingNotifier()
    dispatcher(sessions, passing).run_pass()
    assert passing.devices == ids
    made = dispatcher(sessions, at_once, pass_seconds=60)
    made.start()
    for job_id in ids:
        made.notify(job_id)
    until(lambda: at_once.devices == ids)
    made.stop()


def test_wake_ups_that_wait_for_one_device_hold_up_no_other(sessions: Sessions) -> None:
    """More jobs than one pass announces wait for a worker with CUDA; the wake-up of a later job was lost."""
    with sessions.begin() as session:
        for _ in range(reaper.MAX_JOBS_PER_PASS):
            submit(session, device="cuda")
        job_id = submit(session, device="cpu")
        session.execute(update(Job).values(dispatched_at=db_now() - 60))
    notifier = RecordingNotifier()
    notifier.waiting = {"cuda": 1}
    dispatcher(sessions, notifier).run_pass()
    assert notifier.job_ids == [job_id]


def test_an_unreachable_broker_loses_nothing(sessions: Sessions) -> None:
    with sessions.begin() as session:
        job_id = submit(session)
    notifier = RecordingNotifier(reachable=False)
    dispatcher(sessions, notifier).run_pass()
    with sessions() as session:
        assert reaper.unnotified(session, None) == [job_id]
    notifier.reachable = True
    dispatcher(sessions, notifier).run_pass()
    assert notifier.job_ids == [job_id]


def test_a_pass_takes_expired_leases_back_and_announces_the_jobs(sessions: Sessions) -> None:
    with sessions.begin() as session:
        job_id = submit(session)
    claimed(sessions, job_id)
    expire(sessions, job_id)
    notifier = RecordingNotifier()
    made = dispatcher(sessions, notifier)
    made.run_pass()
    assert status(sessions, job_id) == Status.RUNNING  # an owner that lives renews it before the next pass
    made.run_pass()
    assert status(sessions, job_id) == Status.QUEUED
    assert notifier.job_ids == [job_id]


def test_a_lease_that_is_renewed_late_is_not_taken_away(sessions: Sessions) -> None:
    """The clock has jumped, or the database was away: all leases have expired, their owners live."""
    with sessions.begin() as session:
        job_id = submit(session)
    lease = claimed(sessions, job_id)
    made = dispatcher(sessions, RecordingNotifier())
    for _ in range(3):
        expire(sessions, job_id)
        made.run_pass()
        with sessions.begin() as session:
            assert leases.renew(session, lease, 60, None, None, []) is not None
    made.run_pass()
    assert status(sessions, job_id) == Status.RUNNING


def test_a_stream_of_jobs_does_not_delay_the_pass(sessions: Sessions) -> None:
    with sessions.begin() as session:
        job_id, new = submit(session), submit(session)
    claimed(sessions, job_id)
    expire(sessions, job_id)
    made = dispatcher(sessions, RecordingNotifier(), pass_seconds=0.2)
    made.start()

    def is_back() -> bool:
        made.notify(new)
        return status(sessions, job_id) == Status.QUEUED

    until(is_back, what="the job's return")
    made.stop()


@pytest.fixture
def prefix(redis_url: str) -> Iterator[str]:
    made = f"test-{secrets.token_hex(4)}:"
    yield made
    with redis.Redis.from_url(redis_url) as client:
        for key in client.scan_iter(f"{made}*"):
            client.delete(key)


def test_wake_ups_wait_in_a_real_queue(redis_url: str, prefix: str) -> None:
    broker = Broker(redis_url, prefix)
    assert broker.pending() == 0
    assert broker.notify("job_1")
    assert broker.notify("job_2")
    assert broker.pending() == 2
    assert broker.notify("job_3", "cuda:1")
    assert (broker.pending("cpu"), broker.pending("cuda:1"), broker.pending("cuda")) == (2, 1, 0)
    with redis.Redis.from_url(redis_url) as client:
        assert client.llen(f"{prefix}{TRAIN}") == 2
        assert b"job_1" not in (client.get("job_1") or b"")
    broker.close()


def test_a_broker_that_is_away_is_noticed_quickly() -> None:
    broker = Broker("redis://127.0.0.1:1/0", "none:")
    begun = time.monotonic()
    assert not broker.notify("job_1")
    assert time.monotonic() - begun < 3
    broker.close()


def test_a_unix_socket_has_celerys_spelling() -> None:
    assert celery_url("unix:///run/v.sock") == "redis+socket:///run/v.sock?virtual_host=0"
    assert celery_url("redis://h:1/2") == "redis://h:1/2"


def test_counting_at_a_broker_that_is_away_says_so() -> None:
    broker = Broker("redis://127.0.0.1:1/0", "none:")
    with pytest.raises(Unavailable, match="cannot be reached"):
        broker.pending()
    broker.close()
