"""A load on keep-alive connections whose every answer is checked against its own input."""

import random
import select
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Self

import orjson

from tests.faults.versions import MODEL, Sample
from tests.servers import until

TOLERANCE = 1e-4
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
        connection = HTTPConnection("127.0.0.1", port, timeout=self.seconds + 5)
        while not self._stop.is_set():
            outcome = self._ask(connection, source.choice(self._paths), source.choice(self._samples))
            self.outcomes.append(outcome)
            if outcome.verdict is not Verdict.RIGHT:
                self._stop.wait(PAUSE)
        if connection.sock is not None and select.select([connection.sock], [], [], 0)[0]:
            now = time.monotonic()
            self.outcomes.append(Outcome(now, now, Verdict.FAULT, "", detail="more than was asked for"))
        connection.close()

    def _ask(self, connection: HTTPConnection, path: str, sample: Sample) -> Outcome:
        headers = {"Content-Type": "application/json", "X-Request-Timeout": str(self.seconds)}
        sent = time.monotonic()
        try:
            connection.request("POST", path, sample.body, headers)
            answer = connection.getresponse()
            body = answer.read()
        except (HTTPException, OSError) as error:
            connection.close()
            return Outcome(sent, time.monotonic(), Verdict.FAULT, path, detail=repr(error))
        ended = time.monotonic()
        verdict, version = judge(answer, body, sample)
        detail = "" if verdict is Verdict.RIGHT else f"{answer.status} {body[:200].decode(errors='replace')}"
        return Outcome(sent, ended, verdict, path, version, detail)


def judge(answer: HTTPResponse, body: bytes, sample: Sample) -> tuple[Verdict, int | None]:
    """What an answer to a sample comes to, and the version that it names."""
    if answer.status in (429, 503):
        again = answer.headers.get("Retry-After", "")
        return (Verdict.REFUSED if again.isdigit() and int(again) > 0 else Verdict.FAULT), None
    if answer.status != 200:
        return (Verdict.LATE if answer.status == 504 else Verdict.FAULT), None
    try:
        told = orjson.loads(body)
        version, (tensor,) = int(told["model_version"]), told["outputs"]
        pairs = zip(tensor["data"], sample.outputs[version], strict=True)
        right = all(abs(ours - theirs) <= TOLERANCE for ours, theirs in pairs)
    except (ValueError, KeyError, TypeError):
        return Verdict.WRONG, None
    return (Verdict.RIGHT if right else Verdict.WRONG), version
