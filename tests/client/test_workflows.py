"""From data to a version and to predictions, against a server that is played; by both clients."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest

from recurra import AsyncClient, Conflict, InvalidInput, InvalidRequest, JobFailed
from recurra.errors import Json
from recurra.workflows import MAX_REQUEST_INSTANCES
from tests.client.callers import CALLERS, Caller

FRAME = pd.DataFrame({"day": ["2026-01-01", "2026-01-02"], "sold": [1.0, 2.0]})
ROLES: Json = {"time": "day", "target": "sold"}


class PlayedServer:
    """A service whose jobs end at once; it remembers what it was sent."""

    def __init__(self, task: str, status: str = "succeeded") -> None:
        self.task, self.status = task, status
        self.dataset_name = "d"  # of the only data set
        self.uploads, self.jobs, self.questions = list[str](), list[Json](), list[tuple[str, Json]]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path, body = request.url.path, request.read()
        answer = (
            self.posted(path, str(request.url.query, "ascii"), body) if request.method == "POST" else None
        )
        return httpx.Response(200, json=answer or self.read(path))

    def posted(self, path: str, query: str, body: bytes) -> Json:
        if path == "/v1/datasets":
            self.uploads.append(body.decode())
            return self.dataset
        if path.endswith("/predict"):
            self.questions.append((query, json.loads(body)))
            count = len(json.loads(body).get("instances", [0]))
            return {"version": 3, "predictions": [{"label": "a", "scores": {"a": 1.0}}] * count}
        self.jobs.append(json.loads(body) | {"path": path})
        return self.job

    def read(self, path: str) -> Json:
        if path.startswith("/v1/datasets/"):
            return self.dataset
        if path.startswith("/v1/jobs/"):
            return self.job
        if "/versions/" in path:
            return {"model": "m", "version": 3, "dataset": "ds_1", "options": {}}
        return {"name": "m", "task": self.task, "aliases": {"production": 3}, "latest_version": 3}

    @property
    def dataset(self) -> Json:
        return {
            "id": "ds_1",
            "name": self.dataset_name,
            "task": self.task,
            "bytes": 1,
            "summary": {},
            "warnings": [],
        }

    @property
    def job(self) -> Json:
        error = {"code": "no-space", "message": "the disk is full"} if self.status == "failed" else None
        return {
            "id": "job_1",
            "kind": "train",
            "status": self.status,
            "model": "m",
            "model_version": 3,
            "error": error,
        }


@pytest.fixture(params=CALLERS)
def through(request: pytest.FixtureRequest) -> Caller:
    return CALLERS[request.param]


def test_a_training_uploads_and_submits_what_was_said(through: Caller) -> None:
    server = PlayedServer("forecasting")
    server.dataset_name = "shop"
    model = through(
        server,
        lambda client: client.train(
            FRAME,
            task="forecasting",
            model="m",
            horizon=1,
            level=[90],
            name="shop",
            network={"cell": "gru"},
            **ROLES,
        ),
    )
    (upload,) = server.uploads
    assert "day,sold\n2026-01-01,1.0\n2026-01-02,2.0\n" in upload
    parts = dict(re.findall(r'name="(\w+)"\r\n\r\n(.*)\r\n', upload))
    assert parts == {
        "task": "forecasting", "name": "shop", "format": "csv", "columns": '{"ds": "day", "y": "sold"}',
    }  # fmt: skip
    assert server.jobs == [
        {"task": "forecasting", "dataset": "ds_1", "model": "m", "network": {"cell": "gru"},
         "options": {"horizon": 1, "quantiles": [0.05, 0.5, 0.95]}, "path": "/v1/jobs"}
    ]  # fmt: skip
    assert (model.name, model.number) == ("m", 3)


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_job_that_fails_is_an_error_with_its_reason(through: Caller, status: str) -> None:
    def use(client: Any) -> Any:
        return client.train(FRAME, task="forecasting", model="m", horizon=1, **ROLES)

    with pytest.raises(JobFailed, match=f"job_1 {status}") as caught:
        through(PlayedServer("forecasting", status), use)
    assert ("the disk is full (no-space)" in str(caught.value)) == (status == "failed")
    assert caught.value.job["status"] == status


def test_what_is_there_is_not_uploaded(through: Caller, tmp_path: Path) -> None:
    server, path = PlayedServer("classification"), tmp_path / "mood.csv"
    path.write_text("review,label\na,x\n")
    through(server, lambda client: client.start_training("ds_1", task="classification", model="m"))
    assert server.uploads == []
    for data in (path, str(path)):
        through(
            server,
            lambda client, data=data: client.start_training(
                data, task="classification", model="m", text="review", metadata={"team": "ops"}
            ),
        )
    assert ["review,label\na,x\n" in upload for upload in server.uploads] == [True, True]
    assert '"text": "review"' in server.uploads[0]
    assert [job.get("metadata") for job in server.jobs] == [None, {"team": "ops"}, {"team": "ops"}]
    with pytest.raises(InvalidInput, match="tine is no role"):
        through(server, lambda client: client.add_dataset(FRAME, task="forecasting", tine="day"))


def test_a_name_of_data_that_are_known_is_not_silently_lost(through: Caller) -> None:
    server = PlayedServer("forecasting")  # whose only data set is called d
    add = {"task": "forecasting", **ROLES}
    with pytest.warns(UserWarning, match="stored already, as 'd' .ds_1.; they keep that name, not 'sales'"):
        through(server, lambda client: client.add_dataset(FRAME, name="sales", **add))
    for name in ("d", None):
        assert through(server, lambda client, name=name: client.add_dataset(FRAME, name=name, **add)).id


def test_all_parts_of_a_large_request_are_answered_by_one_version(through: Caller) -> None:
    server = PlayedServer("classification")

    texts = ["text"] * (MAX_REQUEST_INSTANCES + 1)

    async def ask(client: AsyncClient) -> Any:
        return await (await client.model("m")).predict(texts, top_k=1)

    def use(client: Any) -> Any:
        return ask(client) if isinstance(client, AsyncClient) else client.model("m").predict(texts, top_k=1)

    assert len(through(server, use)) == len(texts)
    assert [query for query, _ in server.questions] == ["", "version=3"]
    assert all(body["parameters"] == {"top_k": 1} for _, body in server.questions)


def predicted(server: Any, through: Caller, data: Any) -> Any:
    async def ask(client: AsyncClient) -> Any:
        return await (await client.model("m")).predict(data)

    def use(client: Any) -> Any:
        return ask(client) if isinstance(client, AsyncClient) else client.model("m").predict(data)

    return through(server, use)


def test_the_id_of_a_data_set_is_predicted_as_one(through: Caller) -> None:
    server = PlayedServer("classification")
    assert len(predicted(server, through, "ds_1")) == 1
    assert server.questions[0][1] == {"dataset": "ds_1"}


@pytest.mark.parametrize("task", ["forecast", "clasification"])
def test_a_task_that_is_misspelled_is_named(through: Caller, task: str) -> None:
    with pytest.raises(InvalidInput, match=f"no task {task}; did you mean (forecasting|classification)"):
        through(PlayedServer(task), lambda client: client.train(FRAME, task=task, model="m", **ROLES))


def refusing(path: str, status: int, detail: str, pointer: str) -> Any:
    """A service that refuses one kind of request with one fault."""
    played, errors = PlayedServer("classification"), [{"pointer": pointer, "detail": detail}]

    def answer(request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith(path) or (request.method == "GET" and path != "/result"):
            return played(request)
        problem = {"status": status, "detail": "It cannot be used", "errors": errors}
        return httpx.Response(status, json=problem)

    return answer


def test_faults_are_in_the_words_of_the_frame(through: Caller) -> None:
    server = refusing("/datasets", 422, "Duplicate time stamp", "/file/row/3/column/y")
    frame = FRAME.assign(shop=["a", "b"]).set_index(pd.Index([10, 11]))
    with pytest.raises(InvalidRequest) as caught:
        through(server, lambda client: client.add_dataset(frame, task="forecasting", **ROLES))
    assert "/file/row/3/column/y: Duplicate time stamp [column sold, row 11]" in str(caught.value)
    assert 'id="shop"' in str(caught.value)
    assert caught.value.errors[0]["pointer"] == "/file/row/3/column/y"
    server = refusing("/predict", 422, "is too long", "/instances/1/text")
    with pytest.raises(InvalidRequest, match=r"/instances/1/text: is too long \[row 8\]"):
        predicted(server, through, pd.DataFrame({"text": ["a", "b"]}, index=[7, 8]))


def test_a_result_that_is_not_there_says_to_wait(through: Caller) -> None:
    async def ask(client: AsyncClient) -> Any:
        return await (await client.job("job_1")).result()

    def use(client: Any) -> Any:
        return ask(client) if isinstance(client, AsyncClient) else client.job("job_1").result()

    with pytest.raises(Conflict, match=r"wait for it with job\.wait\(\)"):
        through(refusing("/result", 409, "", ""), use)
