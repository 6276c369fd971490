"""The main job, end to end, as a stranger would do it: `recurra up`, then HTTP and nothing else."""

import json
import os
import signal
import threading
import time

import httpx
import pytest
import redis

from app.settings import Settings
from app.typedefs import Json
from tests.support.fixtures.servers import until
from tests.support.fixtures.stack import QUICK, TERMINAL, Stack


@pytest.fixture(scope="module")
def dataset(stack: Stack) -> str:
    return stack.upload()


@pytest.fixture(scope="module")
def trained(stack: Stack, dataset: str) -> str:
    """A model with two versions."""
    for seed in (1, 2):
        job = stack.wait(stack.submit(dataset, "shop", training=QUICK | {"seed": seed}))
        assert job["status"] == "succeeded", job["error"]
    return "shop"


# Every cell is trained, stored and served in one process by tests/contract.
@pytest.mark.parametrize(
    "cell", [pytest.param("rnn", marks=pytest.mark.slow), pytest.param("lstm", marks=pytest.mark.slow), "gru"]
)
def test_every_cell_learns_and_forecasts(stack: Stack, dataset: str, cell: str) -> None:
    job_id = stack.submit(dataset, f"one-{cell}", network={"cell": cell, "hidden_size": 16})
    seen = []
    while (job := stack.job(job_id))["status"] not in TERMINAL:
        seen.append(job)
        stack.http.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=5"})
    assert job["status"] == "succeeded", job["error"]
    assert job["progress"]["fraction"] == 1.0
    fractions = [one["progress"]["fraction"] for one in seen if one["progress"]]
    assert fractions == sorted(fractions)
    version = stack.http.get(f"/v1/models/one-{cell}/versions/1").json()
    assert version["network"]["cell"] == cell
    assert {"smape", "mase", "pinball"} <= version["metrics"].keys()
    assert {"smape", "mase", "pinball"} <= version["baseline"].keys()
    answer = stack.predict(f"one-{cell}")
    assert answer.status_code == 200, answer.text
    (prediction,) = answer.json()["predictions"]
    assert prediction["item_id"] == "x"
    assert len(prediction["mean"]) == 6
    assert set(prediction["quantiles"]) == {"0.1", "0.5", "0.9"}
    epochs = stack.http.get(f"/v1/jobs/{job_id}/metrics").json()["epochs"]
    assert [epoch["epoch"] for epoch in epochs][:1] == [1]
    assert {"train_loss", "learning_rate", "grad_norm", "seconds"} <= epochs[0].keys()
    assert "diagnostics" not in epochs[0]
    found = stack.http.get(f"/v1/jobs/{job_id}/diagnostics").json()
    assert found["verdict"] in {"ok", "vanishing", "exploding", "saturated"}
    assert [entry["epoch"] for entry in found["epochs"]][:1] == [1]
    assert len(found["final"]) == 1
    assert 0 <= found["epochs"][0]["clipped_share"] <= 1
    assert 0 < found["epochs"][0]["update_ratio"] < 10


def test_one_request_may_mix_lengths_and_each_gets_its_own_answer(stack: Stack, trained: str) -> None:
    instances = [{"values": [float(k % 12 + k / 10) + 1 for k in range(n)]} for n in (1, 2, 5, 30, 200, 1000)]
    together = stack.http.post(f"/v1/models/{trained}/predict", json={"instances": instances}).json()
    for instance, expected in zip(instances, together["predictions"], strict=True):
        alone = stack.http.post(f"/v1/models/{trained}/predict", json={"instances": [instance]}).json()
        assert alone["predictions"][0]["mean"] == pytest.approx(expected["mean"], rel=1e-5)


def test_timestamps_follow_a_start(stack: Stack, trained: str) -> None:
    instance = {"values": [1.0, 2.0, 3.0], "start": "2024-10-01", "freq": "MS"}
    body = {"instances": [instance], "parameters": {"horizon": 2}}
    (prediction,) = stack.http.post(f"/v1/models/{trained}/predict", json=body).json()["predictions"]
    assert prediction["timestamps"] == ["2025-01-01", "2025-02-01"]
    assert len(prediction["mean"]) == 2


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"instances": []}, "/instances"),
        ({"instances": [{"values": [1, "two"]}]}, "/instances/0/values/1"),
        ({"instances": [{"values": [1]}, {"value": [1]}]}, "/instances/1"),
        ({"instances": [{"values": []}]}, "/instances/0/values"),
        ({"instances": [{"values": [1]}], "parameters": {"horizon": 7}}, "/parameters/horizon"),
        ({"instances": [{"values": [1]}], "parameters": {"horizons": 7}}, "/parameters"),
        ({"instances": [{"values": [1], "freq": "D", "start": "2024-01-01"}]}, "/instances/0/freq"),
    ],
)
def test_a_bad_instance_is_named(stack: Stack, trained: str, body: Json, pointer: str) -> None:
    answer = stack.http.post(f"/v1/models/{trained}/predict", json=body)
    assert answer.status_code == 422
    assert any(error["pointer"].startswith(pointer) for error in answer.json()["errors"]), answer.text


def test_versions_and_aliases_choose_who_answers(stack: Stack, trained: str) -> None:
    assert stack.predict(trained).json()["version"] == 1
    assert stack.predict(trained, "?version=2").json()["version"] == 2
    assert stack.predict(trained, "?version=9").status_code == 404
    assert stack.predict(trained, "?alias=none").status_code == 404
    assert stack.predict("nobody").status_code == 404
    assert stack.predict(trained, "?version=1&alias=production").status_code == 422


def test_an_alias_moves_under_traffic_without_a_failed_or_mixed_answer(stack: Stack, trained: str) -> None:
    expected = {n: stack.predict(trained, f"?version={n}").json()["predictions"] for n in (1, 2)}
    assert expected[1] != expected[2]
    done, answers = threading.Event(), list[httpx.Response]()

    def ask() -> None:
        while not done.is_set():
            answers.append(stack.predict(trained))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for move in range(10):
        number = 1 + (move + 1) % 2
        moved = stack.http.put(f"/v1/models/{trained}/aliases/production", json={"version": number})
        assert moved.status_code == 200
        assert stack.predict(trained).json()["version"] == number
    done.set()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {200}
    bodies = [answer.json() for answer in answers]
    assert {body["version"] for body in bodies} == {1, 2}
    for body in bodies:
        assert body["predictions"] == expected[body["version"]]


@pytest.mark.slow  # as tests/workers/training/test_run.py, with everything around it
def test_the_same_seed_gives_the_same_weights(stack: Stack, dataset: str) -> None:
    digests = set()
    for _ in range(2):
        job = stack.wait(stack.submit(dataset, "twin", training=QUICK | {"seed": 3}))
        version = stack.http.get(f"/v1/models/twin/versions/{job['model_version']}").json()
        directory = stack.data_dir / "storage" / "artifacts" / version["job"] / "1"
        digests.add((directory / "model.safetensors").read_bytes())
    assert len(digests) == 1


def test_a_running_job_is_cancelled_within_two_seconds(stack: Stack, dataset: str) -> None:
    job_id = stack.submit(dataset, "endless", training={"epochs": 10_000, "patience": 10_000})
    until(lambda: (stack.job(job_id)["progress"] or {}).get("step", 0) > 3, 60, "the first steps")
    begun = time.monotonic()
    assert stack.http.post(f"/v1/jobs/{job_id}/cancel").status_code == 202
    assert stack.wait(job_id, "cancelled", seconds=10)["status"] == "cancelled"
    assert time.monotonic() - begun < 2.5  # two seconds, and what this machine's other work may cost
    assert stack.http.get("/v1/models/endless").status_code == 404


def test_redis_flushed_between_submit_and_start_loses_no_job(stack: Stack, dataset: str) -> None:
    blocker = stack.submit(dataset, "blocker", training={"epochs": 10_000, "patience": 10_000})
    stack.wait(blocker, "running", seconds=30)
    waiting = [stack.submit(dataset, "flushed") for _ in range(2)]
    with redis.Redis.from_url(Settings(data_dir=stack.data_dir, redis_url="").redis) as client:
        client.flushall()
    stack.http.post(f"/v1/jobs/{blocker}/cancel")
    for job_id in waiting:
        assert stack.wait(job_id)["status"] == "succeeded"


def test_a_killed_api_comes_back_and_knows_everything(stack: Stack, trained: str) -> None:
    before = stack.http.get("/v1/jobs").json()
    os.kill(stack.process("app.server", "--processes"), signal.SIGKILL)
    until(lambda: answers(stack), 30, "the API's return")
    assert stack.http.get("/v1/jobs").json() == before
    assert stack.predict(trained).status_code == 200


def answers(stack: Stack) -> bool:
    try:
        return stack.http.get("/readyz").status_code == 200
    except httpx.HTTPError:
        return False


def test_events_tell_the_whole_story(stack: Stack, dataset: str) -> None:
    job_id = stack.submit(dataset, "story")
    types = []
    with stack.http.stream(
        "GET", f"/v1/jobs/{job_id}/events", headers={"Accept": "text/event-stream"}
    ) as stream:
        for line in stream.iter_lines():
            if line.startswith("data: "):
                event = json.loads(line.removeprefix("data: "))
                types.append(event["data"].get("status", event["type"]))
    assert types[:2] == ["queued", "running"]
    assert types[-1] == "succeeded"
    assert "epoch" in types
