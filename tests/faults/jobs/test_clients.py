"""Clients that are slow, many, cut off, or repeat themselves: the others do not notice."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from app.infrastructure.events.job_events import append_events
from benchmarks.serving.processes import idle_percent
from tests.faults.jobs.harness import SAMPLE, Stack
from tests.faults.jobs.parts import Part
from tests.faults.jobs.siege import Pulse, Siege, siege
from tests.support.fixtures.servers import until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

AT_ONCE, LAG = 2.0, 0.15  # seconds: an answer from the database, and all but one in twenty of the cheapest
SLOW, IDLE, DEAF = 200, 300, 10  # clients
EVENTS, EVENT_BYTES = 5000, 4000
GROWTH = 64 << 20  # bytes of memory that all of them may cost
CALM = 40.0  # percent of a core, when there is nothing to tell to hundreds
BOUNDARY = b"cut"


def memory(part: Part) -> int:
    """Bytes that a process holds."""
    pages = int(Path(f"/proc/{part.pid}/statm").read_text().split()[1])
    return pages * 4096


@contextmanager
def caller(besieged: Stack, head: str, *, buffer: int | None = None) -> Iterator[socket.socket]:
    """A connection that has said something."""
    with socket.socket() as made:
        if buffer is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        made.settimeout(20)
        made.connect(("127.0.0.1", besieged.http.base_url.port or 0))
        made.sendall(head.encode())
        yield made


def upload_head(length: int) -> str:
    part = 'Content-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
    head = f"POST /v1/datasets HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n"
    return f"{head}Content-Type: multipart/form-data; boundary=cut\r\n\r\n--cut\r\n{part}"


def events_head(job_id: str) -> str:
    return f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"


def unaffected(besieged: Siege, job_id: str, seconds: float = 4.0) -> None:
    """Others are answered as if they were alone."""
    wish = besieged.wish()
    ends = time.monotonic() + seconds
    with Pulse(str(besieged.http.base_url)) as pulse, ThreadPoolExecutor(4) as pool:
        while time.monotonic() < ends:
            asked = [pool.submit(besieged.ask, "POST", "/v1/jobs", wish)]
            asked += [pool.submit(besieged.ask, "GET", f"/v1/jobs/{job_id}") for _ in range(2)]
            asked += [pool.submit(besieged.ask, "GET", "/v1/jobs")]
            answers = [one.result() for one in asked]
            assert {status for status, _ in answers} == {200, 202}, f"other answers: {answers}"
            assert max(took for _, took in answers) < AT_ONCE, f"late answers: {answers}"
    pulse.check()
    assert pulse.percentile(0.95) < LAG, f"late pulses: {sorted(pulse.seconds)[-20:]}"


# F21


def slow(besieged: Siege) -> None:
    """Hundreds send their headers, and their uploads, byte by byte."""
    api = besieged.api()
    job_id = besieged.submit()
    before = memory(api)
    with ExitStack() as held:
        heads = [held.enter_context(caller(besieged, "GET /v1/jobs HTTP/1.1\r\n")) for _ in range(SLOW)]
        bodies = [held.enter_context(caller(besieged, upload_head(1 << 24))) for _ in range(SLOW // 4)]
        done = threading.Event()

        def drip() -> None:
            while not done.wait(0.2):
                for one in heads:
                    with suppress(OSError):  # the API has given it up
                        one.sendall(b"X-A: b\r\n")
                for one in bodies:
                    one.sendall(b"1")

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            unaffected(besieged, job_id)
        finally:
            done.set()
            dripping.join()
        assert memory(api) - before < GROWTH
    until(lambda: not list((besieged.data_dir / "incoming").iterdir()), 10, "the end of all uploads")


def test_slow_headers_and_bodies(tmp_path: Path) -> None:
    with siege(tmp_path) as besieged:
        slow(besieged)


def test_slow_uploads_that_leave_something_are_noticed(tmp_path: Path) -> None:
    with siege(tmp_path, "clean_up") as besieged, pytest.raises(AssertionError, match="all uploads"):
        slow(besieged)


def idle(besieged: Siege) -> None:
    """Hundreds follow a job about which there is nothing to tell."""
    api = besieged.api()
    job_id = besieged.submit()
    before = memory(api)
    with ExitStack() as held:
        streams = [held.enter_context(caller(besieged, events_head(job_id))) for _ in range(IDLE)]
        for one in streams:
            assert one.recv(1 << 16).startswith(b"HTTP/1.1 200")
        unaffected(besieged, job_id)
        assert memory(api) - before < GROWTH
        busy = idle_percent(api.pid, 2.0)
        assert busy < CALM, f"busy for nobody: {busy:.0f} % of a core"
        besieged.order(job_id, "cancel")
        for one in streams:
            told = b""
            while not told.endswith(b"0\r\n\r\n"):
                told += one.recv(1 << 16)
            assert b"cancelled" in told


def test_many_idle_followers(tmp_path: Path) -> None:
    with siege(tmp_path) as besieged:
        idle(besieged)


def test_followers_who_ask_one_by_one_are_noticed(tmp_path: Path) -> None:
    with (
        siege(tmp_path, "follower") as besieged,
        pytest.raises(AssertionError, match=r"answers|late pulse|busy for nobody"),
    ):
        idle(besieged)


def deaf(besieged: Siege) -> None:
    """Some follow a job of which there is much to tell, and do not read it."""
    api = besieged.api()
    job_id = besieged.submit()
    for _ in range(10):
        with besieged.sessions.begin() as session:
            append_events(session, job_id, [("log", {"message": "x" * EVENT_BYTES})] * (EVENTS // 10))
    before = memory(api)
    with ExitStack() as held:
        for _ in range(DEAF):
            held.enter_context(caller(besieged, events_head(job_id), buffer=4096))
        unaffected(besieged, job_id, 6.0)
        grown = memory(api) - before
        assert grown < GROWTH, f"{grown} bytes of memory"


def test_followers_who_do_not_read(tmp_path: Path) -> None:
    with siege(tmp_path) as besieged:
        deaf(besieged)


def test_what_waits_for_them_in_memory_is_noticed(tmp_path: Path) -> None:
    with (
        siege(tmp_path, "backpressure") as besieged,
        pytest.raises(AssertionError, match=r"answers|late pulse|memory"),
    ):
        deaf(besieged)


# F24


def repeated(besieged: Siege) -> None:
    """The same submission twenty times at once, with another body, and after a restart."""
    api = besieged.api()
    wish, key = besieged.wish(), {"Idempotency-Key": "the same"}

    def post(_: int) -> tuple[int, str]:
        answer = besieged.http.post("/v1/jobs", json=wish, headers=key)
        return answer.status_code, str(answer.json().get("id"))

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(post, range(20)))
    assert {status for status, _ in answers} <= {202, 409}
    ids = {job_id for status, job_id in answers if status == 202}
    assert len(ids) == 1, "not one job"
    other = besieged.http.post("/v1/jobs", json=besieged.wish(epochs=2), headers=key)
    assert other.status_code == 422
    api.stop()
    besieged.api()
    again = besieged.http.post("/v1/jobs", json=wish, headers=key)
    assert (again.status_code, again.json().get("id")) == (202, *ids), "not one job"
    assert again.headers["Idempotency-Replayed"] == "true"
    assert besieged.queued() == list(ids)


def test_the_same_key(tmp_path: Path) -> None:
    with siege(tmp_path) as besieged:
        repeated(besieged)


@pytest.mark.parametrize("without", ["key_lock", "kept_answer"])
def test_a_second_job_is_noticed(without: str, tmp_path: Path) -> None:
    with siege(tmp_path, without) as besieged, pytest.raises(AssertionError, match="not one job"):
        repeated(besieged)


# F25


def cut(besieged: Siege) -> None:
    """An upload ends in its middle: by an end, and by a reset."""
    besieged.api()
    incoming = besieged.data_dir / "incoming"
    piece = SAMPLE.read_bytes()
    for linger in (None, b"\1\0\0\0\0\0\0\0"):
        with caller(besieged, upload_head(1 << 24)) as one:
            one.sendall(piece * 8)
            until(lambda: list(incoming.glob("*/content")), 10, "the upload's beginning", every=0.005)
            if linger is not None:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        until(lambda: not list(incoming.iterdir()), 10, "its end", every=0.05)
    assert besieged.storage.keys("datasets") == []
    assert json.loads(besieged.http.get("/v1/datasets").content)["data"] == []
    assert besieged.dataset()


def test_an_upload_is_cut(tmp_path: Path) -> None:
    with siege(tmp_path) as besieged:
        cut(besieged)


def test_what_it_leaves_is_noticed(tmp_path: Path) -> None:
    with siege(tmp_path, "clean_up") as besieged, pytest.raises(AssertionError, match="its end"):
        cut(besieged)
