"""A load on keep-alive connections whose every answer is checked against its own input."""

import random
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import orjson

from tests.faults.versions import MODEL, Sample
from tests.support.fixtures.servers import until

TOLERANCE = 1e-4
BLANK = b"\r\n\r\n"
PAUSE = 0.02  # seconds before a connection that was refused asks again
SLACK = 0.75  # seconds that an answer may be late on a machine that does other work too


class Verdict(StrEnum):
    """What an answer comes to."""

    RIGHT = "right"  # the output of the version that it names, for its own input
    WRONG = "wrong"
    REFUSED = "refused"  # 429 or 503 that says when to come again
    LATE = "late"  # 504 at the request's own deadline
    FAULT = "fault"  # anything else


@dataclass(frozen=True)
class Outcome:
    """The end of one request; times of time.monotonic."""

    sent: float
    ended: float
    verdict: Verdict
    path: str
    version: int | None = None  # that answered
    detail: str = ""


def network(version: int | str | None = None) -> str:
    """Where a version, an alias, or `production` computes."""
    named = "" if version is None else f"/versions/{version}"
    return f"/v2/models/{MODEL}:network{named}/infer"


class Line:
    """A connection that loses no byte: an answer that nobody asked for is seen."""

    def __init__(self, port: int, seconds: float) -> None:
        self._port, self._seconds = port, seconds
        self._socket: socket.socket | None = None
        self._rest = b""

    def ask(self, path: str, body: bytes, seconds: float) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (names in lower case) and body; raises `OSError`."""
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), self._seconds)
        if self.surplus():
            raise ConnectionError("more than was asked for, or an end")
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nX-Request-Timeout: {seconds}\r\n"
        self._socket.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        first, *lines = self._until(BLANK).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers["content-length"])
        while len(self._rest) < length:
            self._more()
        found, self._rest = self._rest[:length], self._rest[length:]
        return int(first.split()[1]), headers, found

    def surplus(self) -> bool:
        """Whether there is something to read although nothing is asked."""
        return bool(self._rest or (self._socket and select.select([self._socket], [], [], 0)[0]))

    def close(self) -> None:
        """Disconnect; the next request connects again."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._rest = None, b""

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._rest:
            self._more()
        found, _, self._rest = self._rest.partition(mark)
        return found

    def _more(self) -> None:
        assert self._socket is not None
        piece = self._socket.recv(1 << 16)
        if not piece:
            raise ConnectionError("the connection ended before the answer")
        self._rest += piece


class Load:
    """Closed loops, each on its own connection, from `with` to its end."""

    def __init__(
        self,
        ports: Sequence[int],
        samples: Sequence[Sample],
        paths: Sequence[str] = (network(),),
        connections: int = 8,
        seconds: float = 10.0,
        seed: int = 0,
    ) -> None:
        self.outcomes: list[Outcome] = []
        self.seconds = seconds  # in which the service promises an answer
        self._samples, self._paths = samples, paths
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(ports[number % len(ports)], seed + number))
            for number in range(connections)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(self.seconds + 5)
        assert not any(thread.is_alive() for thread in self._threads), "a request has no end"

    def since(self, moment: float) -> list[Outcome]:
        """Ends of requests that were sent later than that."""
        return [one for one in list(self.outcomes) if one.sent > moment]

    def flows(self, count: int = 50, seconds: float = 10.0) -> None:
        """Wait for so many more right answers to requests that are sent from now on."""
        now = time.monotonic()

        def enough() -> bool:
            return sum(one.verdict is Verdict.RIGHT for one in self.since(now)) >= count

        until(enough, seconds, f"{count} right answers")

    def silence(self, moment: float) -> tuple[float, float]:
        """The longest time without a right answer after a moment: seconds until it begins, and to its end."""
        ends = sorted(one.ended for one in self.outcomes if one.verdict is Verdict.RIGHT)
        times = [moment, *(end for end in ends if end > moment)]
        longest = max(range(len(times) - 1), key=lambda n: times[n + 1] - times[n])
        return times[longest] - moment, times[longest + 1] - moment

    def count(self) -> Counter[Verdict]:
        """How many of each verdict."""
        return Counter(one.verdict for one in self.outcomes)

    def check(self, *allowed: Verdict) -> None:
        """All is right, or of an allowed verdict, and in time."""
        bad = [one for one in self.outcomes if one.verdict not in (Verdict.RIGHT, *allowed)]
        assert not bad, f"{len(bad)} of {self.count()}, such as {bad[:3]}"
        late = [one for one in self.outcomes if one.ended - one.sent > self.seconds + SLACK]
        assert not late, f"{len(late)} after their deadline, such as {late[:3]}"

    def _run(self, port: int, seed: int) -> None:
        source = random.Random(seed)  # noqa: S311 - a repeatable load, no secret
        line = Line(port, self.seconds + 5)
        while not self._stop.is_set():
            outcome = self._ask(line, source.choice(self._paths), source.choice(self._samples))
            self.outcomes.append(outcome)
            if outcome.verdict is not Verdict.RIGHT:
                self._stop.wait(PAUSE)
        if line.surplus():
            now = time.monotonic()
            self.outcomes.append(Outcome(now, now, Verdict.FAULT, "", detail="more than was asked for"))
        line.close()

    def _ask(self, line: Line, path: str, sample: Sample) -> Outcome:
        sent = time.monotonic()
        try:
            status, headers, body = line.ask(path, sample.body, self.seconds)
        except OSError as error:
            line.close()
            return Outcome(sent, time.monotonic(), Verdict.FAULT, path, detail=repr(error))
        ended = time.monotonic()
        verdict, version = judge(status, headers, body, sample)
        detail = "" if verdict is Verdict.RIGHT else f"{status} {body[:200].decode(errors='replace')}"
        return Outcome(sent, ended, verdict, path, version, detail)


def judge(status: int, headers: dict[str, str], body: bytes, sample: Sample) -> tuple[Verdict, int | None]:
    """What an answer to a sample comes to, and the version that it names."""
    if status in (429, 503):
        again = headers.get("retry-after", "")
        return (Verdict.REFUSED if again.isdigit() and int(again) > 0 else Verdict.FAULT), None
    if status != 200:
        return (Verdict.LATE if status == 504 else Verdict.FAULT), None
    try:
        told = orjson.loads(body)
        version, (tensor,) = int(told["model_version"]), told["outputs"]
        pairs = zip(tensor["data"], sample.outputs[version], strict=True)
        right = all(abs(ours - theirs) <= TOLERANCE for ours, theirs in pairs)
    except (ValueError, KeyError, TypeError):
        return Verdict.WRONG, None
    return (Verdict.RIGHT if right else Verdict.WRONG), version
