"""Models and versions against real SQL, also when one is deleted while an alias moves to it."""

import threading

import pytest

from app.database.engine import Sessions
from app.database.tables import Alias, ModelVersion
from app.errors import AppError, Conflict, NotFound
from app.services.jobs import leases
from app.services.models import aliases, versions
from app.services.models.aliases import AliasTarget
from app.services.models.versions import PRODUCTION, TrainingOutcome
from app.services.paging import Paging
from tests.app.services.jobs.test_leases import claimed, submit


def publish(sessions: Sessions, model: str = "m") -> int:
    with sessions.begin() as session:
        job_id = submit(session, model)
    lease = claimed(sessions, job_id)
    with sessions.begin() as session:
        number = leases.succeed(session, lease, TrainingOutcome(f"artifacts/{job_id}", 1, 1, "0", {}, {}))
    assert number is not None
    return number


@pytest.fixture
def three(sessions: Sessions) -> Sessions:
    assert [publish(sessions) for _ in range(3)] == [1, 2, 3]
    return sessions


def at(shares: dict[int, float], shadow: int | None = None) -> AliasTarget:
    pointers = {number: f"/versions/{number}" for number in shares}
    return AliasTarget(shares, shadow, pointers if shadow is None else {**pointers, shadow: "/shadow"})


def test_models_are_listed_newest_first(sessions: Sessions) -> None:
    for name in ("b", "c", "a"):
        publish(sessions, name)
    with sessions() as session:
        assert [model.name for model in versions.list_models(session, Paging(50, None))] == ["a", "c", "b"]


def test_each_model_counts_for_itself(sessions: Sessions) -> None:
    assert [publish(sessions, name) for name in ("m", "n", "m", "n", "n")] == [1, 1, 2, 2, 3]
    with sessions() as session:
        assert [one.version for one in versions.list_versions(session, "n", Paging(50, None))] == [3, 2, 1]
        assert versions.latest_number(session, "m") == 2
        assert versions.latest_number(session, "none") is None


@pytest.mark.parametrize(
    ("number", "alias", "version"),
    [(None, None, 1), (3, None, 3), (None, "canary", 2), (None, "split", 3), (None, PRODUCTION, 1)],
)
def test_a_job_names_a_version_or_an_alias_or_nothing(
    three: Sessions, number: int | None, alias: str | None, version: int
) -> None:
    with three.begin() as session:
        aliases.move(session, "m", "canary", at({2: 1.0}))
        aliases.move(session, "m", "split", at({2: 0.2, 3: 0.8}, shadow=1))
        assert versions.resolve_version(session, "m", number, alias).version == version


@pytest.mark.parametrize(
    ("name", "number", "alias"), [("none", None, None), ("none", 1, None), ("m", 4, None), ("m", None, "x")]
)
def test_what_does_not_exist_is_not_found(
    three: Sessions, name: str, number: int | None, alias: str | None
) -> None:
    for look in (versions.resolve_version, aliases.resolve):
        with three() as session, pytest.raises(NotFound):
            look(session, name, number, alias)


def test_a_version_goes_when_no_alias_names_it(three: Sessions) -> None:
    with three.begin() as session:
        aliases.move(session, "m", "canary", at({2: 1.0}))
    for number, alias in ((1, PRODUCTION), (2, "canary")):
        with pytest.raises(Conflict, match=alias), three.begin() as session:
            versions.remove_version(session, "m", number)
    with three.begin() as session:
        prefix = versions.remove_version(session, "m", 3)
    assert prefix.startswith("artifacts/job_")
    with three() as session:
        assert versions.latest_number(session, "m") == 2
        with pytest.raises(NotFound, match="no version 3"):
            versions.get_version(session, "m", 3)
    with pytest.raises(NotFound), three.begin() as session:
        versions.remove_version(session, "m", 3)
    assert publish(three) == 4  # a number is never used again


def test_a_small_share_and_a_shadow_hold_a_version_too(three: Sessions) -> None:
    with three.begin() as session:
        aliases.move(session, "m", PRODUCTION, at({1: 0.99, 2: 0.01}, shadow=3))
        aliases.move(session, "m", "best", at({3: 1.0}))
    for number, named in ((2, PRODUCTION), (3, f"best, {PRODUCTION}")):
        with pytest.raises(Conflict, match=f"{named} names version {number}"), three.begin() as session:
            versions.remove_version(session, "m", number)
    with three.begin() as session:
        aliases.move(session, "m", PRODUCTION, at({1: 1.0}))
        versions.remove_version(session, "m", 2)


@pytest.mark.parametrize("role", ["alone", "share", "shadow"])
def test_a_version_is_not_deleted_under_an_alias_that_moves_to_it(sessions: Sessions, role: str) -> None:
    publish(sessions)
    for _ in range(6):
        number = publish(sessions)
        share = {"alone": {number: 1.0}, "share": {1: 0.9, number: 0.1}, "shadow": {1: 1.0}}[role]
        target = at(share, number if role == "shadow" else None)
        barrier = threading.Barrier(2)
        outcomes: list[str] = []

        def attempt(
            what: str, number: int = number, target: AliasTarget = target,
            barrier: threading.Barrier = barrier, outcomes: list[str] = outcomes,
        ) -> None:  # fmt: skip
            barrier.wait()
            try:
                with sessions.begin() as session:
                    if what == "move":
                        aliases.move(session, "m", "canary", target)
                    else:
                        versions.remove_version(session, "m", number)
            except AppError:
                return
            outcomes.append(what)

        threads = [threading.Thread(target=attempt, args=(what,)) for what in ("move", "remove")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with sessions() as session:
            alias = session.get(Alias, ("default", "m", "canary"))
            exists = session.get(ModelVersion, ("default", "m", number)) is not None
        assert len(outcomes) == 1, outcomes
        assert exists == (alias is not None and number in alias.referenced_versions)
