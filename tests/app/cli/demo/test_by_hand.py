"""The requests of a demo as commands for a shell."""

import json
from pathlib import Path

from app.cli.demo.by_hand import commands, shell_quote
from app.typedefs import Json

REQUEST: Json = {"task": "forecasting", "dataset": "ds_1", "model": "demo-gru", "network": {"cell": "gru"}}


def test_the_commands_have_the_bodies_of_the_run_and_ids_of_their_own() -> None:
    prediction = {"instances": [{"values": [1, 2]}]}
    lines = list(commands("http://server", Path("/sample.csv"), REQUEST | {"options": {}}, prediction))
    bodies = [line.partition(" -d '")[2].partition("' $URL")[0] for line in lines if " -d '" in line]
    assert json.loads(bodies[0].replace("'$DATASET'", "ds_1")) == REQUEST
    assert json.loads(bodies[1]) == prediction
    assert lines[1] == "  URL=http://server"
    assert not any("ds_1" in line for line in lines)
    assert lines[-1].endswith("$URL/v1/models/demo-gru/predict")


def test_a_streamed_prediction_is_not_buffered() -> None:
    prediction = {"instances": [{"prompt": "a"}], "parameters": {"stream": True}}
    *_, last = commands("http://server", Path("/sample"), REQUEST, prediction)
    assert last.startswith("  curl -sS -N ")


def test_what_is_too_long_to_be_shown_is_a_file_for_the_command_line() -> None:
    prediction = {"instances": [{"audio_base64": "A" * 3000}]}
    *_, last = commands("http://server", Path("/my samples/a.wav"), REQUEST, prediction)
    assert last == "  recurra predict demo-gru '/my samples/a.wav' --url $URL"


def test_an_apostrophe_does_not_end_a_word_of_the_shell() -> None:
    word = shell_quote({"text": "that's all"})
    assert word.count("'") == 2
    assert json.loads(word.strip("'")) == {"text": "that's all"}
