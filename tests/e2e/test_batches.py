"""Batch prediction as a stranger would use it: `recurra up`, then HTTP and nothing else."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.fixtures.servers import until
from tests.support.fixtures.stack import Stack

MONTHS = 14
SERIES = 6200  # four parts
EVERY = 1000  # of which one has no value


def values(name: int) -> list[float | None]:
    if name % EVERY == 0:
        return [None] * MONTHS
    return [round(100 + name % 17 + month + 5 * (month % 12) * (1 + name % 3), 1) for month in range(MONTHS)]


def table() -> bytes:
    rows = ["unique_id,ds,y"]
    stamps = [f"{2020 + month // 12}-{month % 12 + 1:02d}-01" for month in range(MONTHS)]
    for name in range(SERIES):
        told = ("" if value is None else value for value in values(name))
        rows += [f"s{name},{stamp},{value}" for stamp, value in zip(stamps, told, strict=True)]
    return "\n".join(rows).encode()


@pytest.fixture(scope="module")
def model(stack: Stack) -> str:
    job = stack.wait(stack.submit(stack.upload(), "batched"))
    assert job["status"] == "succeeded", job["error"]
    return "batched"


@pytest.fixture(scope="module")
def dataset(stack: Stack, model: str) -> str:
    files: Any = {"file": ("many.csv", table()), "task": (None, "forecasting")}
    answer = stack.http.post("/v1/datasets", files=files)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def submit(stack: Stack, dataset: str) -> str:
    body = {"dataset": dataset, "parameters": {"horizon": 3, "quantiles": [0.1, 0.9]}}
    answer = stack.http.post("/v1/models/batched/batch-predictions", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def result(stack: Stack, job_id: str) -> bytes:
    return stack.http.get(f"/v1/jobs/{job_id}/result").raise_for_status().content


@pytest.fixture(scope="module")
def undisturbed(stack: Stack, dataset: str) -> bytes:
    job = stack.wait(submit(stack, dataset))
    assert job["status"] == "succeeded", job["error"]
    assert (job["kind"], job["model_version"], job["attempt"]) == ("batch_predict", 1, 1)
    assert job["metrics"] == {"instances": SERIES, "failed": -(-SERIES // EVERY)}
    return result(stack, job["id"])


def test_every_series_has_the_answer_that_a_request_gets(stack: Stack, undisturbed: bytes) -> None:
    found = [json.loads(line) for line in undisturbed.splitlines()]
    assert [line["index"] for line in found] == list(range(SERIES))
    names = range(1, SERIES, 61)
    instances = [
        {"values": values(name), "start": "2020-01-01", "freq": "MS", "item_id": f"s{name}"}
        for name in names
        if name % EVERY
    ]
    body = {"instances": instances, "parameters": {"horizon": 3, "quantiles": [0.1, 0.9]}}
    answer = stack.http.post("/v1/models/batched/predict", json=body).raise_for_status().json()
    by_name = {line["item_id"]: line for line in found if "item_id" in line}
    for wanted in answer["predictions"]:
        line = by_name[wanted["item_id"]]
        assert line.keys() == {"index", "item_id", "prediction"}
        prediction = line["prediction"]
        assert prediction.keys() == wanted.keys()
        assert prediction["mean"] == pytest.approx(wanted["mean"], rel=1e-6)
        for level, quantile in wanted["quantiles"].items():
            assert prediction["quantiles"][level] == pytest.approx(quantile, rel=1e-6)
        assert prediction["timestamps"] == wanted["timestamps"] == ["2021-03-01", "2021-04-01", "2021-05-01"]
    for index in range(0, SERIES, EVERY):
        error = {"pointer": "/values", "detail": "At least one value must be observed."}
        assert found[index] == {"index": index, "item_id": f"s{index}", "error": error}


def test_a_killed_child_changes_nothing_and_live_requests_go_on(
    stack: Stack, dataset: str, undisturbed: bytes
) -> None:
    job_id = submit(stack, dataset)
    parts = stack.data_dir / "storage" / "results" / job_id
    until(lambda: parts.is_dir() and any(parts.iterdir()), 60, "the first part", every=0.01)
    os.kill(stack.process("workers.batch.child"), signal.SIGKILL)
    assert stack.predict("batched").status_code == 200
    job = stack.wait(job_id)
    assert (job["status"], job["attempt"]) == ("succeeded", 2), job["error"]
    assert result(stack, job_id) == undisturbed


def test_a_running_batch_tells_how_far_it_is_and_is_cancelled(stack: Stack, dataset: str) -> None:
    job_id = submit(stack, dataset)
    until(lambda: (stack.job(job_id)["progress"] or {}).get("instances", 0) > 0, 60, "progress", every=0.01)
    progress = stack.job(job_id)["progress"]
    assert 0 < progress["fraction"] < 1
    assert (progress["total"], progress["samples_per_second"] > 0) == (SERIES, True)
    assert progress["eta_seconds"] > 0
    assert stack.http.get(f"/v1/jobs/{job_id}/result").status_code == 409
    assert stack.http.post(f"/v1/jobs/{job_id}/cancel").status_code == 202
    assert stack.wait(job_id, "cancelled", seconds=10)["status"] == "cancelled"
    parts: Path = stack.data_dir / "storage" / "results" / job_id
    until(lambda: not parts.is_dir() or not any(parts.iterdir()), 10, "the end of its parts")


def test_the_story_is_told_as_events(stack: Stack, dataset: str, undisturbed: bytes) -> None:
    newest = stack.http.get("/v1/jobs?model=batched&status=succeeded").json()["data"][0]
    told = []
    path, headers = f"/v1/jobs/{newest['id']}/events", {"Accept": "text/event-stream"}
    with stack.http.stream("GET", path, headers=headers) as stream:
        for line in stream.iter_lines():
            if line.startswith("data: "):
                event = json.loads(line.removeprefix("data: "))
                told.append(event["data"].get("status", event["type"]))
    assert told[:2] == ["queued", "running"]
    assert told.count("checkpoint") == 4
    assert told[-1] == "succeeded"
