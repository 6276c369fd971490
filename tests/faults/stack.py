"""`recurra up` with its parts to be killed, stopped and counted."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks.serving.processes import free_port
from tests.faults.load import network
from tests.faults.versions import MODEL, Network, Sample, publish
from tests.support.fixtures.processes import ENVIRONMENT, command_line, descendants, has_ended, up
from tests.support.fixtures.servers import until

PREDICTOR = ("workers.serving.predictor",)
SERVE = ("workers.main", "--role serve")
VALKEY = ("valkey-server",)


class Stack:
    """A service under fire; every process it ever had is remembered."""

    def __init__(self, url: str, pid: int, data_dir: Path) -> None:
        self.http = httpx.Client(base_url=url, timeout=120)
        self.port = int(url.rpartition(":")[2])
        self.pid, self.data_dir = pid, data_dir
        self.seen: set[int] = set()

    def alive(self, *words: str) -> set[int]:
        """The processes whose command line has these words."""
        below = {pid for pid in descendants(self.pid) if not has_ended(pid)}
        self.seen |= below
        return {pid for pid in below if all(word in command_line(pid) for word in words)}

    def one(self, *words: str) -> int:
        """The only such process."""
        (pid,) = self.alive(*words)
        return pid

    def kill(self, *words: str) -> float:
        """As `kill -9` does; the moment. Returns when it has ended, not when there is another."""
        pid = self.one(*words)
        moment = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        until(lambda: has_ended(pid), 5, f"the end of {words}")
        return moment

    def another(self, before: int, *words: str, seconds: float = 12.0) -> int:
        """Wait for the one that takes a process's place."""
        until(lambda: len(self.alive(*words) - {before}) == 1, seconds, f"another {words}")
        return self.one(*words)

    def point(self, alias: str = "production", **body: object) -> None:
        """Have an alias name other versions."""
        answer = self.http.put(f"/v1/models/{MODEL}/aliases/{alias}", json=body)
        assert answer.status_code == 200, answer.text


@contextmanager
def stack(data_dir: Path, networks: Sequence[Network], sample: Sample) -> Iterator[Stack]:
    """The service with networks as versions, once it computes; at the end nothing of it may be left."""
    publish(data_dir, networks)
    with up(data_dir) as (process, url):
        made = Stack(url, process.pid, data_dir)
        until(lambda: made.http.post(network(), content=sample.body).status_code == 200, 20, "an answer")
        made.alive()
        yield made
        made.alive()
        made.http.close()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        until(lambda: all(has_ended(pid) for pid in made.seen), 10, "the end of all processes")


@contextmanager
def another_api(data_dir: Path) -> Iterator[int]:
    """One more API process on the service's database and Redis; its port."""
    port = free_port()
    command = [sys.executable, "-m", "app.server", "--port", str(port)]
    environment = ENVIRONMENT | {"RECURRA_DATA_DIR": str(data_dir)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            until(_ready(f"http://127.0.0.1:{port}/readyz"), 30, "the second API")
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=120)


def _ready(url: str) -> Callable[[], bool]:
    def ready() -> bool:
        try:
            return httpx.get(url, timeout=1, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    return ready
