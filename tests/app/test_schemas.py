"""The wire's shapes: strict where requests come in, complete where answers go out."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from app.database.tables import Alias, Dataset, Job, JobEvent, Model, ModelVersion, Worker
from app.hyperparameters.options import NetworkIn, TrainingIn
from app.schemas import (
    AliasIn,
    DatasetOut,
    EventOut,
    JobIn,
    JobOut,
    ModelOut,
    Page,
    VersionOut,
    WorkerOut,
)
from app.states import Status

JOB = {"task": "forecasting", "dataset": "ds_1", "model": "m"}
AT = 1_769_851_800.25
STAMP = "2026-01-31T09:30:00.250Z"


def refused(shape: Any, body: Any) -> bool:
    try:
        shape.model_validate(body)
    except ValidationError:
        return True
    return False


@pytest.mark.parametrize("name", ["m", "A", "0", "demand-v2.1_x", "x" * 128])
def test_a_models_name_may_be(name: str) -> None:
    assert JobIn.model_validate(JOB | {"model": name}).model == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "-a", "_a", "a b", "a/b", "a\n", "\na", "ä", "x" * 129, "a%00", "a\x00", None, 3]
)
def test_a_models_name_may_not_be(name: Any) -> None:
    assert refused(JobIn, JOB | {"model": name})


GOOD: list[tuple[type[Any], dict[str, Any]]] = [
    (NetworkIn, {"layers": 1}),
    (NetworkIn, {"layers": 8, "hidden_size": 2048, "dropout": 0}),
    (NetworkIn, {"dropout": 0.999, "cell": "rnn", "bidirectional": True}),
    (TrainingIn, {"epochs": 10_000, "batch_size": 65_536, "learning_rate": 10, "seed": 0}),
    (TrainingIn, {"seed": 2**31 - 1, "max_seconds": 0.5, "clip_norm": 1e-6}),
    (TrainingIn, {"device": "cuda:12", "optimizer": "nadam", "schedule": "cosine", "bptt_steps": 1}),
    (TrainingIn, {"device": "cpu", "weight_decay": 1, "autocast": True, "patience": 1}),
    (AliasIn, {"version": 2**31 - 1}),
]
BAD: list[tuple[type[Any], dict[str, Any]]] = [
    (NetworkIn, {"layers": 0}),
    (NetworkIn, {"layers": 9}),
    (NetworkIn, {"layers": True}),
    (NetworkIn, {"layers": 1.0}),
    (NetworkIn, {"layers": "1"}),
    (NetworkIn, {"hidden_size": 2049}),
    (NetworkIn, {"dropout": 1}),
    (NetworkIn, {"dropout": -0.1}),
    (NetworkIn, {"dropout": float("nan")}),
    (NetworkIn, {"bidirectional": 1}),
    (NetworkIn, {"cell": "LSTM"}),
    (TrainingIn, {"epochs": 0}),
    (TrainingIn, {"learning_rate": 0}),
    (TrainingIn, {"learning_rate": float("inf")}),
    (TrainingIn, {"clip_norm": 0}),
    (TrainingIn, {"clip_norm": float("inf")}),
    (TrainingIn, {"seed": 2**31}),
    (TrainingIn, {"seed": -1}),
    (TrainingIn, {"max_seconds": 0}),
    (TrainingIn, {"max_seconds": 7 * 86_400 + 1}),
    (TrainingIn, {"device": "cuda:"}),
    (TrainingIn, {"device": "cpu\n"}),
    (TrainingIn, {"optimizer": "sgd"}),
    (TrainingIn, {"bptt_steps": 0}),
    (TrainingIn, {"averaging": 0.5}),
    (AliasIn, {"version": 0}),
    (AliasIn, {"version": 2**31}),
    (AliasIn, {"version": 1.0}),
]


@pytest.mark.parametrize(("shape", "body"), GOOD)
def test_what_is_within_bounds_is_taken_as_it_is(shape: type[Any], body: dict[str, Any]) -> None:
    assert shape.model_validate(body).model_dump(exclude_unset=True) == body


@pytest.mark.parametrize(("shape", "body"), BAD)
def test_what_is_out_of_bounds_is_refused(shape: type[Any], body: dict[str, Any]) -> None:
    assert refused(shape, body)


@pytest.mark.parametrize(
    ("metadata", "fine"),
    [
        ({}, True),
        ({"a": "x", "b": 1, "c": 1.5, "d": True, "e": None}, True),
        ({str(k): k for k in range(32)}, True),
        ({str(k): k for k in range(33)}, False),
        ({"a": [1]}, False),
        ({"a": {"b": 1}}, False),
        ({"a": float("nan")}, False),
        ({"a": float("-inf")}, False),
        ({"\ud800": 1}, False),
        ({"a": "\ud800"}, False),
        (None, False),
    ],
)
def test_metadata_is_flat_small_and_can_be_written(metadata: Any, fine: bool) -> None:
    assert refused(JobIn, JOB | {"metadata": metadata}) != fine
    if fine:
        stored = JobIn.model_validate(JOB | {"metadata": metadata}).metadata
        assert json.loads(json.dumps(stored)) == metadata
        assert [type(value) for value in stored.values()] == [type(value) for value in metadata.values()]


def test_requests_do_not_share_their_defaults() -> None:
    first, second = JobIn.model_validate(JOB), JobIn.model_validate(JOB)
    first.options["horizon"] = 3
    first.metadata["a"] = 1
    assert (second.options, second.metadata) == ({}, {})


def job(**fields: Any) -> Job:
    known = {
        "id": "job_1", "kind": "train", "status": Status.RUNNING, "task": "forecasting", "dataset_id": "ds_1",
        "model": "m", "network": {}, "training": {}, "options": {}, "job_metadata": {"team": "ops"},
        "attempt": 1, "crashes": 2, "owner": "worker_secret", "created_at": AT, "updated_at": AT,
        "priority": 0,
    }  # fmt: skip
    return Job(**(known | fields))


def written(model: Any) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(model.model_dump_json())
    return result


def test_a_job_is_shown_as_the_contract_has_it() -> None:
    result = written(JobOut.of(job(started_at=AT)))
    assert list(result) == [
        "id", "object", "kind", "status", "task", "dataset", "model", "network", "training", "options",
        "priority", "progress", "metrics", "cancel_requested", "pause_requested", "attempt", "model_version",
        "error", "sweep", "trial", "search", "metadata", "created_at", "started_at", "finished_at",
        "updated_at",
    ]  # fmt: skip
    assert (result["dataset"], result["metadata"]) == ("ds_1", {"team": "ops"})
    assert (result["created_at"], result["started_at"], result["finished_at"]) == (STAMP, STAMP, None)
    assert "worker_secret" not in json.dumps(result)


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({}, {"cancel_requested": False, "pause_requested": False, "error": None}),
        ({"cancel_requested_at": AT}, {"cancel_requested": True}),
        ({"cancel_requested_at": 0.0}, {"cancel_requested": True}),
        ({"pause_requested_at": AT}, {"pause_requested": True}),
        (
            {"error_code": "diverged", "error_message": "why"},
            {"error": {"code": "diverged", "message": "why"}},
        ),
        ({"error_code": "diverged"}, {"error": {"code": "diverged", "message": ""}}),
        ({"progress": {"fraction": 0.5}}, {"progress": {"fraction": 0.5}}),
    ],
)
def test_what_happened_to_a_job_is_shown(fields: dict[str, Any], shown: dict[str, Any]) -> None:
    assert shown.items() <= written(JobOut.of(job(**fields))).items()


def test_the_other_rows_are_shown_whole() -> None:
    rows = Dataset(
        id="ds_1", name="n", task="t", format="csv", bytes=1, sha256="0", filename="secret", summary={"a": 1},
        warnings=["w"], created_at=AT,
    )  # fmt: skip
    result = written(DatasetOut.of(rows))
    assert (result["object"], result["created_at"], result["warnings"]) == ("dataset", STAMP, ["w"])
    assert "filename" not in result
    event = JobEvent(job_id="job_1", seq=3, type="epoch", at=AT, data={"epoch": 1})
    assert written(EventOut.of(event)) == {"seq": 3, "type": "epoch", "at": STAMP, "data": {"epoch": 1}}
    model = Model(name="m", id="model_1", task="t", versions=9, created_at=AT)
    aliases = [Alias(model="m", alias="production", version=2), Alias(model="m", alias="canary", version=3)]
    assert written(ModelOut.of(model, aliases, None)) == {
        "name": "m",
        "object": "model",
        "task": "t",
        "aliases": {"production": 2, "canary": 3},
        "latest_version": None,
        "created_at": STAMP,
    }


def test_a_version_names_its_job_and_data_set_and_not_where_its_files_are() -> None:
    row = ModelVersion(
        model="m", version=2, job_id="job_1", dataset_id="ds_1", task="t", network={}, options={},
        parameters=7, metrics={"smape": 1.0}, baseline={"smape": 2.0}, artifact="artifacts/secret", bytes=1,
        sha256="0", created_at=AT,
    )  # fmt: skip
    result = written(VersionOut.of(row))
    assert (result["job"], result["dataset"], result["parameters"]) == ("job_1", "ds_1", 7)
    assert "secret" not in json.dumps(result)


def test_a_worker_is_shown_with_what_it_does() -> None:
    row = Worker(
        id="w", role="serve", device="cpu", host="h", pid=1, loaded=["a/1"], started_at=AT, last_seen=AT
    )
    result = written(WorkerOut.of(row, "job_1"))
    assert (result["busy_with"], result["loaded"], result["last_seen"]) == ("job_1", ["a/1"], STAMP)


def test_a_page_says_whether_there_is_more() -> None:
    page = Page[EventOut](data=[], has_more=False, next_cursor=None)
    assert written(page) == {"data": [], "has_more": False, "next_cursor": None}
