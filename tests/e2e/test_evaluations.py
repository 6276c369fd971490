"""Evaluations as a stranger would use them: `recurra up`, then HTTP and nothing else."""

import json
import os
import signal
from typing import Any

import httpx
import numpy as np
import pytest

from app.typedefs import Json
from tests.support.factories import labels
from tests.support.factories.tagged import entities, to_conll
from tests.support.factories.texts import verses
from tests.support.fixtures.servers import until
from tests.support.fixtures.stack import Stack

SERIES, MONTHS, HORIZON = 40, 84, 6


def seasonal(series: int, months: int = MONTHS) -> bytes:
    """Series with a strong season and some noise, of which a network without a season knows less."""
    rng, rows = np.random.default_rng(3), ["unique_id,ds,y"]
    shape = 40 * np.sin(np.arange(12) / 12 * 2 * np.pi)
    for name in range(series):
        noise = rng.normal(0, 3, months)
        for month in range(months):
            stamp = f"{2015 + month // 12}-{month % 12 + 1:02d}-01"
            rows.append(f"s{name},{stamp},{150 + name + shape[month % 12] + noise[month]:.2f}")
    return "\n".join(rows).encode()


def upload(stack: Stack, content: bytes, filename: str, task: str) -> str:
    files: Any = {"file": (filename, content), "task": (None, task)}
    answer = stack.http.post("/v1/datasets", files=files)
    assert answer.is_success, answer.text
    return str(answer.json()["id"])


def train(stack: Stack, **job: Any) -> int:
    answer = stack.http.post("/v1/jobs", json=job)
    assert answer.status_code == 202, answer.text
    done = stack.wait(answer.json()["id"], seconds=240)
    assert done["status"] == "succeeded", done["error"]
    return int(done["model_version"])


def submit(stack: Stack, model: str, **body: Any) -> str:
    answer = stack.http.post(f"/v1/models/{model}/evaluations", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def result(stack: Stack, job_id: str) -> bytes:
    return stack.http.get(f"/v1/jobs/{job_id}/result").raise_for_status().content


def move(stack: Stack, version: int, job_id: str, metric: str = "smape") -> httpx.Response:
    guard = {"evaluation": job_id, "metric": metric}
    return stack.http.put("/v1/models/seasons/aliases/production", json={"version": version, "guard": guard})


@pytest.fixture(scope="module")
def model(stack: Stack) -> str:
    """Version 1 knows the season; version 2 is worse by construction: it was trained to know none."""
    dataset = upload(stack, seasonal(SERIES, MONTHS - 3 * HORIZON), "known.csv", "forecasting")
    job = {"task": "forecasting", "dataset": dataset, "model": "seasons"}
    network, training = {"hidden_size": 8}, {"epochs": 2, "batch_size": 256}
    quick = {"network": network, "training": training}
    assert train(stack, **job, **quick, options={"horizon": HORIZON}) == 1
    blind = {"horizon": HORIZON, "season_length": 1, "context_length": 1, "refit": False}
    assert train(stack, **job, **quick, options=blind) == 2
    return "seasons"


@pytest.fixture(scope="module")
def newer(stack: Stack, model: str) -> str:
    return upload(stack, seasonal(SERIES), "newer.csv", "forecasting")


@pytest.fixture(scope="module")
def compared(stack: Stack, model: str, newer: str) -> Json:
    job_id = submit(stack, model, dataset=newer, versions=[1, 2], windows=3, baselines=["theta", "ets"])
    job = stack.wait(job_id)
    assert job["status"] == "succeeded", job["error"]
    return job


def test_the_metrics_have_intervals_and_paired_differences(compared: Json) -> None:
    metrics = compared["metrics"]
    assert (compared["kind"], metrics["examples"], metrics["failed"]) == ("evaluate", 3 * SERIES, 0)
    assert metrics["baselines"].keys() == {"seasonal_naive", "theta", "ets"}
    for name in ("smape", "mase", "pinball", "bias", "coverage_0.8"):
        figure = metrics["versions"]["1"][name]
        assert figure["low"] < figure["value"] < figure["high"]
    worse = metrics["differences"][0]
    assert (worse["of"], worse["minus"]) == ("2", "1")
    assert worse["metrics"]["smape"]["low"] > 0  # the interval excludes zero
    assert worse["metrics"]["smape"]["value"] == pytest.approx(
        metrics["versions"]["2"]["smape"]["value"] - metrics["versions"]["1"]["smape"]["value"], rel=1e-3
    )
    by_lead = metrics["by_lead"]["1"]
    assert len(by_lead["smape"]) == len(by_lead["bias"]) == len(by_lead["coverage"]["0.8"]) == HORIZON
    assert len(metrics["by_window"]["theta"]) == 3
    assert len(metrics["worst_series"]["1"]) == 10
    # A pure season with noise: smoothing that sees it is about as good as repeating it, not twice as bad.
    assert (
        metrics["baselines"]["ets"]["smape"]["value"]
        < metrics["baselines"]["seasonal_naive"]["smape"]["value"]
    )
    assert metrics["baselines"]["theta"]["smape"]["value"] < metrics["versions"]["2"]["smape"]["value"]


def test_the_result_has_a_line_for_each_forecast(stack: Stack, compared: Json, newer: str) -> None:
    lines = [json.loads(line) for line in result(stack, compared["id"]).splitlines()]
    assert len(lines) == 3 * SERIES * 5
    first = [line for line in lines if line["item_id"] == "s0" and line.get("version") == 1]
    assert [line["window"] for line in first] == [0, 1, 2]
    values = [float(row.split(",")[2]) for row in seasonal(SERIES).decode().splitlines() if row[:3] == "s0,"]
    assert first[0]["actual"] == pytest.approx(values[-3 * HORIZON : -2 * HORIZON])
    assert first[-1]["actual"] == pytest.approx(values[-HORIZON:])
    # Figures are those of what a request gets.
    instance = {"values": values[: -2 * HORIZON], "start": "2015-01-01", "freq": "MS", "item_id": "s0"}
    answer = stack.http.post("/v1/models/seasons/predict?version=1", json={"instances": [instance]})
    expected = answer.raise_for_status().json()["predictions"][0]
    assert first[1]["prediction"]["median"] == pytest.approx(expected["median"], rel=1e-5)
    assert first[1]["prediction"]["timestamps"] == expected["timestamps"]


def test_a_guard_refuses_the_worse_version_and_lets_the_better_one_pass(stack: Stack, compared: Json) -> None:
    alias = stack.http.get("/v1/models/seasons/aliases/production").json()
    assert alias["version"] == 1
    refused = move(stack, 2, compared["id"])
    assert refused.status_code == 409, refused.text
    problem = refused.json()["errors"][0]
    figures = [compared["metrics"]["versions"][name]["smape"]["value"] for name in "21"]
    assert problem["pointer"] == "/guard/metric"
    assert all(str(figure) in problem["detail"] for figure in figures)
    assert stack.http.get("/v1/models/seasons/aliases/production").json() == alias
    assert stack.http.put("/v1/models/seasons/aliases/production", json={"version": 2}).is_success
    assert move(stack, 1, compared["id"]).is_success
    assert stack.http.get("/v1/models/seasons/aliases/production").json()["version"] == 1


def test_evaluations_are_listed_by_version(stack: Stack, compared: Json, newer: str) -> None:
    alone = submit(stack, "seasons", dataset=newer)  # of the version in production
    assert stack.wait(alone)["options"]["versions"] == [1]
    listed = [
        [job["id"] for job in stack.http.get(f"/v1/models/seasons/versions/{n}/evaluations").json()["data"]]
        for n in (1, 2)
    ]
    assert listed == [[alone, compared["id"]], [compared["id"]]]


def test_a_killed_child_changes_nothing(stack: Stack, model: str) -> None:
    many = upload(stack, seasonal(1_500, 60), "many.csv", "forecasting")
    body = {"dataset": many, "versions": [1, 2], "windows": 2}
    undisturbed = stack.wait(submit(stack, model, **body))
    assert undisturbed["status"] == "succeeded", undisturbed["error"]
    job_id = submit(stack, model, **body)
    parts = stack.data_dir / "storage" / "results" / job_id
    until(lambda: parts.is_dir() and any(parts.iterdir()), 60, "the first part", every=0.01)
    os.kill(stack.process("workers.evaluation.child"), signal.SIGKILL)
    job = stack.wait(job_id)
    assert (job["status"], job["attempt"]) == ("succeeded", 2), job["error"]
    assert job["metrics"] == undisturbed["metrics"]
    assert result(stack, job_id) == result(stack, undisturbed["id"])


def test_a_refit_trains_before_each_window(stack: Stack, model: str, newer: str) -> None:
    body = {"dataset": newer, "windows": 2, "step": 3}
    stored = stack.wait(submit(stack, model, **body))
    job = stack.wait(submit(stack, model, **body, refit=True), seconds=240)
    assert job["status"] == "succeeded", job["error"]
    events = stack.http.get(f"/v1/jobs/{job['id']}/events?limit=100").json()["data"]
    logs = [event["data"]["message"] for event in events if event["type"] == "log"]
    assert [log for log in logs if log.startswith("Training version 1")] == [
        f"Training version 1, window {window} of 2 on what was known before it." for window in (1, 2)
    ]
    assert job["metrics"]["examples"] == 2 * SERIES
    assert job["metrics"]["baselines"] == stored["metrics"]["baselines"]
    assert job["metrics"]["versions"] != stored["metrics"]["versions"]


@pytest.fixture(scope="module")
def reviewed(stack: Stack) -> str:
    dataset = upload(stack, labels.jsonl(labels.snippets(120)), "reviews.jsonl", "classification")
    training = {"epochs": 1, "batch_size": 64}
    train(stack, task="classification", dataset=dataset, model="e2e-reviewed", training=training)
    return "e2e-reviewed"


@pytest.mark.parametrize(
    "few",
    [
        labels.snippets(1),
        [*labels.snippets(2), {"text": "neither this nor that", "label": "undecided"}],
        [one | {"split": "test"} for one in labels.snippets(4)],
    ],
)
def test_a_few_labelled_texts_are_enough_to_evaluate_with(
    stack: Stack, reviewed: str, few: list[Json]
) -> None:
    dataset = upload(stack, labels.jsonl(few), "few.jsonl", "classification")
    summary = stack.http.get(f"/v1/datasets/{dataset}").json()["summary"]
    assert (summary["trainable"], summary["answers"]) == (False, True)
    job = stack.wait(submit(stack, reviewed, dataset=dataset))
    assert job["status"] == "succeeded", job["error"]
    assert job["metrics"]["examples"] == len(few)
    lines = [json.loads(line) for line in result(stack, job["id"]).splitlines()]
    assert [line["actual"] for line in lines if "version" in line] == [one["label"] for one in few]
    refused = stack.http.post(
        "/v1/jobs", json={"task": "classification", "dataset": dataset, "model": "e2e-too-few"}
    )
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/dataset")


@pytest.mark.slow  # tests/contract evaluates every task without a service
@pytest.mark.parametrize(
    ("task", "filename", "content", "options", "metric", "baseline"),
    [
        ("classification", "c.jsonl", labels.jsonl(labels.snippets(120)), {}, "accuracy", "naive_bayes"),
        ("tagging", "t.conll", to_conll(entities(80)), {}, "f1", "most_frequent_tag"),
        ("generation", "g.txt", verses().encode(), {}, "bits_per_character", "ngram"),
    ],
)
def test_other_tasks_are_evaluated_on_what_they_held_out(
    stack: Stack, task: str, filename: str, content: bytes, options: Json, metric: str, baseline: str
) -> None:
    dataset = upload(stack, content, filename, task)
    training = {"epochs": 1, "batch_size": 16}
    train(stack, task=task, dataset=dataset, model=f"tiny-{task}", options=options, training=training)
    job = stack.wait(submit(stack, f"tiny-{task}", dataset=dataset))
    assert job["status"] == "succeeded", job["error"]
    own, reference = job["metrics"]["versions"]["1"], job["metrics"]["baselines"][baseline]
    assert {"value", "low", "high"} == own[metric].keys() == reference[metric].keys()
    version = stack.http.get(f"/v1/models/tiny-{task}/versions/1").json()
    assert own[metric]["value"] == pytest.approx(version["metrics"][metric], rel=0.05)
    line = json.loads(result(stack, job["id"]).splitlines()[0])
    assert {"example", "window", "version", "prediction", "actual", "errors"} == line.keys() - {
        "document", "start",
    }  # fmt: skip
    refused = stack.http.post(f"/v1/models/tiny-{task}/evaluations", json={"dataset": dataset, "windows": 2})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/windows")
