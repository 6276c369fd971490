"""The load tells right answers, wrong ones, refusals and faults apart."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import orjson
import pytest

from tests.faults.load import Load, Verdict, network
from tests.faults.versions import Network, Sample, samples
from tests.support.fixtures.servers import until

NETWORKS = [Network(1), Network(2)]
MORE = "more"  # no header, but bytes after the answer
Answered = tuple[int, bytes, dict[str, str]]
Answer = Callable[[Sample], Answered]


@pytest.fixture(scope="module")
def bodies() -> list[Sample]:
    return samples(NETWORKS, [3, 5, 8] * 4, seed=2)


def told(sample: Sample, version: int = 1, named: int = 1) -> bytes:
    """The answer of one version, under the name of another."""
    tensor = {"name": "outputs", "datatype": "FP32", "shape": [1, 4], "data": sample.outputs[version]}
    return orjson.dumps({"model_name": "net", "model_version": str(named), "outputs": [tensor]})


@contextmanager
def server(bodies: list[Sample], answer: Answer) -> Iterator[int]:
    """The port of a server that knows all samples."""
    known = {one.body: one for one in bodies}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout: ClassVar[float] = 5

        def do_POST(self) -> None:
            sample = known[self.rfile.read(int(self.headers["Content-Length"]))]
            status, body, headers = answer(sample)
            if not status:
                self.close_connection = True
                return
            self.send_response(status)
            more = headers.get(MORE, "").encode()
            for name, value in headers.items():
                if name != MORE:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body + more)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made.server_port
    made.shutdown()
    thread.join()
    made.server_close()


def fired(bodies: list[Sample], answer: Answer, count: int = 20) -> Load:
    """A load after so many answers."""
    with server(bodies, answer) as port:
        load = Load([port], bodies, connections=2, seconds=2.0)
        with load:
            until(lambda: len(load.outcomes) >= count, 10, "answers")
    return load


@pytest.mark.parametrize("version", [1, 2])
def test_a_right_answer_is_that_of_the_version_it_names(bodies: list[Sample], version: int) -> None:
    load = fired(bodies, lambda sample: (200, told(sample, version, version), {}))
    load.check()
    assert {one.version for one in load.outcomes} == {version}
    assert all(one.ended >= one.sent and one.path == network() for one in load.outcomes)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (lambda sample: (200, told(sample, 2, 1), {}), Verdict.WRONG),
        (lambda sample: (200, told(sample, 1, 3), {}), Verdict.WRONG),
        (lambda _: (200, b"{}", {}), Verdict.WRONG),
        (lambda _: (200, b"no JSON", {}), Verdict.WRONG),
        (lambda _: (503, b"", {"Retry-After": "2"}), Verdict.REFUSED),
        (lambda _: (429, b"", {"Retry-After": "1"}), Verdict.REFUSED),
        (lambda _: (503, b"", {}), Verdict.FAULT),
        (lambda _: (429, b"", {"Retry-After": "0"}), Verdict.FAULT),
        (lambda _: (504, b"", {}), Verdict.LATE),
        (lambda _: (500, b"", {"Retry-After": "2"}), Verdict.FAULT),
        (lambda _: (404, b"", {}), Verdict.FAULT),
        (lambda _: (0, b"", {}), Verdict.FAULT),
    ],
)
def test_everything_else_has_a_name(bodies: list[Sample], answer: Answer, verdict: Verdict) -> None:
    load = fired(bodies, answer, count=4)
    assert set(load.count()) == {verdict}
    load.check(verdict)
    with pytest.raises(AssertionError, match=verdict.value):
        load.check()


def test_another_inputs_answer_is_wrong(bodies: list[Sample]) -> None:
    load = fired(bodies, lambda sample: (200, told(bodies[0] if sample is not bodies[0] else bodies[1]), {}))
    assert set(load.count()) == {Verdict.WRONG}


def test_a_second_answer_to_one_request_is_seen(bodies: list[Sample]) -> None:
    again = {MORE: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"}
    load = fired(bodies, lambda sample: (200, told(sample), again))
    assert load.count()[Verdict.FAULT] >= load.count()[Verdict.RIGHT] - 2  # seen before the next request


def test_silence_is_the_longest_time_without_a_right_answer(bodies: list[Sample]) -> None:
    load = fired(bodies, lambda sample: (200, told(sample), {}), count=40)
    moment = load.outcomes[0].ended
    begins, ends = load.silence(moment)
    assert 0 <= begins < ends <= max(one.ended for one in load.outcomes) - moment
