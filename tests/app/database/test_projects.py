"""A session sees and changes what its project has, whatever the statement forgets."""

import pytest
from sqlalchemy import Engine, delete, exists, func, select, update
from sqlalchemy.exc import IntegrityError

from app.database.engine import make_sessions
from app.database.projects import ALL_PROJECTS, DEFAULT_PROJECT, enter_project, own_project
from app.database.tables import Dataset, IdempotencyKey, Model, ModelVersion, Worker


def dataset(name: str, project: str | None = None) -> Dataset:
    owned = {} if project is None else {"project": project}
    return Dataset(
        id=name, name=name, task="t", format="csv", bytes=3, sha256="0", filename="f", summary={},
        warnings=[], **owned,
    )  # fmt: skip


@pytest.fixture
def filled(engine: Engine) -> Engine:
    """A data set in each of two projects, and a model of the same name."""
    for project in ("a", "b"):
        with make_sessions(engine, project).begin() as session:
            session.add(dataset(f"ds_{project}"))
            session.add(Model(id=f"model_{project}", name="m", task="t", versions=0))
    return engine


def test_every_statement_is_restricted(filled: Engine) -> None:
    with make_sessions(filled, "a").begin() as session:
        assert [row.id for row in session.scalars(select(Dataset))] == ["ds_a"]
        assert session.get(Dataset, "ds_b") is None
        assert session.get(Dataset, "ds_b", with_for_update=True) is None
        assert session.scalar(select(func.count()).select_from(Dataset)) == 1
        assert session.scalar(select(func.sum(Dataset.bytes))) == 3
        assert session.scalars(select(Model.id).where(Model.name == "m")).all() == ["model_a"]
        within = select(Worker.id).where(exists().where(Dataset.id == "ds_b"))
        assert session.scalars(within).all() == []
        joined = select(Model.id, Dataset.id).join(Dataset, Dataset.id != Model.id)
        assert session.execute(joined).all() == [("model_a", "ds_a")]
        changed = update(Dataset).values(name="mine").returning(Dataset.id)
        assert session.scalars(changed.execution_options(synchronize_session=False)).all() == ["ds_a"]
        session.execute(delete(Model))
    with make_sessions(filled, ALL_PROJECTS)() as session:
        rows = session.execute(select(Dataset.id, Dataset.name).order_by(Dataset.id)).all()
        assert rows == [("ds_a", "mine"), ("ds_b", "ds_b")]
        assert session.scalars(select(Model.id)).all() == ["model_b"]


def test_what_is_added_is_the_projects_own(filled: Engine) -> None:
    with make_sessions(filled, "a")() as session:
        session.add(dataset("ds_2", project="b"))
        with pytest.raises(LookupError, match="another project"):
            session.flush()
    with make_sessions(filled, ALL_PROJECTS)() as session:
        session.add(dataset("ds_3"))
        with pytest.raises(LookupError, match="sees all projects"):
            session.flush()
    with make_sessions(filled)() as session:
        session.add(row := dataset("ds_4"))
        session.flush()
        assert row.project == DEFAULT_PROJECT


def test_names_belong_to_a_project(filled: Engine) -> None:
    with make_sessions(filled, ALL_PROJECTS)() as session:
        with pytest.raises(LookupError):
            own_project(session)
        enter_project(session, "b")
        assert own_project(session) == "b"
        model = session.get(Model, ("b", "m"))
        assert model is not None
        assert model.id == "model_b"
    key = {"route": "POST /v1/jobs", "key": "k", "fingerprint": "f", "locked_until": 0.0}
    for project in ("a", "b"):
        with make_sessions(filled, project).begin() as session:
            session.add(IdempotencyKey(**key))
    with pytest.raises(IntegrityError), make_sessions(filled, "a").begin() as session:
        session.add(IdempotencyKey(**key))


def test_a_version_goes_with_the_model_of_its_own_project(filled: Engine) -> None:
    version = {
        "model": "m", "version": 1, "dataset_id": "d", "task": "t", "network": {}, "options": {},
        "parameters": 1, "metrics": {}, "baseline": {}, "artifact": "a", "bytes": 1, "sha256": "0",
    }  # fmt: skip
    for project in ("a", "b"):
        with make_sessions(filled, project).begin() as session:
            session.add(ModelVersion(job_id=f"job_{project}", **version))
    with make_sessions(filled, "a").begin() as session:
        session.delete(session.get_one(Model, ("a", "m")))
    with make_sessions(filled, ALL_PROJECTS)() as session:
        assert session.scalars(select(ModelVersion.job_id)).all() == ["job_b"]
