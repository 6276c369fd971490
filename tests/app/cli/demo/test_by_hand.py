"""The requests of a demo as commands for a shell."""

import json
from pathlib import Path

from app.cli.demo.by_hand import commands, shell_quote
from app.typedefs import Json

JOB: Json = {"id": "job_1", "task": "forecasting", "dataset": "ds_1", "model": "demo-gru", "model_version": 2}


def test_the_commands_have_the_ids_and_bodies_of_the_run() -> None:
    request = {"task": "forecasting", "network": {"cell": "gru"}, "options": {}}
    prediction = {"instances": [{"values": [1, 2]}]}
    lines = list(commands("http://server", Path("/sample.csv"), request, JOB, prediction))
    bodies = [json.loads(line.split("'")[3]) for line in lines if " -d '" in line]
    assert bodies == [{"task": "forecasting", "network": {"cell": "gru"}}, prediction]
    assert sum(line.startswith("  curl") for line in lines) == 6
    assert any(line.endswith("http://server/v1/jobs/job_1") for line in lines)
    assert any(line.endswith("/v1/models/demo-gru/versions/2") for line in lines)


def test_a_streamed_prediction_is_not_buffered() -> None:
    prediction = {"instances": [{"prompt": "a"}], "parameters": {"stream": True}}
    *_, last = commands("http://server", Path("/sample"), {}, JOB, prediction)
    assert last.startswith("  curl -N ")


def test_an_apostrophe_does_not_end_a_word_of_the_shell() -> None:
    word = shell_quote({"text": "that's all"})
    assert word.count("'") == 2
    assert json.loads(word.strip("'")) == {"text": "that's all"}
