"""Keyed requests on both databases: one does the work, the others get its answer or are sent away."""

import threading

import pytest
from sqlalchemy import func, select, update

from app.db import Sessions, db_now
from app.errors import Conflict, Invalid
from app.services import idempotency
from app.services.idempotency import KEPT, MAX_KEY, Answer, Keyed
from app.tables import IdempotencyKey

KEYED = Keyed("POST /v1/jobs", "k-1", "aa")
ANSWER = Answer(202, {"id": "job_1", "nested": {"a": [1, None, "ü"]}})


def finish(sessions: Sessions, keyed: Keyed = KEYED, answer: Answer = ANSWER) -> None:
    with sessions.begin() as session:
        idempotency.finish(session, keyed, answer)


def count(sessions: Sessions) -> int:
    with sessions() as session:
        return session.scalar(select(func.count()).select_from(IdempotencyKey)) or 0


def age(sessions: Sessions, column: str, seconds: float) -> None:
    """Make what is stored older."""
    with sessions.begin() as session:
        session.execute(update(IdempotencyKey).values({column: db_now() - seconds}))


def test_the_first_request_works_and_the_next_gets_its_answer(sessions: Sessions) -> None:
    assert idempotency.begin(sessions, KEYED, 30) is None
    finish(sessions)
    for _ in range(2):
        assert idempotency.begin(sessions, KEYED, 30) == ANSWER
    assert count(sessions) == 1


def test_a_request_in_flight_sends_its_twin_away(sessions: Sessions) -> None:
    assert idempotency.begin(sessions, KEYED, 30) is None
    with pytest.raises(Conflict, match="still runs"):
        idempotency.begin(sessions, KEYED, 30)


def test_a_lock_that_a_dead_process_left_ends(sessions: Sessions) -> None:
    assert idempotency.begin(sessions, KEYED, 30) is None
    age(sessions, "locked_until", 1)
    assert idempotency.begin(sessions, KEYED, 30) is None  # taken over, and locked again
    with pytest.raises(Conflict):
        idempotency.begin(sessions, KEYED, 30)
    finish(sessions)
    assert idempotency.begin(sessions, KEYED, 30) == ANSWER


def test_another_body_is_refused_before_and_after_the_end(sessions: Sessions) -> None:
    other = Keyed(KEYED.route, KEYED.key, "bb")
    assert idempotency.begin(sessions, KEYED, 30) is None
    for _ in range(2):
        with pytest.raises(Invalid) as caught:
            idempotency.begin(sessions, other, 30)
        assert caught.value.problems[0].pointer == "/header/Idempotency-Key"
        finish(sessions)


def test_a_key_belongs_to_its_route(sessions: Sessions) -> None:
    other = Keyed("POST /v1/datasets", KEYED.key, "bb")
    assert idempotency.begin(sessions, KEYED, 30) is None
    assert idempotency.begin(sessions, other, 30) is None
    finish(sessions, other, Answer(201, {"id": "ds_1"}))
    with pytest.raises(Conflict):
        idempotency.begin(sessions, KEYED, 30)
    assert idempotency.begin(sessions, other, 30) == Answer(201, {"id": "ds_1"})


def test_keys_differ_in_every_character(sessions: Sessions) -> None:
    for key in ("a", "A", "a ", "ä", "a" * MAX_KEY):
        assert idempotency.begin(sessions, Keyed("r", key, "f"), 30) is None
    assert count(sessions) == 5


def test_a_failed_request_frees_its_key_and_no_other(sessions: Sessions) -> None:
    other = Keyed(KEYED.route, "k-2", "aa")
    for keyed in (KEYED, other):
        idempotency.begin(sessions, keyed, 30)
    idempotency.forget(sessions, KEYED)
    assert idempotency.begin(sessions, KEYED, 30) is None
    with pytest.raises(Conflict):
        idempotency.begin(sessions, other, 30)


def test_an_answer_that_was_given_is_never_forgotten(sessions: Sessions) -> None:
    idempotency.begin(sessions, KEYED, 30)
    finish(sessions)
    idempotency.forget(sessions, KEYED)
    assert idempotency.begin(sessions, KEYED, 30) == ANSWER


def test_an_answer_is_kept_with_the_work_or_not_at_all(sessions: Sessions) -> None:
    idempotency.begin(sessions, KEYED, 30)
    with sessions() as session:
        idempotency.finish(session, KEYED, ANSWER)
        session.rollback()  # the work failed after all
    with pytest.raises(Conflict):
        idempotency.begin(sessions, KEYED, 30)


def test_answers_are_kept_for_two_days(sessions: Sessions) -> None:
    assert KEPT >= 24 * 3600  # what the contract promises
    idempotency.begin(sessions, KEYED, 30)
    finish(sessions)
    age(sessions, "created_at", KEPT - 60)
    assert idempotency.begin(sessions, KEYED, 30) == ANSWER
    age(sessions, "created_at", KEPT + 60)
    assert idempotency.begin(sessions, Keyed("r", "other", "f"), 30) is None
    assert count(sessions) == 1  # the old one is cleared away by whoever comes next
    assert idempotency.begin(sessions, KEYED, 30) is None


@pytest.mark.parametrize("key", ["", "x" * (MAX_KEY + 1)])
def test_a_key_that_cannot_be_stored_is_refused(key: str) -> None:
    with pytest.raises(Invalid) as caught:
        Keyed("r", key, "f")
    assert caught.value.problems[0].pointer == "/header/Idempotency-Key"


def test_of_many_twins_one_works(sessions: Sessions) -> None:
    barrier = threading.Barrier(6)
    outcomes: list[str] = []

    def attempt() -> None:
        barrier.wait()
        try:
            first = idempotency.begin(sessions, KEYED, 30)
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
