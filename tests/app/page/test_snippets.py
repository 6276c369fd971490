"""What the page has done can be done without it, by the commands that it shows."""

import base64
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.page.calls import ServiceCall
from app.page.snippets import curl, python
from app.typedefs import Json
from tests.support.fixtures.recorder import recording_server

BODIES: list[Json] = [
    {"instances": [{"text": 'It\'s "quoted" $HOME `x` <b>\n ä'}]},
    {"instances": [{"values": [1.5, None, 3]}], "parameters": {"attention": True}},
]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("language", ["curl", "python"])
def test_a_call_with_json_arrives_as_it_was(body: Json, language: str, tmp_path: Path) -> None:
    with recording_server() as (url, requests):
        run(ServiceCall("POST", "/v1/models/a%20b/predict", body), url, language, tmp_path)
    method, path, headers, content = requests[0]
    assert (method, path) == ("POST", "/v1/models/a%20b/predict")
    assert headers["authorization"] == "Bearer rk_secret"
    assert json.loads(content) == body


@pytest.mark.parametrize("language", ["curl", "python"])
def test_a_file_in_a_body_is_named(language: str, tmp_path: Path) -> None:
    (tmp_path / "FILE").write_bytes(b"\x00\x01sound" * 20)
    body = {"instances": [{"audio_base64": base64.b64encode(b"what was sent").decode()}]}
    with recording_server() as (url, requests):
        run(ServiceCall("POST", "/v1/models/m/predict", body), url, language, tmp_path)
    sent = json.loads(requests[0][3])["instances"][0]["audio_base64"]
    assert base64.b64decode(sent) == (tmp_path / "FILE").read_bytes()


@pytest.mark.parametrize("language", ["curl", "python"])
def test_an_upload_sends_the_file(language: str, tmp_path: Path) -> None:
    (tmp_path / "my file's.csv").write_bytes(b"a,b\n1,2\n")
    form = {"task": "forecasting", "columns": '{"ds": "date"}'}
    call = ServiceCall("POST", "/v1/datasets", form=form, filename="my file's.csv")
    with recording_server() as (url, requests):
        run(call, url, language, tmp_path)
    content = requests[0][3]
    assert b"a,b\n1,2\n" in content
    assert b'{"ds": "date"}' in content


@pytest.mark.parametrize("language", ["curl", "python"])
@pytest.mark.parametrize("method", ["DELETE", "PUT", "POST"])
def test_other_methods(language: str, method: str, tmp_path: Path) -> None:
    body = {"version": 2} if method == "PUT" else None
    with recording_server() as (url, requests):
        run(ServiceCall(method, "/v1/models/m/aliases/a", body), url, language, tmp_path)
    assert requests[0][0] == method


def run(call: ServiceCall, url: str, language: str, directory: Path) -> None:
    if language == "curl":
        if shutil.which("curl") is None:
            pytest.skip("there is no curl here")
        command = ["bash", "-c", curl(call, url, keyed=True)]
    else:
        command = [sys.executable, "-c", python(call, url, keyed=True)]
    environment = {"RECURRA_API_KEY": "rk_secret", "PATH": "/usr/bin:/bin", "HOME": "/nowhere"}
    done = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
