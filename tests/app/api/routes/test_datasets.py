"""Data sets over HTTP: what is accepted, what is refused with a place, and that refusals leave nothing."""

import base64
import gzip
import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from app.database.tables import Dataset
from app.errors import DatasetInvalid
from app.services import datasets
from tests.app.malformations import TABLES
from tests.app.malformed import MALFORMED, Malformed
from tests.support.factories import clips
from tests.support.fixtures.servers import Valkey, until
from tests.support.fixtures.service import Service, monthly, problem, service


def stored(running: Service) -> list[str]:
    """Whatever is left in the store and on the way to it."""
    incoming = [str(path) for path in running.state.incoming.iterdir()]
    return running.state.storage.keys("datasets") + incoming


def test_an_upload_becomes_a_data_set(running: Service) -> None:
    content = monthly()
    answer = running.upload(content, name="sales")
    assert answer.status_code == 201
    dataset = answer.json()
    assert answer.headers["location"] == f"/v1/datasets/{dataset['id']}"
    assert dataset["id"].startswith("ds_")
    assert (dataset["object"], dataset["name"], dataset["task"]) == ("dataset", "sales", "forecasting")
    assert (dataset["format"], dataset["bytes"]) == ("csv", len(content))
    assert dataset["sha256"] == hashlib.sha256(content).hexdigest()
    assert dataset["summary"]["series"] == 3
    assert dataset["summary"]["rows"] == 180
    assert dataset["summary"]["frequency"] == "MS"
    assert dataset["summary"]["missing_share"] == 0
    assert dataset["warnings"] == []
    assert running.http.get(answer.headers["location"]).json() == dataset
    assert running.http.get("/v1/datasets").json()["data"] == [dataset]
    again = running.http.get(f"/v1/datasets/{dataset['id']}/content")
    assert again.content == content


def test_uploads_that_take_long_keep_nobody_else_from_an_answer(
    on_sqlite: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def wait(*_: object) -> Dataset:
        begun.set()
        assert go_on.wait(60)
        raise DatasetInvalid("It took long enough.")

    monkeypatch.setattr(datasets, "ingest", wait)
    with ThreadPoolExecutor(50) as threads:
        uploads = [threads.submit(on_sqlite.upload, b"x") for _ in range(50)]
        try:
            assert begun.wait(30)
            assert on_sqlite.http.get("/readyz").json()["checks"]["database"] == "ok"
            assert on_sqlite.http.get("/v1/jobs/job_x/events").status_code == 404
        finally:
            go_on.set()
        assert {upload.result().status_code for upload in uploads} == {422}


def test_a_column_mapping_makes_a_foreign_table_fit(on_sqlite: Service) -> None:
    table = monthly().replace(b"unique_id,ds,y", b"shop,month,turnover")
    problem(on_sqlite.upload(table), 422)
    columns = json.dumps({"unique_id": "shop", "ds": "month", "y": "turnover"})
    answer = on_sqlite.upload(table, columns=columns)
    assert answer.status_code == 201, answer.text
    assert answer.json()["summary"]["series"] == 3


def test_json_lines_are_recognised(on_sqlite: Service) -> None:
    line = {"item_id": "a", "start": "2020-01-01", "freq": "D", "target": list(range(30))}
    answer = on_sqlite.upload(json.dumps(line).encode(), filename="upload")
    assert answer.status_code == 201
    assert answer.json()["format"] == "jsonl"


OFTEN = 30  # one in so many over HTTP; the others too in slow tests, and all without HTTP in `test_run_child`


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.name, marks=[pytest.mark.slow] if pointer % OFTEN else [])
        for table in TABLES
        for pointer, case in enumerate(table)
    ],
)
def test_a_malformed_file_gets_a_pointer_and_leaves_nothing(shared: Service, case: Malformed) -> None:
    answer = shared.upload(case.body, filename=case.filename, **case.fields)
    errors = problem(answer, 422)["errors"]
    fitting = [e for e in errors if case.pointer in e["pointer"] and case.word.lower() in e["detail"].lower()]
    assert fitting, errors
    assert len(errors) <= 20
    assert stored(shared) == []
    assert shared.http.get("/v1/datasets").json()["data"] == []


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, redis_server: Valkey
) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("shared")
    (directory / "test.db").write_bytes(sqlite_template.read_bytes())
    with service(directory, f"sqlite:///{directory / 'test.db'}", redis_server.url) as made:
        yield made


def test_there_are_at_least_thirty_kinds_of_malformed_files() -> None:
    assert len({case.name for case in MALFORMED}) >= 30


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"task": ""}, "/task"),
        ({"task": "knitting"}, "/task"),
        ({"format": "xls"}, "/format"),
        ({"colour": "red"}, "/colour"),
        ({"columns": "ds=month"}, "/columns"),
        ({"columns": '["ds"]'}, "/columns"),
        ({"columns": '{"ds": 3}'}, "/columns"),
    ],
)
def test_bad_form_fields_are_named(shared: Service, fields: dict[str, str], pointer: str) -> None:
    errors = problem(shared.upload(monthly(), **fields), 422)["errors"]
    assert pointer in {error["pointer"] for error in errors}
    assert stored(shared) == []


def test_a_form_without_a_file_is_refused(shared: Service) -> None:
    answer = shared.http.post("/v1/datasets", files={"task": (None, "forecasting")})
    assert problem(answer, 422)["errors"][0]["pointer"] == "/file"
    problem(shared.http.post("/v1/datasets", json={"task": "forecasting"}), 422)
    headers = {"content-type": "multipart/form-data; boundary=x"}
    problem(shared.http.post("/v1/datasets", content=b"--x\r\nbroken", headers=headers), 422)
    assert stored(shared) == []


def test_a_name_is_never_a_path(on_sqlite: Service) -> None:
    answer = on_sqlite.upload(monthly(), filename="../../../../tmp/evil.csv", name="../../evil")
    assert answer.status_code == 201
    keys = on_sqlite.state.storage.keys("datasets")
    assert keys == sorted(
        f"datasets/{answer.json()['id']}/{name}" for name in ("content", "arrays/arrays.npz", "preview.json")
    )


def test_an_upload_over_the_limit_is_refused_and_leaves_nothing(
    tmp_path: Path, sqlite_template: Path, redis_server: Valkey
) -> None:
    (tmp_path / "test.db").write_bytes(sqlite_template.read_bytes())
    url = f"sqlite:///{tmp_path / 'test.db'}"
    with service(tmp_path, url, redis_server.url, max_upload_bytes=1000) as small:
        for content in (monthly(), b"x" * 3_000_000):
            (fault,) = problem(small.upload(content), 413)["errors"]
            assert fault["pointer"] == "/file"
        assert stored(small) == []


def test_an_upload_cut_off_midway_leaves_nothing(on_sqlite: Service) -> None:
    def half() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="f.csv"\r\n\r\nunique_id,ds,y\n'
        raise ConnectionAbortedError

    headers = {"content-type": "multipart/form-data; boundary=b"}
    with pytest.raises((ConnectionAbortedError, httpx.HTTPError)):
        on_sqlite.http.post("/v1/datasets", content=half(), headers=headers)
    until(lambda: stored(on_sqlite) == [], what="the clean-up")


def test_deleting_a_data_set_removes_its_files(on_sqlite: Service) -> None:
    dataset = on_sqlite.dataset()
    assert on_sqlite.http.delete(f"/v1/datasets/{dataset}").status_code == 204
    problem(on_sqlite.http.get(f"/v1/datasets/{dataset}"), 404)
    problem(on_sqlite.http.get(f"/v1/datasets/{dataset}/content"), 404)
    problem(on_sqlite.http.delete(f"/v1/datasets/{dataset}"), 404)
    until(lambda: stored(on_sqlite) == [], what="the clean-up")


def test_a_data_set_that_a_live_job_needs_stays(running: Service) -> None:
    dataset = running.dataset()
    job = running.job(dataset=dataset)
    assert job in problem(running.http.delete(f"/v1/datasets/{dataset}"), 409)["detail"]
    running.http.post(f"/v1/jobs/{job}/cancel")
    assert running.http.delete(f"/v1/datasets/{dataset}").status_code == 204


def test_a_keyed_upload_is_stored_once(running: Service) -> None:
    files: Any = {"file": ("a.csv", monthly()), "task": (None, "forecasting")}
    headers = {"Idempotency-Key": "upload-1"}
    first = running.http.post("/v1/datasets", files=files, headers=headers)
    again = running.http.post("/v1/datasets", files=files, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    files["file"] = ("a.csv", monthly(series=2))
    problem(running.http.post("/v1/datasets", files=files, headers=headers), 422)
    with running.state.readers() as session:
        assert session.query(Dataset).count() == 1


def test_the_same_upload_is_the_same_data_set_unless_asked_otherwise(running: Service) -> None:
    first = running.upload(monthly(), name="sales")
    assert first.status_code == 201
    same = running.upload(monthly(), name="another", filename="again.csv")
    assert (same.status_code, same.json()) == (200, first.json())
    assert same.headers["location"] == first.headers["location"]
    assert running.upload(monthly(), format="csv").json() == first.json()
    files: Any = {"file": ("a.csv", monthly()), "task": (None, "forecasting")}
    copies = [running.http.post("/v1/datasets?duplicate=true", files=files) for _ in range(2)]
    assert [copy.status_code for copy in copies] == [201, 201]
    assert len({copy.json()["id"] for copy in (first, *copies)}) == 3
    assert len(running.http.get("/v1/datasets").json()["data"]) == 3


def test_other_columns_or_another_task_make_another_data_set(on_sqlite: Service) -> None:
    table = b"text,label,mood\n" + b"".join(b"text %d,%d,%d\n" % (n, n % 2, n % 3) for n in range(30))
    first = on_sqlite.upload(table, task="classification")
    other = on_sqlite.upload(table, task="classification", columns='{"label": "mood"}')
    assert (first.status_code, other.status_code) == (201, 201), other.text
    assert first.json()["id"] != other.json()["id"]
    assert other.json()["summary"]["columns"] == {"label": "mood"}
    assert on_sqlite.upload(table, task="classification").json()["id"] == first.json()["id"]


def test_a_deleted_data_set_is_uploaded_anew(on_sqlite: Service) -> None:
    first = on_sqlite.upload(monthly()).json()["id"]
    on_sqlite.http.delete(f"/v1/datasets/{first}")
    again = on_sqlite.upload(monthly())
    assert (again.status_code, again.json()["id"] != first) == (201, True)


def test_a_compressed_file_is_read_and_given_back_as_it_came(on_sqlite: Service) -> None:
    packed = gzip.compress(monthly())
    answer = on_sqlite.upload(packed, filename="series.csv.gz")
    assert answer.status_code == 201, answer.text
    dataset = answer.json()
    assert (dataset["format"], dataset["summary"]["series"], dataset["bytes"]) == ("csv", 3, len(packed))
    assert on_sqlite.http.get(f"/v1/datasets/{dataset['id']}/content").content == packed


def test_data_without_labels_are_stored_and_refused_for_training(on_sqlite: Service) -> None:
    answer = on_sqlite.upload(b'{"text":"great movie"}\n{"text":"awful movie"}\n', task="classification")
    assert answer.status_code == 201, answer.text
    dataset = answer.json()
    assert (dataset["summary"]["examples"], dataset["summary"]["trainable"]) == (2, False)
    body = {"task": "classification", "dataset": dataset["id"], "model": "mood"}
    for path, also in (("/v1/jobs", {}), ("/v1/sweeps", {"search": {"network.cell": ["gru", "lstm"]}})):
        [error] = problem(on_sqlite.http.post(path, json=body | also), 422)["errors"]
        assert error["pointer"] == "/dataset"
        assert "no labels" in error["detail"]
    assert on_sqlite.http.get("/v1/jobs").json()["data"] == []


def test_a_preview_shows_the_first_examples_as_they_were_understood(running: Service) -> None:
    dataset = running.dataset()
    path = f"/v1/datasets/{dataset}/preview"
    whole = running.http.get(path).json()
    assert (whole["dataset"], whole["task"], whole["has_more"]) == (dataset, "forecasting", False)
    assert [row["item_id"] for row in whole["data"]] == ["s0", "s1", "s2"]
    first = whole["data"][0]
    assert (first["freq"], first["length"], first["truncated"]) == ("MS", 60, False)
    assert first["timestamps"][:2] == ["2015-01-01", "2015-02-01"]
    assert first["values"][:2] == [100.0, 106.0]
    part = running.http.get(path, params={"limit": 2}).json()
    assert (part["data"], part["has_more"]) == (whole["data"][:2], True)


def test_a_preview_has_a_limit_and_needs_a_data_set(on_sqlite: Service) -> None:
    path = f"/v1/datasets/{on_sqlite.dataset()}/preview"
    for limit in ("0", "101", "ten", "-1"):
        assert problem(on_sqlite.http.get(path, params={"limit": limit}), 422)["errors"][0]["pointer"] == (
            "/query/limit"
        )
    problem(on_sqlite.http.get(path, params={"cursor": "x"}), 422)
    problem(on_sqlite.http.get("/v1/datasets/ds_none/preview"), 404)


def test_an_example_is_shown_as_a_whole(running: Service) -> None:
    line = {"item_id": "long", "start": "2020-01-01", "freq": "D", "target": list(range(500))}
    answer = running.upload("\n".join(map(json.dumps, (line, line | {"item_id": "b"}))).encode(), "x.jsonl")
    path = f"/v1/datasets/{answer.json()['id']}"
    (first, _) = running.http.get(f"{path}/preview").json()["data"]
    assert (len(first["values"]), first["truncated"]) == (100, True)
    whole = running.http.get(f"{path}/examples/0").json()
    assert (whole["dataset"], whole["task"]) == (answer.json()["id"], "forecasting")
    assert (whole["index"], whole["examples"]) == (0, 2)
    assert whole["example"]["values"] == [float(value) for value in range(500)]
    assert (len(whole["example"]["timestamps"]), whole["example"]["truncated"]) == (500, False)
    assert running.http.get(f"{path}/examples/1").json()["example"]["item_id"] == "b"
    assert list(running.state.incoming.iterdir()) == []


def test_an_example_that_is_a_file_has_its_content(on_sqlite: Service) -> None:
    answer = on_sqlite.upload(clips.sides(8), "sides.zip", task="video")
    whole = on_sqlite.http.get(f"/v1/datasets/{answer.json()['id']}/examples/3").json()["example"]
    with zipfile.ZipFile(io.BytesIO(clips.sides(8))) as archive:
        assert base64.b64decode(whole["video_base64"]) == archive.read(whole["video"])
    assert whole["label"] in ("left", "right")


def test_an_example_that_is_not_there_or_cannot_be_read(
    on_sqlite: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = on_sqlite.dataset()
    path = f"/v1/datasets/{dataset}/examples"
    assert "has 3 examples" in problem(on_sqlite.http.get(f"{path}/3"), 404)["detail"]
    problem(on_sqlite.http.get("/v1/datasets/ds_none/examples/0"), 404)
    for index in ("-1", "first", "9" * 30):
        (error,) = problem(on_sqlite.http.get(f"{path}/{index}"), 422)["errors"]
        assert error["pointer"] == "/path/index"
    monkeypatch.setattr(datasets, "MAX_DATASET_BYTES", 100)
    (error,) = problem(on_sqlite.http.get(f"{path}/0"), 422)["errors"]
    assert error["detail"].endswith("of which a request reads 100 at most")
    monkeypatch.undo()
    storage = on_sqlite.state.storage
    storage.write(f"datasets/{dataset}/arrays/arrays.npz", older_arrays())
    assert "An earlier version" in problem(on_sqlite.http.get(f"{path}/0"), 409)["detail"]
    assert list(on_sqlite.state.incoming.iterdir()) == []


def older_arrays() -> bytes:
    """Arrays that lack what readers of today store."""
    content = io.BytesIO()
    np.savez(content, values=np.zeros(3))
    return content.getvalue()


def test_a_data_set_of_before_gets_its_preview_when_it_is_asked_for(on_sqlite: Service) -> None:
    dataset, storage = on_sqlite.dataset(), on_sqlite.state.storage
    path, key = f"/v1/datasets/{dataset}/preview", f"datasets/{dataset}/preview.json"
    expected = on_sqlite.http.get(path).json()
    storage.delete_file(key)
    assert key not in storage.keys("datasets")
    assert on_sqlite.http.get(path).json() == expected
    assert key in storage.keys("datasets")
    assert list(on_sqlite.state.incoming.iterdir()) == []


def test_a_file_of_before_that_would_be_refused_today_has_no_preview(
    on_sqlite: Service, tmp_path: Path
) -> None:
    dataset, storage = on_sqlite.dataset(), on_sqlite.state.storage
    (tmp_path / "odd").write_bytes(b"unique_id,ds,y\na,2020-01-01,many\n")
    storage.delete_file(f"datasets/{dataset}/preview.json")
    storage.put(f"datasets/{dataset}/content", tmp_path / "odd")
    answer = on_sqlite.http.get(f"/v1/datasets/{dataset}/preview")
    assert "refused today" in problem(answer, 409)["detail"]
    assert list(on_sqlite.state.incoming.iterdir()) == []
