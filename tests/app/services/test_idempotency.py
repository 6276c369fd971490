"""Keyed requests on both databases: one does the work, the others get its answer or are sent away."""

import threading

import pytest
from sqlalchemy import func, select, update

from app.database.engine import Sessions, db_now
from app.database.tables import IdempotencyKey
from app.errors import Conflict, Invalid
from app.services import idempotency
from app.services.idempotency import MAX_KEY_CHARS, RETENTION_SECONDS, CachedResponse, KeyedRequest, KeyLock

REQUEST = KeyedRequest("POST /v1/jobs", "k-1", "aa")
RESPONSE = CachedResponse(202, {"id": "job_1", "nested": {"a": [1, None, "ü"]}})


LOCKS: dict[KeyedRequest, KeyLock] = {}


def begin(sessions: Sessions, request: KeyedRequest, seconds: float) -> CachedResponse | None:
    """The stored response, or None and a lock that is put into `LOCKS`."""
    result = idempotency.begin(sessions, request, seconds)
    if isinstance(result, CachedResponse):
        return result
    LOCKS[request] = result
    return None


def finish(sessions: Sessions, request: KeyedRequest = REQUEST, response: CachedResponse = RESPONSE) -> None:
    with sessions.begin() as session:
        idempotency.finish(session, LOCKS[request], response)


def count(sessions: Sessions) -> int:
    with sessions() as session:
        return session.scalar(select(func.count()).select_from(IdempotencyKey)) or 0


def age(sessions: Sessions, column: str, seconds: float) -> None:
    """Make the stored rows older."""
    with sessions.begin() as session:
        session.execute(update(IdempotencyKey).values({column: db_now() - seconds}))


def test_the_first_request_works_and_the_next_gets_its_answer(sessions: Sessions) -> None:
    assert begin(sessions, REQUEST, 30) is None
    finish(sessions)
    for _ in range(2):
        assert begin(sessions, REQUEST, 30) == RESPONSE
    assert count(sessions) == 1


def test_a_request_in_flight_sends_its_twin_away(sessions: Sessions) -> None:
    assert begin(sessions, REQUEST, 30) is None
    with pytest.raises(Conflict, match="still runs"):
        begin(sessions, REQUEST, 30)


def test_a_lock_that_a_dead_process_left_ends(sessions: Sessions) -> None:
    assert begin(sessions, REQUEST, 30) is None
    age(sessions, "locked_until", 1)
    assert begin(sessions, REQUEST, 30) is None  # taken over, and locked again
    with pytest.raises(Conflict):
        begin(sessions, REQUEST, 30)
    finish(sessions)
    assert begin(sessions, REQUEST, 30) == RESPONSE


def test_another_body_is_refused_before_and_after_the_end(sessions: Sessions) -> None:
    other = KeyedRequest(REQUEST.route, REQUEST.key, "bb")
    assert begin(sessions, REQUEST, 30) is None
    for ended in (False, True):
        with pytest.raises(Invalid) as caught:
            begin(sessions, other, 30)
        assert caught.value.problems[0].pointer == "/header/Idempotency-Key"
        if not ended:
            finish(sessions)


def test_a_key_belongs_to_its_route(sessions: Sessions) -> None:
    other = KeyedRequest("POST /v1/datasets", REQUEST.key, "bb")
    assert begin(sessions, REQUEST, 30) is None
    assert begin(sessions, other, 30) is None
    finish(sessions, other, CachedResponse(201, {"id": "ds_1"}))
    with pytest.raises(Conflict):
        begin(sessions, REQUEST, 30)
    assert begin(sessions, other, 30) == CachedResponse(201, {"id": "ds_1"})


def test_keys_differ_in_every_character(sessions: Sessions) -> None:
    for key in ("a", "A", "a ", "ä", "a" * MAX_KEY_CHARS):
        assert begin(sessions, KeyedRequest("r", key, "f"), 30) is None
    assert count(sessions) == 5


def test_a_failed_request_frees_its_key_and_no_other(sessions: Sessions) -> None:
    other = KeyedRequest(REQUEST.route, "k-2", "aa")
    for request in (REQUEST, other):
        begin(sessions, request, 30)
    idempotency.release(sessions, LOCKS[REQUEST])
    assert begin(sessions, REQUEST, 30) is None
    with pytest.raises(Conflict):
        begin(sessions, other, 30)


def test_a_stored_response_is_never_released(sessions: Sessions) -> None:
    begin(sessions, REQUEST, 30)
    finish(sessions)
    idempotency.release(sessions, LOCKS[REQUEST])
    assert begin(sessions, REQUEST, 30) == RESPONSE


def test_a_response_is_stored_with_the_work_or_not_at_all(sessions: Sessions) -> None:
    begin(sessions, REQUEST, 30)
    with sessions() as session:
        idempotency.finish(session, LOCKS[REQUEST], RESPONSE)
        session.rollback()  # the work failed after all
    with pytest.raises(Conflict):
        begin(sessions, REQUEST, 30)


def test_responses_are_stored_for_two_days(sessions: Sessions) -> None:
    assert RETENTION_SECONDS >= 24 * 3600  # what the contract promises
    begin(sessions, REQUEST, 30)
    finish(sessions)
    age(sessions, "created_at", RETENTION_SECONDS - 60)
    assert begin(sessions, REQUEST, 30) == RESPONSE
    age(sessions, "created_at", RETENTION_SECONDS + 60)
    assert begin(sessions, KeyedRequest("r", "other", "f"), 30) is None
    assert count(sessions) == 2  # an old one is not looked for by every request, but by the cleanup
    assert begin(sessions, REQUEST, 30) is None


@pytest.mark.parametrize("key", ["", "x" * (MAX_KEY_CHARS + 1)])
def test_a_key_that_cannot_be_stored_is_refused(key: str) -> None:
    with pytest.raises(Invalid) as caught:
        KeyedRequest("r", key, "f")
    assert caught.value.problems[0].pointer == "/header/Idempotency-Key"


def test_of_many_twins_one_works(sessions: Sessions) -> None:
    barrier = threading.Barrier(6)
    outcomes: list[str] = []

    def attempt() -> None:
        barrier.wait()
        try:
            first = begin(sessions, REQUEST, 30)
        except Conflict:
            outcomes.append("sent away")
        else:
            outcomes.append("works" if first is None else "replayed")

    threads = [threading.Thread(target=attempt) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["sent away"] * 5 + ["works"]
    assert count(sessions) == 1


def test_a_request_that_is_too_slow_does_nothing(sessions: Sessions) -> None:
    """Its lock ended and another request with the key began: the work of the first is taken back."""
    begin(sessions, REQUEST, -1)
    slow = LOCKS[REQUEST]
    begin(sessions, REQUEST, 30)
    with pytest.raises(Conflict, match="so long"), sessions.begin() as session:
        idempotency.finish(session, slow, CachedResponse(202, {"id": "job_slow"}))
    idempotency.release(sessions, slow)
    with pytest.raises(Conflict, match="still runs"):
        begin(sessions, REQUEST, 30)
    finish(sessions)
    assert begin(sessions, REQUEST, 30) == RESPONSE
