"""Sweeps over HTTP, with the workers played by the test."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.services.jobs import leases
from app.services.sweeps import advance, state
from app.services.sweeps.policy import LossCurve, decide
from app.states import Status
from app.typedefs import Json
from tests.support.factories.sweeps import Scripted, outcome
from tests.support.fixtures.servers import until
from tests.support.fixtures.service import Service, problem


def submit(service: Service, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
    body = {
        "task": "forecasting", "dataset": fields.pop("dataset", None) or service.dataset(), "model": "demand",
        "options": {"horizon": 6}, "search": {"network.cell": ["rnn", "lstm", "gru"]}, **fields,
    }  # fmt: skip
    return service.http.post("/v1/sweeps", json=body, headers=headers)


def step(service: Service, sweep_id: str, cache: dict[str, LossCurve] | None = None) -> bool:
    """What a worker's sweep runner does; whether the sweep has ended with it."""
    with service.state.readers() as session:
        context = advance.load(session, sweep_id, {} if cache is None else cache)
    plan = decide(context, Scripted(), Scripted())
    with service.state.sessions.begin() as session:
        return advance.apply(session, context, plan).ended


def begin(service: Service, sweep_id: str) -> None:
    """Step until runs are there: the web process's own threads may hold the sweep's row for a moment."""

    def begun() -> bool:
        step(service, sweep_id)
        return bool(service.http.get(f"/v1/jobs?sweep={sweep_id}").json()["data"])

    until(begun, what="the first runs")


def play(service: Service, sweep_id: str, directory: Path, **values: float) -> None:
    """Run what is queued to its end, with these losses by cell."""
    (directory / "model.onnx").write_bytes(b"graph")
    with service.state.readers() as session:
        queued = [run for run in state.load(session, sweep_id).runs if run.status == Status.QUEUED]
    for run in queued:
        lease = service.claim(run.job_id)
        made = outcome(lease, values[run.parameters["network.cell"]] + run.seed / 1000)
        service.state.storage.put(f"{made.artifact}/model.onnx", directory / "model.onnx")
        with service.state.sessions.begin() as session:
            assert leases.complete(session, lease, made.metrics, made)


def to_the_end(service: Service, directory: Path, **fields: Any) -> str:
    """The id of a sweep that has ended."""
    sweep_id = str(submit(service, **fields).json()["id"])
    while not step(service, sweep_id):
        play(service, sweep_id, directory, rnn=0.9, lstm=0.5, gru=0.7)
    return sweep_id


def test_a_submitted_sweep_is_a_job_like_others(running: Service) -> None:
    answer = submit(running, seeds=2, metadata={"team": "ops"}, network={"layers": 2})
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (answer.headers["retry-after"], bool(answer.headers["etag"])) == ("1", True)
    assert (job["object"], job["kind"], job["status"], job["attempt"]) == ("job", "sweep", "queued", 0)
    assert (job["network"], job["training"], job["options"]) == ({"layers": 2}, {}, {"horizon": 6})
    assert (job["metadata"], job["sweep"], job["trial"]) == ({"team": "ops"}, None, None)
    assert job["search"]["space"] == {"network.cell": ["rnn", "lstm", "gru"]}
    assert (job["search"]["sampler"], job["search"]["seeds"]) == ("grid", 2)
    assert running.http.get(answer.headers["location"]).json() == job
    assert running.http.get("/v1/sweeps").json()["data"] == [job]
    assert running.http.get("/v1/jobs?kind=sweep").json()["data"] == [job]
    assert running.http.get("/v1/jobs?kind=train").json()["data"] == []
    events = running.http.get(f"/v1/jobs/{job['id']}/events").json()["data"]
    assert [event["data"] for event in events] == [{"status": "queued"}]
    sweep = running.http.get(f"/v1/sweeps/{job['id']}").json()
    assert {name: sweep[name] for name in job} == job
    assert (sweep["metric"], sweep["direction"]) == ("valid_loss", "minimize")
    assert (sweep["best"], sweep["leaderboard"]) == (None, [])


def test_the_leaderboard_shows_who_leads_and_in_the_end_what_became_the_version(
    on_sqlite: Service, tmp_path: Path
) -> None:
    sweep_id = str(submit(on_sqlite, seeds=2, max_parallel=4).json()["id"])
    begin(on_sqlite, sweep_id)
    first = on_sqlite.http.get(f"/v1/sweeps/{sweep_id}").json()
    assert [row["status"] for row in first["leaderboard"]] == ["queued"] * 3
    assert [row["rank"] for row in first["leaderboard"]] == [None] * 3
    play(on_sqlite, sweep_id, tmp_path, rnn=0.9, lstm=0.5, gru=0.7)
    while not step(on_sqlite, sweep_id):
        play(on_sqlite, sweep_id, tmp_path, rnn=0.9, lstm=0.5, gru=0.7)
    sweep = on_sqlite.http.get(f"/v1/sweeps/{sweep_id}").json()
    assert (sweep["status"], sweep["model_version"]) == ("succeeded", 1)
    board = sweep["leaderboard"]
    assert sweep["best"] == board[0]
    assert [(row["rank"], row["parameters"]["network.cell"]) for row in board] == [
        (1, "lstm"), (2, "gru"), (3, "rnn"),
    ]  # fmt: skip
    best = board[0]
    assert best["metric"] == pytest.approx(0.5075)
    assert best["spread"] == pytest.approx(0.001 / 2**0.5)
    assert best["seconds"] >= 0
    assert (best["status"], best["pruned"], best["number"]) == ("succeeded", False, 1)
    assert [(run["seed"], run["status"]) for run in best["seeds"]] == [(7, "succeeded"), (8, "succeeded")]
    version = on_sqlite.http.get("/v1/models/demand/versions/1").json()
    assert version["job"] == best["seeds"][0]["job"]
    assert version["metrics"]["valid_loss"] == pytest.approx(0.507)
    run = on_sqlite.http.get(f"/v1/jobs/{version['job']}").json()
    assert (run["kind"], run["sweep"], run["model_version"]) == ("train", sweep_id, None)
    assert run["trial"] == {"number": 1, "seed": 7, "parameters": {"network.cell": "lstm"}}
    of_sweep = on_sqlite.http.get(f"/v1/jobs?sweep={sweep_id}").json()["data"]
    assert len(of_sweep) == 6
    job = on_sqlite.http.get(f"/v1/jobs/{sweep_id}").json()
    assert job["progress"] == {"fraction": 1.0, "runs": 6, "total": 6, "eta_seconds": 0.0}
    events = on_sqlite.http.get(f"/v1/jobs/{sweep_id}/events?limit=100").json()["data"]
    assert [event["type"] for event in events].count("run") == 6


@pytest.mark.parametrize(
    ("change", "status", "pointer"),
    [
        ({"search": {"network.cell": ["transformer"]}}, 422, "/search/network.cell"),
        ({"search": {"network.cell": []}}, 422, "/search/network.cell"),
        ({"search": {"network.cell": "gru"}}, 422, "/search/network.cell"),
        ({"search": {"options.horizon": [6, 700]}, "options": {}}, 422, "/search/options.horizon"),
        ({"search": {"network.layers": {"min": 3, "max": 2}}}, 422, "/search/network.layers"),
        ({"search": {"a/b~c": [1]}}, 422, "/search/a~1b~0c"),
        ({"search": {}}, 422, "/search"),
        ({"metric": "accuracy"}, 422, "/metric"),
        ({"seeds": 0}, 422, "/seeds"),
        ({"sampler": "grid", "search": {"training.learning_rate": {"min": 0.1, "max": 1}}}, 422, "/sampler"),
        ({"colour": "red"}, 422, "/colour"),
        ({"dataset": "ds_none"}, 404, None),
        ({"task": "knitting"}, 422, "/task"),
        ({"model": "no spaces"}, 422, "/model"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_nothing(
    untouched: Service, change: Json, status: int, pointer: str | None
) -> None:
    errors = problem(submit(untouched, **change), status)["errors"]
    assert [error["pointer"] for error in errors] == ([] if pointer is None else [pointer])
    assert untouched.http.get("/v1/jobs").json()["data"] == []


def test_a_key_makes_a_repeated_submit_harmless(running: Service) -> None:
    dataset, headers = running.dataset(), {"Idempotency-Key": "k1"}
    first, again = (submit(running, headers, dataset=dataset) for _ in range(2))
    assert (first.status_code, again.json()) == (202, first.json())
    assert again.headers["idempotency-replayed"] == "true"
    problem(submit(running, headers, dataset=dataset, seeds=1), 422)
    assert len(running.http.get("/v1/sweeps").json()["data"]) == 1


def test_sweeps_are_paged(on_sqlite: Service) -> None:
    dataset = on_sqlite.dataset()
    ids = [submit(on_sqlite, dataset=dataset).json()["id"] for _ in range(3)]
    on_sqlite.job(dataset=dataset)
    page = on_sqlite.http.get("/v1/sweeps?limit=2").json()
    rest = on_sqlite.http.get("/v1/sweeps", params={"limit": 2, "cursor": page["next_cursor"]}).json()
    assert [job["id"] for job in (*page["data"], *rest["data"])] == ids[::-1]
    assert (page["has_more"], rest["has_more"]) == (True, False)


def test_what_is_no_sweep_is_not_found(on_sqlite: Service) -> None:
    problem(on_sqlite.http.get("/v1/sweeps/job_none"), 404)
    problem(on_sqlite.http.get(f"/v1/sweeps/{on_sqlite.job()}"), 404)


def test_a_cancelled_sweep_leaves_no_files(on_sqlite: Service, tmp_path: Path) -> None:
    sweep_id = str(submit(on_sqlite, max_parallel=3, seeds=1).json()["id"])
    begin(on_sqlite, sweep_id)
    play(on_sqlite, sweep_id, tmp_path, rnn=0.9, lstm=0.5, gru=0.7)
    assert len(on_sqlite.state.storage.keys("artifacts")) == 3
    answer = on_sqlite.http.post(f"/v1/jobs/{sweep_id}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")
    until(lambda: on_sqlite.state.storage.keys("artifacts") == [], what="the end of the files")
    assert on_sqlite.http.get("/v1/models").json()["data"] == []
    assert on_sqlite.http.delete(f"/v1/jobs/{sweep_id}").status_code == 204
    assert on_sqlite.http.get("/v1/jobs").json()["data"] == []


def test_a_sweep_is_paused_and_resumed_with_its_runs(on_sqlite: Service) -> None:
    sweep_id = str(submit(on_sqlite).json()["id"])
    begin(on_sqlite, sweep_id)
    assert on_sqlite.http.post(f"/v1/jobs/{sweep_id}/pause").json()["status"] == "paused"
    runs = on_sqlite.http.get(f"/v1/jobs?sweep={sweep_id}").json()["data"]
    assert [run["status"] for run in runs] == ["paused"] * 2
    assert on_sqlite.http.post(f"/v1/jobs/{sweep_id}/resume").json()["status"] == "queued"
    runs = on_sqlite.http.get(f"/v1/jobs?sweep={sweep_id}").json()["data"]
    assert [run["status"] for run in runs] == ["queued"] * 2


def test_a_sweep_that_succeeded_is_deleted_and_its_version_stays(on_sqlite: Service, tmp_path: Path) -> None:
    sweep_id = to_the_end(on_sqlite, tmp_path, seeds=1)
    (run, *_) = on_sqlite.http.get(f"/v1/jobs?sweep={sweep_id}").json()["data"]
    problem(on_sqlite.http.delete(f"/v1/jobs/{run['id']}"), 409)
    problem(on_sqlite.http.post(f"/v1/jobs/{sweep_id}/cancel"), 409)
    assert on_sqlite.http.delete(f"/v1/jobs/{sweep_id}").status_code == 204
    problem(on_sqlite.http.get(f"/v1/jobs/{run['id']}"), 404)
    assert on_sqlite.http.get("/v1/models/demand/versions/1").json()["network"]["cell"] == "lstm"


NASTY = [
    b'{"search": {"network.cell": ["\\ud800"]}}',
    b'{"search": {"network.cell": ["gru\\u0000"]}}',
    b'{"search": {"\\ud800": [1]}}',
    b'{"search": {"network.layers": [NaN]}}',
    b'{"search": {"network.layers": [1%s]}}' % (b"0" * 400),
    b'{"search": {"network.layers": {"min": 1, "max": 1e999}}}',
    b'{"search": {"network.layers": {"min": 1, "max": 3, "step": 1e-320}}}',
    b'{"search": {"training.learning_rate": {"min": 0, "max": 1, "step": 1e-320}}}',
    b'{"search": {"training.learning_rate": {"min": 5e-324, "max": 1, "log": true}}}',
    b'{"search": {"options.quantiles": [' + b"[" * 500 + b"]" * 500 + b"]}}",
    b'{"search": {"options.past_covariates": [["\\u0000"]]}}',
    b'{"search": {"options.past_covariates": [{"a": 1}]}}',
    b'{"search": null}',
    b'{"search": [["network.cell", ["gru"]]]}',
]  # fmt: skip


def test_no_search_makes_the_service_stumble(running: Service) -> None:
    base = {"task": "forecasting", "dataset": running.dataset(), "model": "m", "options": {"horizon": 6}}
    start = json.dumps(base).encode()[:-1]
    for body in NASTY:
        headers = {"content-type": "application/json", "Idempotency-Key": f"k{hash(body)}"}
        answer = running.http.post("/v1/sweeps", content=start + b", " + body[1:], headers=headers)
        assert answer.status_code in {202, 422}, (body, answer.text)
        if answer.status_code == 422:
            problem(answer, 422)
