"""The demos of text tasks against a server that is played: what they send, show, and how they end."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec
import pytest

from app.cli.client import Client
from app.cli.demo import text
from app.cli.demo.command import Shown
from app.cli.demo.steps import SAMPLES, Lost, learn, quoted
from app.cli.demo.text import DEMOS, Demo
from app.hyperparameters.options import NetworkIn, TrainingIn
from app.tasks import TASKS
from app.typedefs import Json

EACH = pytest.mark.parametrize("demo", DEMOS.values(), ids=list(DEMOS))
LARGEST = 450_000  # bytes of a sample


def answers(demo: Demo, row: Json) -> Json:
    """What a network that makes no mistake would say."""
    if demo.task == "classification":
        return {"label": row["label"], "scores": {row["label"]: 0.9}}
    if demo.task == "tagging":
        return {"tokens": row["tokens"], "tags": row["tags"], "entities": []}
    if demo.task == "translation":
        return {"text": row["target"], "score": -0.1}
    return {"text": "word", "finish_reason": "length", "tokens": 4}


class Played:
    """A server that trains at once, as well as it is told to."""

    def __init__(self, demo: Demo, ours: float, theirs: float) -> None:
        self.demo, self.asked = demo, list[Json]()
        self._metrics = {"metrics": {demo.metric: ours}, "baseline": {demo.metric: theirs}}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path, demo = request.url.path, self.demo
        if path == "/v1/datasets":
            assert f'filename="{demo.sample}"'.encode() in request.read()
            return httpx.Response(201, json={"id": "ds_1", "warnings": []})
        if path.endswith("/predict"):
            return self._predicted(json.loads(request.content))
        if "/versions/" in path:
            network = {"cell": "lstm"}
            version = {"model": f"demo-{demo.task}", "version": 1, "network": network, **self._metrics}
            return httpx.Response(200, json=version)
        job = {"id": "job_1", "task": demo.task, "dataset": "ds_1", "model": f"demo-{demo.task}"}
        return httpx.Response(200, json=job | {"status": "succeeded", "model_version": 1})

    def _predicted(self, asked: Json) -> httpx.Response:
        self.asked.append(asked)
        if asked.get("parameters", {}).get("stream"):
            lines = [f"data: {json.dumps({'index': 0, 'text': piece})}\n\n" for piece in ("wo", "rd")]
            return httpx.Response(200, content="".join([*lines, "event: done\ndata: {}\n\n"]).encode())
        found = [answers(self.demo, row) for row in self.demo.rows()]
        return httpx.Response(200, json={"predictions": found})


Play = Callable[[Demo, float, float], Played]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    def played(demo: Demo, ours: float, theirs: float) -> Played:
        server = Played(demo, ours, theirs)
        monkeypatch.setattr(text, "Client", lambda url: Client(url, httpx.MockTransport(server)))
        return server

    return played


def test_every_task_has_a_demo() -> None:
    assert set(Shown) == {"forecasting", *DEMOS} == set(TASKS)


@EACH
def test_a_sample_is_small_and_split(demo: Demo) -> None:
    rows = [json.loads(line) for line in demo.path.read_text(encoding="utf-8").splitlines()]
    assert {row["split"] for row in rows} == {"train", "valid", "test"}
    assert demo.path.stat().st_size < LARGEST
    assert f"`{demo.sample}`" in (SAMPLES / "README.md").read_text()


@EACH
def test_what_it_sends_is_what_the_service_takes(demo: Demo) -> None:
    wanted = demo.wanted("ds_1")
    NetworkIn.model_validate(wanted["network"])
    TrainingIn.model_validate(wanted["training"])
    task, rows = TASKS[demo.task], demo.rows()
    task.options.model_validate(wanted["options"])
    assert len(rows) >= 2
    for row in rows:
        assert demo.prompts or row["split"] == "test"
        msgspec.convert(row if demo.prompts else demo.ask(row), task.instance)
    msgspec.convert(demo.parameters, task.parameters)


@EACH
def test_a_demo_from_upload_to_prediction(demo: Demo, play: Play, capsys: pytest.CaptureFixture[str]) -> None:
    better, worse = (1.0, 2.0) if demo.falls else (2.0, 1.0)
    server = play(demo, better, worse)
    text.show("http://server", demo)
    told = capsys.readouterr().out
    assert f"The network is better than {demo.baseline}: {demo.metric} {better:.4g}" in told
    assert "Uploaded" in told
    for row in demo.rows():
        assert answers(demo, row).get("text", "") in told
        assert (row.get("prompt") or row.get("text") or row.get("source") or row["tokens"][0]) in told
    by_hand = [line for line in told.splitlines() if line.startswith("  curl")]
    assert len(by_hand) == 6
    predict = json.loads(by_hand[-1].split("'")[3])
    assert predict["instances"] == [server.asked[0]["instances"][0]]
    assert predict.get("parameters", {}).get("stream", False) is (demo.shown is None)


@EACH
def test_a_network_that_loses_is_said(demo: Demo, play: Play, capsys: pytest.CaptureFixture[str]) -> None:
    play(demo, 1.0, 1.0)
    if demo.wins:
        with pytest.raises(Lost, match=f"not better: {demo.metric} 1"):
            text.show("http://server", demo)
    else:
        text.show("http://server", demo)
        assert "The network is not better" in capsys.readouterr().out


def test_a_job_that_fails_ends_a_demo() -> None:
    failed = {"id": "job_1", "model": "m", "status": "failed", "error": {"message": "no space"}}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=failed))
    with Client("http://server", transport) as client, pytest.raises(Lost, match="failed: no space"):
        learn(client, {})


def test_an_apostrophe_does_not_end_a_word_of_the_shell() -> None:
    word = quoted({"text": "that's all"})
    assert word.count("'") == 2
    assert json.loads(word.strip("'")) == {"text": "that's all"}


@pytest.mark.slow
@pytest.mark.timeout(400)
@EACH
def test_the_whole_demo(demo: Demo, tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RECURRA_")}
    done = subprocess.run(
        [sys.executable, "-P", "-c", "from app.cli import main; main()", "demo", "--task", demo.task],
        capture_output=True, text=True, timeout=390, cwd=tmp_path, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert ("The network is better than" in done.stdout) or not demo.wins
    assert "The same by hand:" in done.stdout
    assert "Traceback" not in done.stderr
    assert not any(tmp_path.iterdir())
