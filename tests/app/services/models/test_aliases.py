"""Aliases against real SQL: single versions, shares and shadows, also when two move at once."""

import threading
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import select

from app.database.engine import Sessions
from app.database.tables import Alias, ModelVersion
from app.errors import Invalid, NotFound
from app.schemas import AliasIn
from app.services.models import aliases, versions
from app.services.models.aliases import AliasTarget
from app.services.models.versions import PRODUCTION
from app.services.paging import Paging
from tests.app.services.models.test_versions import publish


@pytest.fixture
def three(sessions: Sessions) -> Sessions:
    assert [publish(sessions) for _ in range(3)] == [1, 2, 3]
    return sessions


def at(**request: Any) -> AliasTarget:
    return AliasTarget.from_request(AliasIn(**request))


def moved(sessions: Sessions, alias: str = PRODUCTION, **request: Any) -> Alias:
    with sessions.begin() as session:
        return aliases.move(session, "m", alias, at(**request))


# Requests


def test_a_request_names_one_version_or_several() -> None:
    assert at(version=3) == AliasTarget({3: 1.0}, None, {3: "/version"})
    assert at(version=3, shadow=4) == AliasTarget({3: 1.0}, 4, {3: "/version", 4: "/shadow"})
    assert at(versions={"4": 0.1, "3": 0.9}) == AliasTarget(
        {4: 0.1, 3: 0.9}, None, {4: "/versions/4", 3: "/versions/3"}
    )
    assert at(versions={"7": 1}, shadow=2).pointers == {7: "/versions/7", 2: "/shadow"}


@pytest.mark.parametrize(
    ("request_", "pointer"),
    [
        ({}, "/version"),
        ({"shadow": 1}, "/version"),
        ({"version": 1, "versions": {"1": 1.0}}, "/version"),
        ({"versions": {"1": 0.5, "2": 0.4}}, "/versions"),
        ({"versions": {"1": 0.5, "2": 0.500002}}, "/versions"),
        ({"versions": {"1": 2.0}}, "/versions"),
        ({"versions": {"1": 0.5, "one": 0.5}}, "/versions/one"),
        ({"versions": {"1": 0.5, "01": 0.5}}, "/versions/01"),
        ({"versions": {"1": 0.5, "0": 0.5}}, "/versions/0"),
        ({"versions": {"1": 0.5, "-2": 0.5}}, "/versions/-2"),
        ({"versions": {"1": 0.5, "2.0": 0.5}}, "/versions/2.0"),
        ({"versions": {"1": 0.5, "2 ": 0.5}}, "/versions/2 "),
        ({"versions": {"1": 0.5, "\u0662": 0.5}}, "/versions/\u0662"),
        ({"versions": {"1": 0.5, "2147483648": 0.5}}, "/versions/2147483648"),
        ({"versions": {"1": 0.5, "9" * 40: 0.5}}, "/versions/" + "9" * 40),
        ({"versions": {"1": 0.5, "a/b": 0.5}}, "/versions/a~1b"),
        ({"version": 1, "shadow": 1}, "/shadow"),
        ({"versions": {"1": 0.5, "2": 0.5}, "shadow": 2}, "/shadow"),
    ],
)
def test_what_does_not_fit_together_is_pointed_at(request_: dict[str, Any], pointer: str) -> None:
    with pytest.raises(Invalid) as caught:
        at(**request_)
    assert [problem.pointer for problem in caught.value.problems] == [pointer]
    assert caught.value.message.startswith(f"{pointer}: ")


@pytest.mark.parametrize(
    "versions",
    [
        {},
        {"1": 0.0, "2": 1.0},
        {"1": -0.5, "2": 1.5},
        {"1": float("nan")},
        {"1": float("inf")},
        {"1": "1"},
        {"1": True},
        {str(number): 1 / 17 for number in range(1, 18)},
        ["1"],
    ],
)
def test_shares_are_positive_finite_numbers_of_1_to_16_versions(versions: Any) -> None:
    with pytest.raises(ValidationError):
        AliasIn(versions=versions)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 16])
def test_shares_need_not_add_up_exactly(count: int) -> None:
    assert len(at(versions={str(number): 1 / count for number in range(1, count + 1)}).shares) == count
    assert len(at(versions={"1": 0.5, "2": 0.5 - 9e-7}).shares) == 2


# Moves


def test_an_alias_moves_forth_and_back_and_shows_when(three: Sessions) -> None:
    first = moved(three, version=2)
    second = moved(three, version=1)
    assert second.updated_at > first.updated_at
    assert (second.version, second.versions, second.shadow) == (1, {"1": 1.0}, None)
    with three() as session:
        (alias,) = aliases.list_page(session, "m", Paging(50, None))
        assert (alias.alias, alias.version) == (PRODUCTION, 1)


def test_shares_are_stored_in_order_and_the_largest_one_names_the_alias(three: Sessions) -> None:
    moved(three, versions={"3": 0.1, "2": 0.6, "1": 0.3}, shadow=None)
    with three() as session:
        alias = aliases.get(session, "m", PRODUCTION)
        assert (alias.version, list(alias.versions.items())) == (2, [("1", 0.3), ("2", 0.6), ("3", 0.1)])
        assert alias.referenced_versions == {1, 2, 3}


def test_of_equal_shares_the_older_version_is_the_alias(three: Sessions) -> None:
    assert moved(three, versions={"3": 0.5, "2": 0.5}).version == 2


def test_a_move_replaces_shares_and_shadow_whole(three: Sessions) -> None:
    assert moved(three, versions={"1": 0.5, "2": 0.5}, shadow=3).referenced_versions == {1, 2, 3}
    alone = moved(three, version=3)
    assert (alone.split, alone.shadow, alone.referenced_versions) == (None, None, {3})
    only = moved(three, versions={"2": 1.0}, shadow=1)
    assert (only.version, only.split, only.referenced_versions) == (2, None, {1, 2})
    with three() as session:
        assert session.execute(select(Alias.split, Alias.shadow)).one() == (None, 1)


@pytest.mark.parametrize(
    ("request_", "pointers"),
    [
        ({"version": 4}, ["/version"]),
        ({"versions": {"1": 0.5, "9": 0.5}}, ["/versions/9"]),
        ({"versions": {"8": 0.5, "9": 0.5}, "shadow": 7}, ["/versions/8", "/versions/9", "/shadow"]),
        ({"version": 1, "shadow": 4}, ["/shadow"]),
        ({"version": 1, "shadow": 2**31 - 1}, ["/shadow"]),
    ],
)
def test_an_alias_names_only_what_exists(
    three: Sessions, request_: dict[str, Any], pointers: list[str]
) -> None:
    with pytest.raises(NotFound) as caught:
        moved(three, "canary", **request_)
    assert [problem.pointer for problem in caught.value.problems] == pointers
    with three() as session:
        assert session.scalars(select(Alias.alias)).all() == [PRODUCTION]


def test_the_files_to_load_ahead_are_those_of_versions_that_exist(three: Sessions) -> None:
    with three() as session:
        stored = {row.version: versions.reference(row) for row in session.scalars(select(ModelVersion))}
        target = at(versions={"3": 0.5, "9": 0.25, "1": 0.25}, shadow=2)
        assert aliases.artifacts(session, "m", target) == [stored[3], stored[1], stored[2]]
        assert aliases.artifacts(session, "none", target) == []


def test_a_model_that_is_not_there_has_no_aliases(three: Sessions) -> None:
    with three() as session:
        for call in (
            lambda: aliases.move(session, "none", "canary", at(version=1)),
            lambda: aliases.list_page(session, "none", Paging(50, None)),
            lambda: aliases.get(session, "none", PRODUCTION),
        ):
            with pytest.raises(NotFound, match="no model none"):
                call()
        with pytest.raises(NotFound, match="no alias canary"):
            aliases.get(session, "m", "canary")


def test_an_alias_can_be_removed_once(three: Sessions) -> None:
    with three.begin() as session:
        aliases.remove(session, "m", PRODUCTION)
    for name in ("m", "none"):
        with pytest.raises(NotFound), three.begin() as session:
            aliases.remove(session, name, PRODUCTION)
    assert publish(three) == 4
    with three() as session:
        assert (
            aliases.list_page(session, "m", Paging(50, None)) == []
        )  # a later version does not take it by itself


def test_aliases_are_paged_by_name(three: Sessions) -> None:
    for name in ("stable", "canary", "best"):
        moved(three, name, version=1)
    with three() as session:
        paging, names = Paging(2, None), list[str]()
        for _ in range(2):
            rows, cursor = paging.page(aliases.list_page(session, "m", paging), "alias")
            names += [row.alias for row in rows]
            paging = Paging.parse(2, cursor)
    assert names == ["best", "canary", PRODUCTION, "stable"]
    assert cursor is None


def test_an_alias_resolves_to_its_versions_shares_and_shadow(three: Sessions) -> None:
    moved(three, versions={"2": 0.25, "1": 0.75}, shadow=3)
    with three() as session:
        resolved = aliases.resolve(session, "m", None, None)
        assert [(row.version, share) for row, share in resolved.answering] == [(1, 0.75), (2, 0.25)]
        assert resolved.shadow is not None
        assert resolved.shadow.version == 3
        named = aliases.resolve(session, "m", 2, None)
        assert [(row.version, share) for row, share in named.answering] == [(2, 1.0)]
        assert named.shadow is None


def test_moves_of_a_new_alias_at_once_take_turns(three: Sessions) -> None:
    for attempt in range(6):
        barrier = threading.Barrier(3)
        wrong: list[BaseException] = []

        def point(
            version: int, name: str = f"new{attempt}", barrier: threading.Barrier = barrier,
            wrong: list[BaseException] = wrong,
        ) -> None:  # fmt: skip
            barrier.wait()
            try:
                moved(three, name, versions={str(version): 0.5, "1": 0.5}, shadow=None)
            except Exception as error:  # noqa: BLE001 - whatever it is, the test must see it
                wrong.append(error)

        threads = [threading.Thread(target=point, args=(version,)) for version in (2, 3, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        with three() as session:
            alias = aliases.get(session, "m", f"new{attempt}")
            assert alias.referenced_versions in ({1, 2}, {1, 3})
