"""What the page has done can be done without it, by the commands that it shows."""

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from app.page.calls import ServiceCall
from app.page.snippets.curl import curl
from app.page.snippets.python import python
from app.typedefs import Json
from tests.support.fixtures.recorder import Recorded, recording_server

CLIENT = Path(__file__).parents[3] / "client"
DATASET: Json = {"id": "ds_1", "name": "d", "task": "forecasting", "bytes": 9, "summary": {}, "warnings": []}
DONE: Json = {"id": "job_1", "kind": "train", "status": "succeeded", "model": "m", "model_version": 3}
METRICS: Json = {"versions": {}, "baselines": {}, "differences": [], "examples": 3}
JOB: Json = {**DONE, "task": "forecasting", "progress": {}, "metrics": METRICS, "error": None}
SALES: Json = {"task": "forecasting", "dataset": "ds_1", "model": "m"}
VERSION: Json = {
    "model": "m", "version": 3, "task": "forecasting", "dataset": "ds_1", "job": "job_1", "options": {},
    "network": {}, "metrics": {"smape": 1.0}, "baseline": {"smape": 2.0}, "parameters": 5, "bytes": 9,
    "created_at": "2026-01-31T09:30:00Z",
}  # fmt: skip
ANSWERS = {
    "classification": {"label": "good", "scores": {"good": 1.0}},
    "forecasting": {"item_id": None, "mean": [1.0], "median": [1.0], "quantiles": {"0.5": [1.0]}},
    "generation": {"text": "a", "finish_reason": "stop", "tokens": 1},
    "translation": {"text": "a", "score": 0.5},
    "tagging": {"tokens": ["a"], "tags": ["O"], "entities": []},
    "speech": {"text": "a", "duration_seconds": 1.0, "confidence": 0.5, "words": []},
    "music": {"midi_base64": "", "notes": [], "finish_reason": "end", "statistics": {}},
}
FORECAST: Json = {"values": [1.5, None, 3], "start": "2020-01-01", "past": {"price": [1, 2, 3]}}
PREDICTIONS: list[tuple[str, Json]] = [
    ("classification", {"instances": [{"text": 'It\'s "quoted" $HOME `x` <b>\n ä'}]}),
    ("classification", {"instances": [{"values": [[1.5, 2], [3, 4]]}], "parameters": {"top_k": 3}}),
    ("classification", {"instances": [{"text": "ds_123"}]}),
    ("forecasting", {"instances": [{"values": [1.5, None, 3]}], "parameters": {"horizon": 2}}),
    ("forecasting", {"instances": [FORECAST], "parameters": {"horizon": 2, "level": [80, 95]}}),
    ("forecasting", {"instances": [{"values": list(range(500))}]}),
    ("generation", {"instances": [{"prompt": "It was"}], "parameters": {"max_tokens": 9, "stop": ["\n"]}}),
    ("translation", {"instances": [{"text": "so"}], "parameters": {"attention": True}}),
    ("tagging", {"instances": [{"tokens": ["Ann", "saw"]}]}),
    ("music", {"instances": [{}], "parameters": {"seconds": 3}}),
    ("music", {"instances": [{}, {}]}),
]


def answers(task: str) -> Json:
    """What the service says to a client that asks for a model `m` of this task."""
    model: Json = {"name": "m", "task": task, "aliases": {"production": 3}, "latest_version": 3}
    prediction = {"model": "m", "version": 3, "predictions": [ANSWERS[task]] * 2}
    return {
        "GET /v1/models/m": model,
        "GET /v1/models/m/versions/3": {**VERSION, "task": task},
        "GET /v1/datasets/ds_1": DATASET,
        "POST /v1/datasets": DATASET,
        "GET /v1/jobs/job_1": JOB,
        "GET /v1/jobs/job_1/metrics": {"epochs": []},
        "POST /v1/jobs": JOB,
        "POST /v1/sweeps": JOB,
        "POST /v1/models/m/predict": prediction,
        "POST /v1/models/m/batch-predictions": JOB,
        "POST /v1/models/m/evaluations": JOB,
        "GET /v1/jobs/job_1/result": {"index": 0, "prediction": {}},
    }  # fmt: skip


def sent(call: ServiceCall, language: str, directory: Path, task: str = "forecasting") -> list[Recorded]:
    """The requests that the commands for a call send, but those that only read."""
    with recording_server(answers(task)) as (url, requests):
        run(call, url, language, directory)
    return [request for request in requests if request[0] != "GET"]


@pytest.mark.parametrize(("task", "body"), PREDICTIONS)
@pytest.mark.parametrize("language", ["curl", "python"])
def test_a_prediction_is_asked_for_as_it_was(task: str, body: Json, language: str, tmp_path: Path) -> None:
    ((method, path, headers, content),) = sent(
        ServiceCall("POST", "/v1/models/m/predict?version=3", body), language, tmp_path, task
    )
    assert (method, path) == ("POST", "/v1/models/m/predict?version=3")
    assert headers["authorization"] == "Bearer rk_secret"
    assert json.loads(content) == body


@pytest.mark.parametrize("more", [{}, {"beam_size": 2}])
@pytest.mark.parametrize("language", ["curl", "python"])
def test_a_file_in_a_body_is_named(language: str, more: Json, tmp_path: Path) -> None:
    (tmp_path / "FILE").write_bytes(b"\x00\x01sound" * 20)
    instance = {"audio_base64": base64.b64encode(b"what was sent").decode()}
    call = ServiceCall("POST", "/v1/models/m/predict", {"instances": [instance], "parameters": more})
    ((_, _, _, content),) = sent(call, language, tmp_path, "speech")
    (instance,) = json.loads(content)["instances"]
    assert base64.b64decode(instance["audio_base64"]) == (tmp_path / "FILE").read_bytes()


def test_a_file_beside_other_fields_is_read(tmp_path: Path) -> None:
    (tmp_path / "FILE").write_bytes(b"sound")
    instance = {"audio_base64": base64.b64encode(b"what was sent").decode(), "note": "FILE"}
    call = ServiceCall("POST", "/v1/models/m/predict", {"instances": [instance]})
    ((_, _, _, content),) = sent(call, "python", tmp_path, "speech")
    assert json.loads(content)["instances"] == [{"audio_base64": "c291bmQ=", "note": "FILE"}]


@pytest.mark.parametrize("language", ["curl", "python"])
def test_an_upload_sends_the_file(language: str, tmp_path: Path) -> None:
    (tmp_path / "my file's.csv").write_bytes(b"a,b\n1,2\n")
    form = {"task": "forecasting", "name": "my file's.csv", "columns": '{"ds": "date"}'}
    call = ServiceCall("POST", "/v1/datasets", form=form, filename="my file's.csv")
    ((_, _, _, content),) = sent(call, language, tmp_path)
    assert b"a,b\n1,2\n" in content
    assert b'{"ds": "date"}' in content


@pytest.mark.parametrize(
    "call",
    [
        ServiceCall("POST", "/v1/jobs", {
            **SALES, "network": {"cell": "gru"}, "training": {"epochs": 3, "learning_rate": 0.001},
            "options": {"horizon": 7, "refit": False},
        }),
        ServiceCall("POST", "/v1/jobs", {**SALES, "options": {"name": "of its own"}}),
        ServiceCall("POST", "/v1/sweeps", {**SALES, "search": {"network.cell": ["gru", "lstm"]}}),
        ServiceCall("POST", "/v1/models/m/batch-predictions", {"dataset": "ds_1"}),
        ServiceCall("POST", "/v1/models/m/evaluations", {"dataset": "ds_1", "versions": [3], "windows": 2}),
        ServiceCall("POST", "/v1/models/m/explain", {"instances": [{"text": "so"}], "method": "gradient"}),
        ServiceCall("PUT", "/v1/models/m/aliases/production", {"version": 2}),
        ServiceCall("PUT", "/v1/models/m/aliases/b", {
            "versions": {"1": 0.75, "2": 0.25}, "shadow": 3,
            "guard": {"evaluation": "job_1", "metric": "smape"},
        }),
        ServiceCall("DELETE", "/v1/models/m/aliases/a%20b"),
        ServiceCall("DELETE", "/v1/datasets/ds_1"),
        ServiceCall("DELETE", "/v1/jobs/job_1"),
        ServiceCall("POST", "/v1/jobs/job_1/cancel"),
        ServiceCall("POST", "/v1/models/m/unheard-of", {"by": "the package"}),
    ],
    ids=lambda call: f"{call.method} {call.path}",
)  # fmt: skip
@pytest.mark.parametrize("language", ["curl", "python"])
def test_a_call_does_the_same(call: ServiceCall, language: str, tmp_path: Path) -> None:
    ((method, path, _, content),) = sent(call, language, tmp_path)
    assert (method, path) == (call.method, call.path)
    body = json.loads(content) if content else None
    assert without_empty(body) == call.body


def without_empty(body: Any) -> Any:
    """A body without parts that say nothing, which the package may add."""
    if not isinstance(body, Mapping):
        return body
    return {name: value for name, value in body.items() if value != {}}


def run(call: ServiceCall, url: str, language: str, directory: Path) -> None:
    if language == "curl":
        if shutil.which("curl") is None:
            pytest.skip("there is no curl here")
        command = ["bash", "-c", curl(call, url, keyed=True)]
    else:
        command = [sys.executable, "-c", python(call, url, keyed=True)]
    environment = {"RECURRA_API_KEY": "rk_secret", "PATH": "/usr/bin:/bin", "HOME": "/nowhere"}
    environment["PYTHONPATH"] = os.fspath(CLIENT)
    done = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_training_reads_like_a_notebook() -> None:
    call = ServiceCall("POST", "/v1/jobs", {
        "task": "forecasting", "dataset": "ds_1", "model": "sales", "options": {"horizon": 14},
    })  # fmt: skip
    assert python(call, "http://127.0.0.1:8000", keyed=False).splitlines() == [
        "import recurra",
        "",
        "client = recurra.Client('http://127.0.0.1:8000')",
        "model = client.train('ds_1', task='forecasting', model='sales', horizon=14)",
        "print(model.version().comparison())",
    ]
