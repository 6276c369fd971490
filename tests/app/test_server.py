"""The server's own part: what is written in one turn leaves in one piece."""

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.database.engine import make_engine, make_sessions
from app.database.migrate import upgrade
from app.database.tables import Job
from app.server import CoalescingTransport
from tests.app.api.test_raw import served
from tests.support.fixtures.processes import ENVIRONMENT
from tests.support.fixtures.servers import until

REPEATED = re.compile(r"lane replies cannot be read.*\((\d+) times in")


class Transport:
    """Remembers what was asked of it."""

    def __init__(self) -> None:
        self.done: list[Any] = []

    def write(self, data: bytes) -> None:
        self.done.append(data)

    def close(self) -> None:
        self.done.append("closed")

    def is_closing(self) -> bool:
        return "closed" in self.done


def run(scenario: Any) -> list[Any]:
    async def main() -> list[Any]:
        transport = Transport()
        corked = CoalescingTransport(transport, asyncio.get_running_loop())  # type: ignore[arg-type]
        await scenario(corked, transport)
        return transport.done

    return asyncio.run(main())


def test_writes_of_one_turn_leave_together() -> None:
    async def scenario(corked: CoalescingTransport, transport: Transport) -> None:
        corked.write(b"head")
        corked.write(b"")
        corked.write(b"body")
        assert transport.done == []
        await asyncio.sleep(0)
        assert transport.done == [b"headbody"]
        corked.write(b"next")
        await asyncio.sleep(0)

    assert run(scenario) == [b"headbody", b"next"]


def test_nothing_is_lost_by_closing() -> None:
    async def scenario(corked: CoalescingTransport, transport: Transport) -> None:
        assert not corked.is_closing()
        corked.write(b"last")
        corked.close()
        assert corked.is_closing()
        await asyncio.sleep(0)

    assert run(scenario) == [b"last", "closed"]


async def pieces(scope: Any, receive: Any, send: Any) -> None:
    """Two pieces, the second when the client has asked for it by sending on."""
    if scope["type"] != "http":
        return
    head = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}
    await send(head)
    await send({"type": "http.response.body", "body": b"first", "more_body": True})
    await receive()
    while (await receive())["type"] != "http.disconnect":
        pass


def exchange(url: str, request: bytes, until_seen: bytes) -> bytes:
    host, port = url.removeprefix("http://").split(":")
    observed = b""
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(request)
        while until_seen not in observed and (piece := client.recv(1 << 16)):
            observed += piece
    return observed


def test_a_stream_is_not_held_back() -> None:
    with served(pieces) as url:
        observed = exchange(url, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"first")
    assert observed.startswith(b"HTTP/1.1 200")


async def large(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    headers = [(b"content-length", b"%d" % (64 << 20))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for _ in range(64):
        await send({"type": "http.response.body", "body": b"x" * (1 << 20), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def test_a_large_answer_arrives_whole() -> None:
    with served(large) as url:
        assert len(httpx.get(url, timeout=60).content) == 64 << 20


@pytest.mark.parametrize("count", [1, 5])
def test_pipelined_requests_are_answered_in_order(count: int) -> None:
    async def numbered(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = scope["path"].encode()
        await asyncio.sleep(0)
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    requested = b"".join(b"GET /%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % number for number in range(count))
    with served(numbered) as url:
        observed = exchange(url, requested, b"/%d" % (count - 1))
    places = [observed.index(b"\r\n\r\n/%d" % number) for number in range(count)]
    assert places == sorted(places)


def test_every_line_of_the_server_s_log_is_json(tmp_path: Path) -> None:
    """Also uvicorn's own; without Redis, whose absence is told ever more rarely."""
    upgrade(make_engine(f"sqlite:///{tmp_path / 'test.db'}"))
    log = tmp_path / "log"
    variables = {
        "RECURRA_DATA_DIR": str(tmp_path),
        "RECURRA_DATABASE_URL": f"sqlite:///{tmp_path / 'test.db'}",
        "RECURRA_REDIS_URL": "redis://127.0.0.1:1/0",
    }
    with log.open("wb") as file:
        command = [sys.executable, "-m", "app.server", "--port", "0"]
        process = subprocess.Popen(command, env=ENVIRONMENT | variables, stdout=file, stderr=file)
    try:
        until(lambda: REPEATED.search(log.read_text()) is not None, 60, "the second warning")
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) in (0, -signal.SIGTERM)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {"uvicorn.error", "app.lanes.reply_receiver", "app.infrastructure.notices"} <= {
        line["logger"] for line in lines
    }
    second = REPEATED.search(log.read_text())
    assert second is not None
    assert int(second[1]) > 5  # so many have not been told


def test_a_setting_that_is_wrong_ends_the_server_with_a_line_of_json(tmp_path: Path) -> None:
    variables = {"RECURRA_DATA_DIR": str(tmp_path), "RECURRA_MAX_WAITING": "-1"}
    command = [sys.executable, "-m", "app.server", "--port", "0"]
    done = subprocess.run(
        command, env=ENVIRONMENT | variables, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode != 0
    assert "max_waiting" in json.loads(done.stderr.splitlines()[-1])["message"]
    assert done.stdout == ""


def test_who_waits_for_a_job_is_answered_when_the_server_stops(tmp_path: Path) -> None:
    engine = make_engine(f"sqlite:///{tmp_path / 'test.db'}")
    upgrade(engine)
    with make_sessions(engine).begin() as session:
        parts: dict[str, Any] = {"network": {}, "training": {}, "options": {}, "job_metadata": {}}
        session.add(Job(id="job_1", kind="train", task="forecasting", dataset_id="ds_1", model="m", **parts))
    engine.dispose()
    variables = {
        "RECURRA_DATA_DIR": str(tmp_path),
        "RECURRA_DATABASE_URL": f"sqlite:///{tmp_path / 'test.db'}",
        "RECURRA_REDIS_URL": "redis://127.0.0.1:1/0",
    }
    with socket.create_server(("127.0.0.1", 0)) as listener, (tmp_path / "log").open("wb") as log:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        command = [sys.executable, "-m", "app.server", "--fd", str(listener.fileno())]
        process = subprocess.Popen(
            command, env=ENVIRONMENT | variables, stdout=log, stderr=log, pass_fds=[listener.fileno()]
        )
    try:
        with ThreadPoolExecutor(1) as pool:
            tag = httpx.get(f"{url}/v1/jobs/job_1", timeout=60).headers["ETag"]
            headers = {"Prefer": "wait=60", "If-None-Match": tag}
            waiting = pool.submit(httpx.get, f"{url}/v1/jobs/job_1", headers=headers, timeout=90)
            until(waiting.running, 10, "the request")
            for _ in range(5):
                assert httpx.get(f"{url}/healthz", timeout=60).status_code == 200
            process.send_signal(signal.SIGTERM)
            answer = waiting.result(60)
        assert answer.status_code == 304
        assert answer.elapsed.total_seconds() < 55  # it did not wait to the end
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) in (0, -signal.SIGTERM)
    assert "graceful shutdown exceeded" not in (tmp_path / "log").read_text()
