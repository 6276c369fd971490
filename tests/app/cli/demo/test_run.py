"""The demo of every task against a server that is played: what it sends and prints, and how it ends."""

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec
import pytest

from app.cli.console import DEFAULT_URL
from app.cli.demo import run
from app.cli.demo.by_hand import MAX_BODY_CHARS
from app.cli.demo.run import SAMPLES, DemoFailed, is_better, job_request, read_questions, run_demo, train
from app.hyperparameters.options import NetworkIn, TrainingIn
from app.ingest.readers import Mapping, open_source
from app.tasks import TASKS
from app.tasks.contract import Task
from app.tasks.demonstration import Question
from app.tasks.source import Faults
from app.typedefs import Json
from recurra import Client

EACH = pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
MAX_SAMPLE_BYTES = 900_000


def questions_of(task: Task) -> list[Question]:
    return read_questions(task, SAMPLES / task.demo.sample)


def right_prediction(question: Question) -> Json:
    """What a network that makes no mistake predicts, of any task: each takes the fields it knows."""
    example = question.example
    label, actual = example.get("label", ""), example.get("actual", [])
    return {
        "label": label,
        "scores": {label: 0.9},
        "tokens": example.get("tokens", []),
        "tags": example.get("tags", []),
        "text": example.get("target", "word"),
        "words": [{"word": "word"}],
        "duration_seconds": 1.0,
        "notes": [{"pitch": 60, "start": 0.0, "end": 1.0, "velocity": 80}],
        "statistics": {"notes": 1, "key": "C major", "notes_in_key": 1.0},
        "mean": actual,
        "quantiles": {"0.1": actual, "0.9": actual},
    }


class PlayedServer:
    """A server that trains at once, as well as it is configured to."""

    def __init__(self, task: Task, network: float, baseline: float) -> None:
        self.task, self.predictions = task, list[Json]()
        self._metrics = {
            "metrics": dict.fromkeys(task.demo.metrics, network),
            "baseline": dict.fromkeys(task.demo.metrics, baseline),
        }
        self._jobs: dict[str, Json] = {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path == "/v1/datasets":
            assert f'filename="{self.task.demo.sample}"'.encode() in request.read()
            return httpx.Response(
                201,
                json={"id": "ds_1", "warnings": [], "summary": {"rows": 1433, "examples": 143, "classes": 6}},
            )
        if path.endswith("/predict"):
            return self._predict(json.loads(request.content))
        if "/versions/" in path:
            version = {"model": path.split("/")[3], "version": 1, "network": {"cell": "lstm"}}
            return httpx.Response(200, json=version | self._metrics)
        if path == "/v1/jobs":
            job = json.loads(request.content) | {"id": f"job_{len(self._jobs)}"}
            self._jobs[job["id"]] = job | {"status": "succeeded", "model_version": 1}
            return httpx.Response(202, json=self._jobs[job["id"]])
        return httpx.Response(200, json=self._jobs[path.split("/")[3]])

    def _predict(self, body: Json) -> httpx.Response:
        self.predictions.append(body)
        if body.get("parameters", {}).get("stream"):
            lines = [f"data: {json.dumps({'index': 0, 'text': piece})}\n\n" for piece in ("wo", "rd")]
            return httpx.Response(
                200, content="".join([*lines, 'event: done\ndata: {"predictions": []}\n\n']).encode()
            )
        return httpx.Response(200, json={"predictions": list(map(right_prediction, questions_of(self.task)))})


Play = Callable[[Task, float, float], PlayedServer]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    def start(task: Task, network: float, baseline: float) -> PlayedServer:
        server = PlayedServer(task, network, baseline)
        monkeypatch.setattr(run, "Client", lambda url: Client(url, transport=httpx.MockTransport(server)))
        return server

    return start


def good_and_bad(task: Task) -> tuple[float, float]:
    """A better and a worse value of the metrics that count."""
    (more_is_better,) = set(task.demo.metrics.values())
    return (2.0, 1.0) if more_is_better else (1.0, 2.0)


@EACH
def test_a_sample_is_small_and_described(task: Task) -> None:
    assert (SAMPLES / task.demo.sample).stat().st_size < MAX_SAMPLE_BYTES
    assert f"`{task.demo.sample}`" in (SAMPLES / "README.md").read_text()


@EACH
def test_examples_are_held_out(task: Task, tmp_path: Path) -> None:
    sample = SAMPLES / task.demo.sample
    if task.demo.hold_out is None:
        source = open_source(sample, sample.suffix[1:], Mapping({}), Faults())
        rows = [row for _, row in source.records()]
        assert {row["split"] for row in rows} == {"train", "valid", "test"}
        assert all(question.example.get("split", "test") == "test" for question in questions_of(task))
    else:
        task.demo.hold_out(sample, tmp_path / "part")
        part = (tmp_path / "part").read_text().splitlines()
        assert 0 < len(part) < len(sample.read_text().splitlines())


@EACH
def test_what_it_sends_is_what_the_service_takes(task: Task) -> None:
    for model in task.demo.jobs:
        request = job_request(task, "ds_1", model)
        NetworkIn.model_validate(request["network"])
        TrainingIn.model_validate(request["training"])
        task.options.model_validate(request["options"])
    for question in questions_of(task):
        msgspec.convert(question.instance, task.instance)  # which forbids unknown fields
        msgspec.convert(question.brief, task.instance)
    msgspec.convert(task.demo.parameters, task.parameters)


@EACH
def test_a_demo_from_upload_to_prediction(
    task: Task, play: Play, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network, baseline = good_and_bad(task)
    server = play(task, network, baseline)
    run_demo("http://server", task, tmp_path)
    shown = capsys.readouterr().out
    assert f"Uploaded {task.demo.sample} as ds_1: " in shown
    for model in task.demo.jobs:
        metric = next(iter(task.demo.metrics))
        assert (
            f"{model} is better than {task.demo.baseline}: {metric} {network:g} against {baseline:g}" in shown
        )
    for question in questions_of(task):
        texts = [value for value in question.example.values() if isinstance(value, str) and value != "test"]
        assert all(text in shown for text in texts)
    _, _, after = shown.partition("The same by hand, while `recurra up` runs")
    by_hand = after.split("\n\n")[0].splitlines()[1:]
    assert len(by_hand) == 9
    assert by_hand[0] == f"  URL={DEFAULT_URL}"
    assert "http://server" not in "".join(by_hand)  # which is gone when they are read
    assert server.predictions[0]["instances"][0] == questions_of(task)[0].instance
    if by_hand[-1].startswith("  curl"):
        body = json.loads(by_hand[-1].split("'")[3])
        assert body["instances"] == [questions_of(task)[0].brief]
        assert body.get("parameters", {}).get("stream", False) is (task.demo.render is None)
    else:  # a file in base64 is too long to be shown
        assert len(json.dumps(questions_of(task)[0].brief)) > MAX_BODY_CHARS - 100


@EACH
def test_a_network_that_is_not_better_is_named(
    task: Task, play: Play, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    play(task, 1.0, 1.0)
    model, metric = next(iter(task.demo.jobs)), next(iter(task.demo.metrics))
    if task.demo.must_win:
        with pytest.raises(DemoFailed, match=f"{model} is not better than {task.demo.baseline}: {metric} 1"):
            run_demo("http://server", task, tmp_path)
    else:
        run_demo("http://server", task, tmp_path)
        assert f"{model} is not better: {metric} 1 against 1" in capsys.readouterr().out


def test_every_metric_counts_and_nan_is_not_better() -> None:
    demo = TASKS["forecasting"].demo
    assert demo.metrics.keys() == {"smape", "mase"}
    version = {"metrics": {"smape": 9.0, "mase": 1.2}, "baseline": {"smape": 10.0, "mase": 1.2}}
    assert not is_better(demo, version)
    version["metrics"] = {"smape": 9.0, "mase": float("nan")}
    assert not is_better(demo, version)
    version["metrics"] = {"smape": 9.0, "mase": 1.1}
    assert is_better(demo, version)


def test_a_job_that_fails_ends_a_demo() -> None:
    failed = {"id": "job_1", "model": "m", "status": "failed", "error": {"message": "no space"}}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=failed))
    with (
        Client("http://server", transport=transport) as client,
        pytest.raises(DemoFailed, match="failed: no space"),
    ):
        train(client, {})
