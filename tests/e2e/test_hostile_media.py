"""A hundred hostile archives and media files over HTTP, and ordinary ones: right answers, nothing is left."""

import base64
import os
import signal
import socket
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest

from app.api.forwarding.forwarder import LARGE_BYTES
from app.media.decoder import MAX_DECODERS
from benchmarks.hostile import (
    ENVIRONMENT,
    MAX_UPLOAD_BYTES,
    fault_of,
    hostile_cases,
    ordinary_cases,
    send_question,
    send_upload,
    train_tiny,
    watched,
)
from tests.support.factories.hostile_archives import KINDS, MUSIC, SPEECH
from tests.support.factories.hostile_media import (
    FLAC_HOUR,
    hostile_questions,
    ordinary_questions,
)
from tests.support.factories.recordings import RATE, written
from tests.support.factories.zips import pack
from tests.support.fixtures.processes import command_line, descendants, has_ended, processes_below, up
from tests.support.fixtures.servers import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_800)]
MAX_GROWTH_BYTES = 64 << 20
DECODER = "app.media.child"


class Target(NamedTuple):
    """The service that is sent all this."""

    http: httpx.Client
    url: str
    pid: int
    api: int
    data_dir: Path
    temp_dir: Path


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A service with a tiny model for each task, named like it."""
    directory = tmp_path_factory.mktemp("hostile")
    temp_dir = directory / "tmp"
    temp_dir.mkdir()
    with (
        up(directory / "data", **ENVIRONMENT, TMPDIR=str(temp_dir)) as (process, url),
        httpx.Client(base_url=url, timeout=60) as http,
    ):
        (api,) = processes_below(process.pid, "app.server", "--processes")
        for kind in KINDS:
            train_tiny(http, kind)
        http.post("/v1/datasets", content=b" " * (LARGE_BYTES + 1))  # starts the process for large requests
        yield Target(http, url, process.pid, api, directory / "data", temp_dir)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def traces(target: Target) -> dict[str, Any]:
    """What requests could leave behind: files, rows, and processes but the decoders of the API."""
    with sqlite3.connect(f"file:{target.data_dir / 'recurra.db'}?mode=ro", uri=True) as database:
        names = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        names.remove("idempotency_keys")  # which are kept for a day
        rows = {name: database.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names}  # noqa: S608
    known = (DECODER, "workers.process.fork_server")  # which ends when it has been idle for a minute
    below = {pid for pid in descendants(target.pid) if not any(one in command_line(pid) for one in known)}
    return {
        "stored": sorted(str(path) for path in (target.data_dir / "storage").rglob("*") if path.is_file()),
        "incoming": sorted((target.data_dir / "incoming").iterdir()),
        "temporary": sorted(path for path in target.temp_dir.rglob("*") if path.is_file()),
        "rows": rows,
        "processes": sorted(command_line(pid) or str(pid) for pid in below),
    }


@pytest.fixture(autouse=True)
def nothing_is_left(target: Target) -> Iterator[None]:
    """Before and after each test there is the same, but for the decoders of the API."""
    before = traces(target)
    yield
    with suppress(AssertionError):  # the last comparison says what is left
        until(lambda: traces(target) == before, 20, "an end of everything that was begun")
    assert traces(target) == before
    assert len(processes_below(target.pid, DECODER)) <= 2 * MAX_DECODERS  # of either API process
    assert processes_below(target.pid, DECODER) == processes_below(target.api, DECODER)
    assert not [pid for pid in descendants(target.pid) if has_ended(pid)]


def test_hostile_uploads_are_refused_where_they_are_wrong(target: Target) -> None:
    with watched(target.url, target.api) as watch:
        outcomes = [send_upload(target.http, case) for case in hostile_cases()]
    assert [outcome for outcome in outcomes if outcome.fault] == []
    assert len(outcomes) >= 100
    assert watch.growth < MAX_GROWTH_BYTES


def test_ordinary_uploads_are_taken(target: Target) -> None:
    with watched(target.url, target.api) as watch:
        outcomes = [send_upload(target.http, case) for case in ordinary_cases()]
    assert [outcome for outcome in outcomes if outcome.fault] == []
    assert len(outcomes) >= 30
    assert watch.growth < MAX_GROWTH_BYTES


def test_hostile_instances_are_named(target: Target) -> None:
    with watched(target.url, target.api) as watch:
        outcomes = [send_question(target.http, question) for question in hostile_questions()]
    assert [outcome for outcome in outcomes if outcome.fault] == []
    assert len(outcomes) >= 60
    assert watch.growth < MAX_GROWTH_BYTES


def test_ordinary_instances_are_answered(target: Target) -> None:
    with watched(target.url, target.api) as watch:
        outcomes = [send_question(target.http, question) for question in ordinary_questions()]
    assert [outcome for outcome in outcomes if outcome.fault] == []
    assert len(outcomes) >= 30
    assert watch.growth < MAX_GROWTH_BYTES


def test_bodies_over_the_limits_are_refused(target: Target) -> None:
    large: Any = {"task": (None, "speech"), "file": ("a.zip", bytes(MAX_UPLOAD_BYTES + 1))}
    body = b'{"instances": [{"audio_base64": "' + b"A" * (88 << 20) + b'"}]}'
    with watched(target.url, target.api) as watch:
        assert fault_of(target.http.post("/v1/datasets", files=large), 413, "/file") == ""
        assert target.http.post("/v1/models/speech/predict", content=body).status_code == 413
    assert watch.growth < MAX_GROWTH_BYTES


@pytest.mark.parametrize("claimed", [-1_000, 1_000])
def test_an_upload_that_ends_early_leaves_nothing(target: Target, claimed: int) -> None:
    request = target.http.build_request(
        "POST", "/v1/datasets", files={"task": (None, "speech"), "file": ("a.zip", pack(SPEECH.files(), 0))}
    )
    body, address = request.read(), urlsplit(target.url)
    head = f"POST /v1/datasets HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: close\r\n"
    head += (
        f"Content-Type: {request.headers['content-type']}\r\nContent-Length: {len(body) + claimed}\r\n\r\n"
    )
    with socket.create_connection((address.hostname, address.port or 80), timeout=20) as client:
        client.sendall(head.encode() + body)
        client.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: client.recv(65_536), b""))
    assert not answer or b" 400 " in answer[:40] or b" 422 " in answer[:40]
    assert target.http.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("signum", "status", "pointers"),
    [(signal.SIGSEGV, 422, ["/instances/0/audio_base64"]), (signal.SIGTERM, 503, [])],
)
def test_a_decoder_that_dies_is_replaced(
    target: Target, signum: int, status: int, pointers: list[str]
) -> None:
    ended = threading.Event()

    def kill() -> None:
        while not ended.wait(0.02):
            for pid in processes_below(target.api, DECODER):
                os.kill(pid, signum)

    killer = threading.Thread(target=kill)
    killer.start()
    body = {"instances": [{"audio_base64": base64.b64encode(FLAC_HOUR).decode()}]}
    try:
        answer = target.http.post("/v1/models/speech/predict", json=body)
    finally:
        ended.set()
        killer.join()
    assert answer.status_code == status
    assert [error["pointer"] for error in answer.json()["errors"]] == pointers
    assert ("retry-after" in answer.headers) == (status == 503)
    good = {"instances": [{"audio_base64": base64.b64encode(SPEECH.content).decode()}]}
    assert target.http.post("/v1/models/speech/predict", json=good).status_code == 200


def test_long_recordings_at_once_leave_the_other_models_alone(target: Target) -> None:
    minutes = written(np.zeros((RATE * 590, 1), np.int16), RATE, "FLAC")
    body = {"instances": [{"audio_base64": base64.b64encode(minutes).decode()}]}

    def ask(number: int) -> int:
        answer = httpx.post(f"{target.url}/v1/models/speech/predict", json=body, timeout=120)
        return answer.status_code

    with ThreadPoolExecutor(30) as threads:
        waiting = [threads.submit(ask, number) for number in range(30)]
        note = {"instances": [{}], "parameters": {"seconds": 0.5}}
        assert target.http.post("/v1/models/music/predict", json=note).status_code == 200
        statuses = {one.result() for one in waiting}
    assert statuses <= {200, 429, 504}
    assert 200 in statuses
    short = {"instances": [{"audio_base64": base64.b64encode(SPEECH.content).decode()}]}
    assert target.http.post("/v1/models/speech/predict", json=short).status_code == 200


def test_one_archive_uploaded_many_times_with_one_key_is_one_data_set(target: Target) -> None:
    content, key = pack(MUSIC.files()), f"key-{os.getpid()}"

    def send(headers: dict[str, str]) -> httpx.Response:
        form: Any = {"task": (None, "music"), "file": ("a.zip", content)}
        return httpx.post(f"{target.url}/v1/datasets", files=form, headers=headers, timeout=60)

    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(send, [{"Idempotency-Key": key}] * 10))
    assert {answer.status_code for answer in answers} <= {201, 409}
    again = send({"Idempotency-Key": key})
    (dataset,) = {answer.json()["id"] for answer in [*answers, again] if answer.status_code == 201}
    body = {"task": "music", "dataset": dataset, "model": "other", "training": {"epochs": 50}}
    job = target.http.post("/v1/jobs", json=body).json()["id"]
    assert target.http.delete(f"/v1/datasets/{dataset}").status_code == 409
    target.http.post(f"/v1/jobs/{job}/cancel").raise_for_status()
    until(
        lambda: target.http.get(f"/v1/jobs/{job}").json()["status"] == "cancelled", 60, "the end of the job"
    )
    assert target.http.delete(f"/v1/jobs/{job}").status_code == 204
    assert target.http.delete(f"/v1/datasets/{dataset}").status_code == 204
