"""A service whose parts reach their servers through proxies, while the test sees the servers as they are."""

import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self
from uuid import uuid4

import httpx
from sqlalchemy import select
from sqlalchemy.engine import make_url

from app.database.tables import Job
from app.states import Status
from app.typedefs import Json
from tests.faults.jobs import parts
from tests.faults.jobs.harness import Stack
from tests.faults.jobs.parts import Part
from tests.faults.proxy import Proxy
from tests.support.fixtures.servers import Valkey, valkey

LAUNCHER = "tests.faults.jobs.sabotage_infra"
WITHOUT, RUNS = "RECURRA_SIEGE_WITHOUT", "RECURRA_SIEGE_RUNS"  # tell the launcher
NO_TLS = ssl.create_default_context()  # making one for every request costs more than the request
LONGEST = 20.0  # seconds that anybody waits for an answer


class Siege(Stack):
    """A stack with its servers at hand; `without` names the safeguard that its parts lack."""

    without = ""
    valkey: Valkey
    redis_proxy: Proxy
    database_proxy: Proxy  # only on PostgreSQL

    def start(
        self, name: str, module: str, *arguments: str, prefix: Sequence[str] = (), **environment: str
    ) -> Part:
        """As a stack does."""
        if self.without:
            environment |= {WITHOUT: self.without, RUNS: module}
            module = LAUNCHER
        return super().start(name, module, *arguments, prefix=prefix, **environment)

    def ask(self, method: str, path: str, body: Json | None = None, **headers: str) -> tuple[int, float]:
        """The status of an answer on a connection of its own, 0 if there is none, and the seconds it took."""
        begun = time.monotonic()
        url = f"{self.http.base_url}{path}"
        try:
            status = httpx.request(
                method, url, json=body, headers=headers, timeout=LONGEST, trust_env=False, verify=NO_TLS
            ).status_code
        except httpx.TimeoutException:
            status = 0
        return status, time.monotonic() - begun

    def wish(self, epochs: int = 1, seed: int = 1) -> Json:
        """The body of a job's submission."""
        training = {"epochs": epochs, "batch_size": 32, "seed": seed}
        options, network = {"horizon": 7}, {"hidden_size": 16}
        body = {"task": "forecasting", "dataset": self.dataset(), "model": "weather", "training": training}
        return body | {"network": network, "options": options}

    def queued(self) -> list[str]:
        """The jobs that wait for their turn, oldest first."""
        with self.readers() as session:
            return list(session.scalars(select(Job.id).where(Job.status == Status.QUEUED).order_by(Job.id)))


@contextmanager
def siege(directory: Path, without: str = "", server: str = "") -> Iterator[Siege]:
    """A service without parts yet, on a Valkey of its own, and on SQLite or a fresh database of a server."""
    name = uuid4().hex[:12]
    with ExitStack() as held:
        database = held.enter_context(
            parts.postgresql(server) if server else parts.sqlite(directory / "recurra.db")
        )
        redis = held.enter_context(valkey())
        made = Siege(directory, database, redis.url, name)
        held.callback(made.close)
        made.without, made.valkey = without, redis
        made.redis_proxy = held.enter_context(Proxy(redis.socket))
        made.environment["RECURRA_REDIS_URL"] = f"redis://127.0.0.1:{made.redis_proxy.port}/0"
        if server:
            url = make_url(database)
            made.database_proxy = held.enter_context(Proxy((url.host or "127.0.0.1", url.port or 5432)))
            through = url.set(host="127.0.0.1", port=made.database_proxy.port)
            made.environment["RECURRA_DATABASE_URL"] = through.render_as_string(hide_password=False)
        yield made


class Pulse:
    """Asks for `/healthz` all the time, from `with` to its end."""

    def __init__(self, url: str, every: float = 0.02) -> None:
        self.seconds: list[float] = []
        self.statuses: set[int] = set()
        self._url, self._every = url, every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=20, trust_env=False) as client:
            while not self._stop.wait(self._every):
                begun = time.monotonic()
                self.statuses.add(client.get("/healthz").status_code)
                self.seconds.append(time.monotonic() - begun)

    def percentile(self, share: float) -> float:
        """The time within which so many of the answers came."""
        return sorted(self.seconds)[int(share * (len(self.seconds) - 1))]

    def check(self, slowest: float = 1.0) -> None:
        """The process lived all the time, and said so at once."""
        assert self.statuses == {200}
        assert max(self.seconds) < slowest, f"a late pulse: {sorted(self.seconds)[-5:]}"
