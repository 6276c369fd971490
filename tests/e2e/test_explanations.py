"""Explanations as a stranger asks for them: trained, asked and drawn through the whole service."""

import base64
import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import numpy as np
import pytest

from app.typedefs import Json
from tests.support.factories import labels, recordings
from tests.support.factories.bilingual import jsonl, sentences
from tests.support.factories.texts import verses
from tests.support.fixtures.processes import ENVIRONMENT, RECURRA, command_line, descendants
from tests.support.fixtures.servers import until
from tests.support.fixtures.service import monthly
from tests.support.fixtures.stack import Stack

SMALL: Json = {"epochs": 1, "batch_size": 64}
SUNG = base64.b64encode(recordings.written(recordings.sung("ab c", np.random.default_rng(0)))).decode()
# By task: a file, its name, options, an instance, and what its steps are called.
TASKS: dict[str, tuple[Callable[[], bytes], str, Json, Json, list[str] | str]] = {
    "forecasting": (
        monthly,
        "shop.csv",
        {"horizon": 6},
        {"values": [100 + month % 12 for month in range(30)], "start": "2020-01-01"},
        "2022-06-01",
    ),
    "classification": (
        lambda: labels.jsonl(labels.snippets(120)),
        "mood.jsonl",
        {},
        {"text": "a lovely film"},
        ["a", "lovely", "film"],
    ),
    "generation": (
        lambda: verses().encode(),
        "verses.txt",
        {"tokens": "character", "vocabulary_size": 100},
        {"prompt": "king"},
        ["⟨/s⟩", "k", "i", "n", "g"],
    ),
    "translation": (
        lambda: jsonl(sentences(200)),
        "pairs.jsonl",
        {},
        {"text": "the red house"},
        "⟨/s⟩",
    ),
    "speech": (recordings.songs, "songs.zip", {}, {"audio_base64": SUNG}, " s"),
}


def explainers(stack: Stack) -> set[int]:
    """What has imported torch to explain, and its children."""
    return {pid for pid in descendants(stack.pid) if "workers.explanation" in command_line(pid)}


def ask(stack: Stack, model: str, instance: Json, query: str = "", **body: Any) -> httpx.Response:
    content = {"instances": [instance], **body}
    return stack.http.post(f"/v1/models/{model}/explain{query}", json=content)


@pytest.fixture(scope="module")
def trained(stack: Stack) -> Callable[[str], str]:
    """The name of a model of a task."""
    made: dict[str, str] = {}

    def train(task: str) -> str:
        if task not in made:
            content, name, options, *_ = TASKS[task]
            files: Any = {"file": (name, content()), "task": (None, task)}
            dataset = stack.http.post("/v1/datasets", files=files).raise_for_status().json()["id"]
            network: Json = {"hidden_size": 12}
            job_id = stack.submit(
                dataset, f"why-{task}", task=task, options=options, network=network, training=SMALL
            )
            job = stack.wait(job_id)
            assert job["status"] == "succeeded", job["error"]
            made[task] = f"why-{task}"
        return made[task]

    return train


@pytest.mark.parametrize("task", TASKS)
def test_every_kind_of_task_explains(stack: Stack, trained: Callable[[str], str], task: str) -> None:
    *_, instance, steps = TASKS[task]
    model = trained(task)
    answer = ask(stack, model, instance)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["model"], found["version"]) == (model, 1)
    if isinstance(steps, list):
        assert found["steps"] == steps
    else:
        assert found["steps"][-1].endswith(steps)
    assert sum(found["influence"]) == pytest.approx(1, abs=1e-4)
    predicted = stack.http.post(f"/v1/models/{model}/predict", json={"instances": [instance]}).json()
    (expected,) = predicted["predictions"]
    assert found["prediction"].keys() == expected.keys()
    for name in ("label", "timestamps") if task != "generation" else ():  # without a seed it varies
        assert found["prediction"].get(name) == expected.get(name)
    picture = ask(stack, model, instance, "?format=svg&alias=production", method="integrated_gradients")
    assert ET.fromstring(picture.text).tag.endswith("svg")  # noqa: S314 - our own


def test_nothing_is_started_before_somebody_asks_and_the_dead_are_replaced(
    stack: Stack, trained: Callable[[str], str]
) -> None:
    *_, instance, _ = TASKS["forecasting"]
    model = trained("forecasting")
    assert ask(stack, model, instance).status_code == 200
    for pid in explainers(stack):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not explainers(stack), what="the end of the processes")
    assert stack.predict(model).status_code == 200
    assert ask(stack, model, instance).status_code == 200


def test_what_is_wrong_is_the_clients(stack: Stack, trained: Callable[[str], str]) -> None:
    model = trained("generation")
    refused = ask(stack, model, {"prompt": "king"}, parameters={"stream": True})
    assert refused.json()["errors"][0]["pointer"] == "/parameters/stream"
    two = stack.http.post(f"/v1/models/{model}/explain", json={"instances": [{"prompt": "a"}] * 2})
    assert two.json()["errors"][0]["pointer"] == "/instances"


def test_the_command_line_explains(stack: Stack, trained: Callable[[str], str], tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        command = [*RECURRA, "explain", trained("classification"), *arguments]
        environment = ENVIRONMENT | {"RECURRA_URL": str(stack.http.base_url)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        return done.stdout

    instance = json.dumps({"text": "a lovely film"})
    lines = run(instance).splitlines()
    assert [line.split()[1] for line in lines[-3:]] == ["a", "lovely", "film"]
    assert json.loads(run(instance, "--integrated", "--json"))["method"] == "integrated_gradients"
    run(instance, "--svg", str(tmp_path / "why.svg"))
    assert (tmp_path / "why.svg").read_text().startswith("<svg")
