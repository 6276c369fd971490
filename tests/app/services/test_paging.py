"""Paging: every row once, whatever is added meanwhile, and only with cursors of this service."""

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database.engine import Sessions, make_engine, make_sessions
from app.database.tables import Dataset, Model, ModelVersion
from app.errors import Invalid
from app.services.paging import Paging


def dataset(number: int) -> Dataset:
    return Dataset(
        id=f"ds_{number:06d}",
        name="n",
        task="t",
        format="csv",
        bytes=1,
        sha256="0",
        filename="f",
        summary={},
        warnings=[],
    )


def version(number: int) -> ModelVersion:
    return ModelVersion(
        model="m",
        version=number,
        job_id=f"job_{number}",
        dataset_id="d",
        task="t",
        network={},
        options={},
        parameters=1,
        metrics={},
        baseline={},
        artifact="a",
        bytes=1,
        sha256="0",
    )


def walk(session: Session, limit: int, between: Callable[[], None] = lambda: None) -> list[str]:
    """All ids, as a client that follows the cursors gets them."""
    ids: list[str] = []
    cursor = None
    while True:
        at = Paging.parse(limit, cursor)
        rows, cursor = at.page(list(session.scalars(at.apply(select(Dataset), Dataset.id))), "id")
        assert len(rows) <= limit
        ids += [row.id for row in rows]
        if cursor is None:
            return ids
        between()


@pytest.fixture(scope="module")
def one(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sessions]:
    path = tmp_path_factory.mktemp("paging") / "test.db"
    path.write_bytes(sqlite_template.read_bytes())
    engine = make_engine(f"sqlite:///{path}")
    yield make_sessions(engine)
    engine.dispose()


@given(
    numbers=st.sets(st.integers(0, 999_999), max_size=25),
    limit=st.integers(1, 30),
    added=st.lists(st.integers(0, 999_999), max_size=25, unique=True),
)
def test_every_row_is_listed_once_while_others_are_added(
    one: Sessions, numbers: set[int], limit: int, added: list[int]
) -> None:
    fresh = iter([number for number in added if number not in numbers])
    with one() as session:
        session.add_all(map(dataset, numbers))
        session.flush()

        def add() -> None:
            if (number := next(fresh, None)) is not None:
                session.add(dataset(number))
                session.flush()

        ids = walk(session, limit, add)
        session.rollback()
    assert len(ids) == len(set(ids))
    assert ids == sorted(ids, reverse=True)
    assert {f"ds_{number:06d}" for number in numbers} <= set(ids)


@pytest.mark.parametrize("limit", [1, 2, 5, 6, 200])
def test_pages_cut_a_list_where_they_should(sessions: Sessions, limit: int) -> None:
    with sessions.begin() as session:
        session.add_all(map(dataset, range(6)))
    with sessions() as session:
        assert walk(session, limit) == [f"ds_{number:06d}" for number in reversed(range(6))]


def test_a_row_that_is_deleted_meanwhile_breaks_no_walk(sessions: Sessions) -> None:
    with sessions.begin() as session:
        session.add_all(map(dataset, range(6)))

    with sessions.begin() as session:

        def drop_the_cursor_row() -> None:
            session.delete(session.get_one(Dataset, "ds_000004"))
            session.flush()

        at = Paging.parse(2, None)
        rows, cursor = at.page(list(session.scalars(at.apply(select(Dataset), Dataset.id))), "id")
        drop_the_cursor_row()
        at = Paging.parse(2, cursor)
        rest = list(session.scalars(at.apply(select(Dataset), Dataset.id)))
    assert [row.id for row in rows] == ["ds_000005", "ds_000004"]
    assert [row.id for row in rest] == ["ds_000003", "ds_000002", "ds_000001"]  # one more than the page


def test_numbers_are_paged_as_numbers(sessions: Sessions) -> None:
    with sessions.begin() as session:
        session.add(Model(name="m", id="model_1", task="t"))
        session.flush()
        session.add_all(map(version, range(8, 13)))
    ids, cursor = [], None
    with sessions() as session:
        for _ in range(3):
            at = Paging.parse(2, cursor)
            query = at.apply(select(ModelVersion), ModelVersion.version)
            rows, cursor = at.page(list(session.scalars(query)), "version")
            ids += [row.version for row in rows]
    assert ids == [12, 11, 10, 9, 8]
    assert cursor is None


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


@pytest.mark.parametrize("cursor", ["%%%", "a", "====", "_w==", "YQ", "YQ==\n", " YQ==", "é"])
def test_a_cursor_from_elsewhere_is_refused(cursor: str) -> None:
    with pytest.raises(Invalid) as caught:
        Paging.parse(10, cursor)
    assert caught.value.problems[0].pointer == "/query/cursor"


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "9" * 19, "9" * 5000, "²"])
def test_a_cursor_of_another_list_is_refused(text: str) -> None:
    at = Paging.parse(10, encoded(text))
    with pytest.raises(Invalid) as caught:
        at.apply(select(ModelVersion), ModelVersion.version)
    assert caught.value.problems[0].pointer == "/query/cursor"


def test_an_empty_list_is_one_page() -> None:
    assert Paging.parse(3, None).page([], "id") == ([], None)
