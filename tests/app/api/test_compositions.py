"""Music over HTTP with a real predictor: files as inputs and as answers, whole, streamed and as tensors."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.media.limits import MediaLimits
from app.media.midi import decode_midi
from app.tasks.contract import bytes_to_json
from app.typedefs import Json
from tests.support.factories import music
from tests.support.factories.speaking import composer, events, publish, speaking
from tests.support.fixtures.servers import Valkey, until
from tests.support.fixtures.service import Service, problem, service

PREDICT = "/v1/models/bach/predict"
PRIMER = bytes_to_json(music.chorale(1))


@pytest.fixture(scope="module")
def music_service(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, redis_server: Valkey
) -> Iterator[Service]:
    """A service with a model that composes, and a predictor."""
    directory = tmp_path_factory.mktemp("compositions")
    (directory / "test.db").write_bytes(sqlite_template.read_bytes())
    with service(directory, f"sqlite:///{directory / 'test.db'}", redis_server.url) as made:
        composer(directory / "bach")
        publish(made, directory / "bach", "bach", "music")
        with speaking(made, directory):
            until(lambda: ask(made, {}, seconds=1).status_code == 200, what="the first answer")
            yield made


def ask(running: Service, *instances: Json, **parameters: Any) -> httpx.Response:
    return running.http.post(PREDICT, json={"instances": instances, "parameters": parameters})


def test_a_stream_has_the_notes_of_the_answer(music_service: Service) -> None:
    how: Json = {"seconds": 3, "seed": 5, "temperature": 0.8}
    instances: list[Json] = [{}, {"midi_base64": PRIMER}]
    whole = ask(music_service, *instances, **how).json()
    *message, (name, done) = events(ask(music_service, *instances, **how, stream=True).content)
    assert (name, done) == ("done", whole)
    for index, prediction in enumerate(whole["predictions"]):
        text = "".join(one["text"] for _, one in message if one["index"] == index)
        lines = [json.loads(line) for line in text.splitlines()]
        assert sorted(lines, key=str) == sorted(prediction["notes"], key=str)
        decoded = decode_midi(base64.b64decode(prediction["midi_base64"]), MediaLimits())
        assert len(decoded["notes"]) == len(prediction["notes"])


@pytest.mark.parametrize(
    ("instance", "parameters", "pointer"),
    [
        ({"midi_base64": "not base64!"}, {}, "/instances/1/midi_base64"),
        ({"midi_base64": "TVRo ZA=="}, {}, "/instances/1/midi_base64"),
        ({"midi_base64": "data:audio/midi;base64," + PRIMER}, {}, "/instances/1/midi_base64"),
        ({"midi_base64": bytes_to_json(b"RIFF....WAVE")}, {}, "/instances/1/midi_base64"),
        ({"midi_base64": bytes_to_json(music.midi([[]]))}, {}, "/instances/1/midi_base64"),
        ({"midi": PRIMER}, {}, "/instances/1"),
        ({}, {"seconds": 0}, "/parameters/seconds"),
        ({}, {"seconds": 1e9}, "/parameters/seconds"),
        ({}, {"temperature": -1}, "/parameters/temperature"),
        ({}, {"top_p": 2}, "/parameters/top_p"),
    ],
)
def test_one_bad_instance_is_named(
    music_service: Service, instance: Json, parameters: Json, pointer: str
) -> None:
    answer = ask(music_service, {}, instance, {"midi_base64": PRIMER}, **parameters)
    body = problem(answer, 422)
    assert pointer in [error["pointer"] for error in body["errors"]], body


def test_temperature_zero_repeats_without_a_seed(music_service: Service) -> None:
    one, other = (ask(music_service, {}, seconds=2, temperature=0).json()["predictions"] for _ in range(2))
    assert one == other


def test_the_open_inference_protocol_has_files_as_bytes(music_service: Service) -> None:
    tensor = {"name": "midi_base64", "datatype": "BYTES", "shape": [2], "data": [PRIMER, ""]}
    body = {"inputs": [tensor], "parameters": {"seconds": 2, "seed": 3}}
    outputs = music_service.http.post("/v2/models/bach/infer", json=body).json()["outputs"]
    files = next(one["data"] for one in outputs if one["name"] == "midi_base64")
    expected = ask(music_service, {"midi_base64": PRIMER}, {}, seconds=2, seed=3).json()["predictions"]
    assert files == [prediction["midi_base64"] for prediction in expected]
