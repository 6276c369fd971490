"""Sweeps, end to end: a real service finds out which cell suits the data, whoever is killed meanwhile."""

import os
import signal
from typing import Any

import pytest

from app.typedefs import Json
from tests.support.fixtures.servers import until
from tests.support.fixtures.stack import QUICK, TERMINAL, Stack


@pytest.fixture(scope="module")
def dataset(stack: Stack) -> str:
    return stack.upload()


def submit(stack: Stack, dataset: str, model: str, **fields: Any) -> str:
    body = {
        "task": "forecasting", "dataset": dataset, "model": model, "options": {"horizon": 6},
        "training": QUICK, "network": {"hidden_size": 8}, "search": {"network.cell": ["rnn", "gru"]},
    }  # fmt: skip
    answer = stack.http.post("/v1/sweeps", json={**body, **fields})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def sweep_of(stack: Stack, sweep_id: str) -> Json:
    found: Json = stack.http.get(f"/v1/sweeps/{sweep_id}").raise_for_status().json()
    return found


@pytest.mark.timeout(400)
def test_cells_are_compared_and_the_best_one_answers(stack: Stack, dataset: str) -> None:
    sweep_id = submit(stack, dataset, "cells-compared", seeds=2)
    seen = []
    while (job := stack.job(sweep_id))["status"] not in TERMINAL:
        seen.append((job["progress"] or {}).get("fraction", 0.0))
        stack.http.get(f"/v1/jobs/{sweep_id}", headers={"Prefer": "wait=5"})
    assert job["status"] == "succeeded", job["error"]
    assert seen == sorted(seen)
    sweep = sweep_of(stack, sweep_id)
    board = sweep["leaderboard"]
    assert sorted(row["parameters"]["network.cell"] for row in board) == ["gru", "rnn"]
    assert [row["rank"] for row in board] == [1, 2]
    means = [row["metric"] for row in board]
    assert means == sorted(means)
    for row in board:
        assert [run["seed"] for run in row["seeds"]] == [7, 8]
        assert row["metric"] == pytest.approx(sum(run["value"] for run in row["seeds"]) / 2)
        assert (row["spread"] > 0, row["seconds"] > 0, row["status"]) == (True, True, "succeeded")
    best = min(board[0]["seeds"], key=lambda run: run["value"])
    version = stack.http.get("/v1/models/cells-compared/versions/1").json()
    assert (version["job"], version["network"]["cell"]) == (
        best["job"],
        board[0]["parameters"]["network.cell"],
    )
    assert version["metrics"]["valid_loss"] == pytest.approx(best["value"])
    assert stack.http.get("/v1/models/cells-compared").json()["latest_version"] == 1
    assert stack.predict("cells-compared").status_code == 200
    artifacts = stack.data_dir / "storage" / "artifacts"
    of_sweep = {one["id"] for one in runs(stack, sweep_id)}

    def kept() -> set[str]:
        return of_sweep & {path.parent.parent.name for path in artifacts.glob("*/*/manifest.json")}

    until(lambda: kept() == {best["job"]}, 10, "the end of what the other runs made")


@pytest.mark.timeout(400)
def test_a_sweep_outlives_its_worker(stack: Stack, dataset: str) -> None:
    search = {
        "training.learning_rate": {"min": 1e-3, "max": 1e-2, "log": True},
        "network.cell": ["gru", "rnn"],
    }
    sweep_id = submit(stack, dataset, "survivor", search=search, metric="smape", seeds=1, max_trials=2)
    until(
        lambda: any(one["status"] == "running" for one in runs(stack, sweep_id)),
        60,
        "the first run",
        every=0.02,
    )
    os.kill(stack.process("workers.main", "train"), signal.SIGKILL)
    job = stack.wait(sweep_id, seconds=300)
    assert job["status"] == "succeeded", job["error"]
    assert job["search"]["sampler"] == "tpe"
    board = sweep_of(stack, sweep_id)["leaderboard"]
    assert len(board) == 2
    rates = [row["parameters"]["training.learning_rate"] for row in board]
    assert all(1e-3 <= rate <= 1e-2 for rate in rates)
    assert len(set(rates)) == 2
    assert job["metrics"]["valid_smape"] == min(row["metric"] for row in board)


def runs(stack: Stack, sweep_id: str) -> list[Json]:
    found: list[Json] = stack.http.get(f"/v1/jobs?sweep={sweep_id}").json()["data"]
    return found


def test_a_cancelled_sweep_stops_what_runs(stack: Stack, dataset: str) -> None:
    endless = {"epochs": 10_000, "patience": 10_000}
    sweep_id = submit(stack, dataset, "never", training=endless, seeds=1)
    until(
        lambda: any(one["status"] == "running" for one in runs(stack, sweep_id)),
        60,
        "the first run",
        every=0.02,
    )
    assert stack.http.post(f"/v1/jobs/{sweep_id}/cancel").json()["status"] == "cancelled"
    until(lambda: {one["status"] for one in runs(stack, sweep_id)} == {"cancelled"}, 20, "the runs' end")
    assert stack.http.get("/v1/models/never").status_code == 404
    assert stack.http.delete(f"/v1/jobs/{sweep_id}").status_code == 204
    assert runs(stack, sweep_id) == []
