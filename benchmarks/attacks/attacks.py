"""The attacks: each sends one kind of costly or odd requests for some seconds, as fast as it is let."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from app.typedefs import Json

UPLOAD_BYTES, PREDICTION_BYTES = 17 << 20, 7 << 20
HALF_SENT_CONNECTIONS = 1300
TIMEOUT_SECONDS = 0.5  # that a request asks for
BOMB_VALUES = 1 << 27  # of a column that takes a few kilobytes as a file


@dataclass
class Target:
    """What is attacked, and until when."""

    url: str
    model: str  # of forecasts, that the ordinary clients do not use
    dataset: str
    until: float  # on the monotonic clock
    late: list[float]  # seconds beyond their deadline that requests with a deadline took

    @property
    def over(self) -> bool:
        """Whether it is time to stop."""
        return time.monotonic() >= self.until

    @contextmanager
    def client(self) -> Iterator[httpx.Client]:
        """A client that waits for answers as long as it takes."""
        with httpx.Client(base_url=self.url, timeout=httpx.Timeout(300)) as http:
            yield http

    def send(self, method: str, path: str, **content: Any) -> None:
        """Send the same again and again, whatever is answered."""
        with self.client() as http:
            while not self.over:
                try:
                    http.request(method, path, **content)
                except httpx.HTTPError:
                    time.sleep(0.05)

    def at_once(self, count: int, attack: Callable[[], None]) -> None:
        """So many attackers at once."""
        threads = [threading.Thread(target=attack) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def predictions(instances: int, values: int, **parameters: Any) -> bytes:
    """A body of random series."""
    numbers = np.random.default_rng(0).normal(100, 5, (instances, values)).round(3).tolist()
    body: Json = {"instances": [{"values": row} for row in numbers], "parameters": parameters}
    return json.dumps(body).encode()


def table(size: int) -> bytes:
    """A table of one long series, in CSV."""
    row = b"2020-01-01,1.2345678\n"
    return b"ds,y\n" + row * (size // len(row))


def bomb() -> bytes:
    """A small Parquet file that is large in memory."""
    column = pa.array(np.zeros(BOMB_VALUES))
    names = pa.DictionaryArray.from_arrays(pa.array(np.zeros(BOMB_VALUES, np.int32)), pa.array(["a" * 40]))
    file = BytesIO()
    pq.write_table(pa.table({"y": column, "unique_id": names}), file, compression="zstd")
    return file.getvalue()


def uploads(target: Target) -> None:
    """Eight uploads of 17 MB at a time, one after the other, and seven predictions of 7 MB."""
    file, body = table(UPLOAD_BYTES), predictions(1000, PREDICTION_BYTES // 8000)
    others = threading.Thread(
        target=lambda: target.at_once(
            7, lambda: target.send("POST", f"/v1/models/{target.model}/predict", content=body)
        )
    )
    others.start()
    form: Any = {"task": (None, "forecasting"), "file": ("series.csv", file)}
    target.at_once(8, lambda: target.send("POST", "/v1/datasets", files=form))
    others.join()


def lists(target: Target) -> None:
    """Four megabytes of quantiles, and 58 MB of series, at a time."""
    path = f"/v1/models/{target.model}/predict"
    quantiles = predictions(1, 20, quantiles=[0.5] * 1_000_000)
    series = predictions(4096, (58 << 20) // 4096 // 8)
    other = threading.Thread(target=lambda: target.send("POST", path, content=series))
    other.start()
    target.at_once(2, lambda: target.send("POST", path, content=quantiles))
    other.join()


def huge_jobs(target: Target) -> None:
    """Jobs that need more memory than there is."""
    body: Json = {
        "task": "forecasting", "dataset": target.dataset, "model": "huge",
        "network": {"hidden_size": 4096, "layers": 8}, "training": {"batch_size": 65536, "epochs": 1},
    }  # fmt: skip
    target.at_once(4, lambda: target.send("POST", "/v1/jobs", json=body))


def bombs(target: Target) -> None:
    """Six Parquet files at a time that are large in memory."""
    form: Any = {"task": (None, "forecasting"), "file": ("bomb.parquet", bomb())}
    target.at_once(6, lambda: target.send("POST", "/v1/datasets", files=form))


def half_sent(target: Target) -> None:
    """Connections that begin a request and never end it."""
    address = httpx.URL(target.url)
    kept: list[socket.socket] = []
    try:
        while not target.over:
            if len(kept) < HALF_SENT_CONNECTIONS:
                try:
                    kept.append(socket.create_connection((address.host, address.port or 80), timeout=5))
                    kept[-1].sendall(
                        b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{"
                    )
                except OSError:
                    time.sleep(0.05)
            else:
                time.sleep(0.1)
    finally:
        for one in kept:
            one.close()


def deadlines(target: Target) -> None:
    """Large predictions that must be answered within half a second; notes how much later they were."""
    body, path = predictions(2000, 500), f"/v1/models/{target.model}/predict"
    headers = {"X-Request-Timeout": str(TIMEOUT_SECONDS)}

    def ask() -> None:
        with target.client() as http:
            while not target.over:
                try:
                    answer = http.post(path, content=body, headers=headers)
                except httpx.HTTPError:
                    continue
                # The deadline begins when the whole body has come, which the client cannot see: its own time
                # of sending counts as lateness.
                target.late.append(answer.elapsed.total_seconds() - TIMEOUT_SECONDS)

    target.at_once(6, ask)


def strangers(target: Target) -> None:
    """Requests for other hosts, and from pages of other origins."""
    pages = {"Origin": "http://evil.example", "Content-Type": "text/plain"}
    other = threading.Thread(target=lambda: target.send("GET", "/v1/jobs", headers={"Host": "evil.example"}))
    other.start()
    target.send("POST", "/v1/jobs", headers=pages, content=b"{}")
    other.join()


ATTACKS: dict[str, Callable[[Target], None]] = {
    "uploads and large predictions": uploads,
    "long lists": lists,
    "jobs that need too much memory": huge_jobs,
    "Parquet that unpacks to gigabytes": bombs,
    "1,300 requests that never end": half_sent,
    "deadlines of half a second": deadlines,
    "other hosts and origins": strangers,
}
