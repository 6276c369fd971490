"""Data sets: a failed upload leaves nothing, and no data set that a job needs is deleted."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, func, select

from app.database.engine import Sessions
from app.database.tables import Dataset, Job
from app.errors import Conflict, DatasetInvalid, Invalid, NotFound
from app.infrastructure.storage import Storage
from app.services import datasets
from app.services.jobs import control
from app.states import Status
from tests.app.services.jobs.test_leases import submit
from tests.support.fixtures.servers import until
from tests.support.fixtures.service import Service, monthly, problem, upload


def test_an_upload_is_ingested_and_stored(tmp_path: Path, storage: Storage) -> None:
    file = upload(tmp_path)
    dataset = datasets.ingest(file, 60)
    assert (dataset.name, dataset.filename, dataset.format) == ("series.csv", "series.csv", "csv")
    assert (dataset.bytes, dataset.sha256) == (file.bytes, file.sha256)
    datasets.store(storage, dataset, file)
    prefix = datasets.prefix(dataset.id)
    names = ("arrays/arrays.npz", "content", "preview.json")
    assert storage.keys("datasets") == [f"{prefix}/{name}" for name in names]
    preview = datasets.load_preview(storage, dataset.id)
    assert (preview["examples"], len(preview["rows"])) == (3, 3)
    assert b"".join(datasets.read_content(storage, dataset.id)) == file.path.read_bytes()


def test_an_explicit_name_and_format_are_used(tmp_path: Path) -> None:
    dataset = datasets.ingest(upload(tmp_path, filename="x.bin", name="sales", format="csv"), 60)
    assert (dataset.name, dataset.filename, dataset.format) == ("sales", "x.bin", "csv")


@pytest.mark.parametrize(
    ("fields", "pointer", "word"),
    [
        ({"task": "knitting"}, "/task", "forecasting"),
        ({"format": "xls"}, "/format", "csv"),
        ({"filename": "x.csv", "content": b"PK\x03\x04"}, "/format", "csv"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(
    tmp_path: Path, fields: dict[str, Any], pointer: str, word: str
) -> None:
    with pytest.raises(Invalid) as caught:
        datasets.ingest(upload(tmp_path, **fields), 60)
    (fault,) = caught.value.problems
    assert fault.pointer == pointer
    assert word in fault.detail


def test_a_faulty_file_leaves_no_arrays(tmp_path: Path) -> None:
    file = upload(tmp_path, b"unique_id,ds,y\na,2020-01-01,many\n")
    with pytest.raises(DatasetInvalid):
        datasets.ingest(file, 60)
    assert list((file.path.parent / "arrays").iterdir()) == []


def left(running: Service) -> list[str]:
    """All that is stored anywhere."""
    with running.state.readers() as session:
        rows = list(session.scalars(select(Dataset.id)))
    incoming = [path.name for path in running.state.incoming.iterdir()]
    return rows + running.state.storage.keys("datasets") + incoming


@pytest.mark.parametrize("which", ["content", "arrays.npz"])
def test_a_store_that_fails_midway_leaves_nothing(
    on_sqlite: Service, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    put = on_sqlite.state.storage.put

    def failing(key: str, path: Path) -> None:
        if key.endswith(which):
            raise OSError("the store is away")
        put(key, path)

    monkeypatch.setattr(on_sqlite.state.storage, "put", failing)
    problem(on_sqlite.upload(monthly()), 500)
    assert left(on_sqlite) == []
    monkeypatch.undo()
    assert on_sqlite.upload(monthly()).status_code == 201


def failing_inserts(times: int) -> Callable[..., None]:
    """Break the statement that stores a data set's row, so many times."""
    remaining = iter(range(times))

    def listener(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO datasets") and next(remaining, None) is not None:
            raise RuntimeError("the database fell over")

    return listener


def test_a_database_that_fails_after_the_files_takes_them_back(running: Service) -> None:
    engine = running.state.sessions.kw["bind"]
    event.listen(engine, "before_cursor_execute", failing_inserts(1))
    problem(running.upload(monthly()), 500)
    assert left(running) == []
    assert running.upload(monthly()).status_code == 201


def test_a_key_is_free_again_after_such_a_failure(running: Service) -> None:
    engine = running.state.sessions.kw["bind"]
    event.listen(engine, "before_cursor_execute", failing_inserts(1))
    files: Any = {"file": ("a.csv", monthly()), "task": (None, "forecasting")}
    headers = {"Idempotency-Key": "u-1"}
    problem(running.http.post("/v1/datasets", files=files, headers=headers), 500)
    first = running.http.post("/v1/datasets", files=files, headers=headers)
    assert first.status_code == 201
    again = running.http.post("/v1/datasets", files=files, headers=headers)
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["location"] == first.headers["location"]


@pytest.mark.parametrize(
    ("filename", "shown"), [("..", ".."), ("/", "file"), ("a/b/c.csv", "c.csv"), ("x" * 400, "x" * 255)]
)
def test_a_file_name_becomes_a_name(on_sqlite: Service, filename: str, shown: str) -> None:
    answer = on_sqlite.upload(monthly(), filename=filename)
    assert answer.status_code == 201, answer.text
    assert answer.json()["name"] == shown


def test_a_name_the_database_cannot_hold_is_no_fault_of_ours(running: Service) -> None:
    answer = running.upload(monthly(), name="a\x00b")
    assert answer.status_code in {201, 422}  # SQLite takes it
    if answer.status_code == 422:
        assert left(running) == []


@pytest.mark.parametrize("status", Status)
def test_a_data_set_stays_while_a_live_job_needs_it(
    sessions: Sessions, storage: Storage, status: Status
) -> None:
    row = {"name": "n", "format": "csv", "bytes": 1, "sha256": "0", "filename": "f", "warnings": []}
    with sessions.begin() as session:
        session.add(Dataset(id="ds_1", task="forecasting", summary={}, **row))
        session.get_one(Job, submit(session)).status = status
    if status in {Status.SUCCEEDED, Status.FAILED, Status.CANCELLED}:
        with sessions.begin() as session:
            datasets.remove(session, "ds_1")
    else:
        with pytest.raises(Conflict, match="job_"), sessions.begin() as session:
            datasets.remove(session, "ds_1")
    with sessions() as session:
        there = session.scalar(select(func.count()).select_from(Dataset))
    assert there == (1 if status in {Status.QUEUED, Status.RUNNING, Status.PAUSED} else 0)


def test_files_go_after_the_row_and_only_those_of_the_data_set(
    sessions: Sessions, storage: Storage, tmp_path: Path
) -> None:
    (tmp_path / "f").write_bytes(b"x")
    row = {"name": "n", "format": "csv", "bytes": 1, "sha256": "0", "filename": "f", "warnings": []}
    with sessions.begin() as session:
        for name in ("ds_1", "ds_10"):
            session.add(Dataset(id=name, task="forecasting", summary={}, **row))
            storage.put(f"{datasets.prefix(name)}/content", tmp_path / "f")
    with sessions.begin() as session:
        clean_up = datasets.remove(session, "ds_1")
        assert len(storage.keys("datasets")) == 2  # until the commit, the files are somebody's
    clean_up(storage)
    assert storage.keys("datasets") == ["datasets/ds_10/content"]
    with sessions() as session, pytest.raises(NotFound, match="ds_1"):
        datasets.get(session, "ds_1")
    with sessions.begin() as session, pytest.raises(NotFound):
        datasets.remove(session, "ds_1")


def test_an_ended_job_still_names_its_deleted_data_set(running: Service) -> None:
    dataset = running.dataset()
    job_id = running.job(dataset=dataset)
    with running.state.sessions.begin() as session:
        control.cancel(session, job_id)
    assert running.http.delete(f"/v1/datasets/{dataset}").status_code == 204
    assert running.http.get(f"/v1/jobs/{job_id}").json()["dataset"] == dataset
    until(lambda: left(running) == [], what="the clean-up")
