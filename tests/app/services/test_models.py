"""Versions and aliases against real SQL, also when two move at once."""

import threading

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db import Sessions
from app.errors import AppError, Conflict, NotFound
from app.services import leases, models
from app.services.models import PRODUCTION, Outcome
from app.services.paging import Paging
from app.tables import Alias, ModelVersion
from tests.app.services.test_leases import claimed, submit


def publish(sessions: Sessions, model: str = "m") -> int:
    with sessions.begin() as session:
        job_id = submit(session, model)
    lease = claimed(sessions, job_id)
    with sessions.begin() as session:
        number = leases.succeed(session, lease, Outcome(f"artifacts/{job_id}", 1, 1, "0", {}, {}))
    assert number is not None
    return number


@pytest.fixture
def three(sessions: Sessions) -> Sessions:
    assert [publish(sessions) for _ in range(3)] == [1, 2, 3]
    return sessions


def pointed(session: Session, alias: str = PRODUCTION) -> int:
    return session.get_one(Alias, ("m", alias)).version


def test_models_are_listed_newest_first(sessions: Sessions) -> None:
    for name in ("b", "c", "a"):
        publish(sessions, name)
    with sessions() as session:
        assert [model.name for model in models.find(session, Paging(50, None))] == ["a", "c", "b"]


def test_each_model_counts_for_itself(sessions: Sessions) -> None:
    assert [publish(sessions, name) for name in ("m", "n", "m", "n", "n")] == [1, 1, 2, 2, 3]
    with sessions() as session:
        assert [one.version for one in models.versions(session, "n", Paging(50, None))] == [3, 2, 1]
        assert models.latest(session, "m") == 2
        assert models.latest(session, "none") is None


@pytest.mark.parametrize(
    ("number", "alias", "version"),
    [(None, None, 1), (3, None, 3), (None, "canary", 2), (None, PRODUCTION, 1)],
)
def test_a_prediction_names_a_version_or_an_alias_or_nothing(
    three: Sessions, number: int | None, alias: str | None, version: int
) -> None:
    with three.begin() as session:
        models.move_alias(session, "m", "canary", 2)
        assert models.resolve(session, "m", number, alias).version == version


@pytest.mark.parametrize(
    ("name", "number", "alias"), [("none", None, None), ("none", 1, None), ("m", 4, None), ("m", None, "x")]
)
def test_what_is_not_there_is_named(
    three: Sessions, name: str, number: int | None, alias: str | None
) -> None:
    with three() as session, pytest.raises(NotFound):
        models.resolve(session, name, number, alias)


def test_an_alias_moves_forth_and_back_and_shows_when(three: Sessions) -> None:
    with three.begin() as session:
        first = models.move_alias(session, "m", PRODUCTION, 2).updated_at
    with three.begin() as session:
        assert models.move_alias(session, "m", PRODUCTION, 1).updated_at > first
        assert pointed(session) == 1
        assert [alias.alias for alias in models.aliases(session, "m")] == [PRODUCTION]


@pytest.mark.parametrize(("name", "number"), [("none", 1), ("m", 4)])
def test_an_alias_points_only_at_what_exists(three: Sessions, name: str, number: int) -> None:
    with pytest.raises(NotFound), three.begin() as session:
        models.move_alias(session, name, "canary", number)
    with three() as session:
        assert session.scalars(select(Alias.alias)).all() == [PRODUCTION]


def test_an_alias_can_be_removed_once(three: Sessions) -> None:
    with three.begin() as session:
        models.remove_alias(session, "m", PRODUCTION)
    for name in ("m", "none"):
        with pytest.raises(NotFound), three.begin() as session:
            models.remove_alias(session, name, PRODUCTION)
    assert publish(three) == 4
    with three() as session:
        assert models.aliases(session, "m") == []  # a later version does not take it by itself


def test_a_version_goes_when_no_alias_points_at_it(three: Sessions) -> None:
    with three.begin() as session:
        models.move_alias(session, "m", "canary", 2)
    for number, alias in ((1, PRODUCTION), (2, "canary")):
        with pytest.raises(Conflict, match=alias), three.begin() as session:
            models.remove_version(session, "m", number)
    with three.begin() as session:
        prefix = models.remove_version(session, "m", 3)
    assert prefix.startswith("artifacts/job_")
    with three() as session:
        assert models.latest(session, "m") == 2
        with pytest.raises(NotFound, match="no version 3"):
            models.version(session, "m", 3)
    with pytest.raises(NotFound), three.begin() as session:
        models.remove_version(session, "m", 3)
    assert publish(three) == 4  # a number is never used again


def test_a_version_is_not_deleted_under_an_alias_that_moves_to_it(sessions: Sessions) -> None:
    for _ in range(8):
        number = publish(sessions)
        barrier = threading.Barrier(2)
        outcomes: list[str] = []

        def attempt(
            what: str, number: int = number, barrier: threading.Barrier = barrier, told: list[str] = outcomes
        ) -> None:
            barrier.wait()
            try:
                with sessions.begin() as session:
                    if what == "move":
                        models.move_alias(session, "m", "canary", number)
                    else:
                        models.remove_version(session, "m", number)
            except AppError:
                return
            told.append(what)

        threads = [threading.Thread(target=attempt, args=(what,)) for what in ("move", "remove")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with sessions() as session:
            alias = session.get(Alias, ("m", "canary"))
            exists = session.get(ModelVersion, ("m", number)) is not None
        if alias is not None and alias.version == number:
            assert exists
        if number > 1:
            assert len(outcomes) == 1, outcomes
