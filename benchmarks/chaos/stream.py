"""The jobs: a few settings in a seeded mix, submitted at random moments, some of them several times."""

import hashlib
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import product
from pathlib import Path

import httpx
from sqlalchemy import select

from app.database.tables import ModelVersion
from app.typedefs import Json
from benchmarks.chaos.ledger import Ledger
from benchmarks.chaos.service import Service
from benchmarks.stack import checked, train, upload

SAMPLE = Path(__file__).parents[2] / "app" / "samples" / "seattle_weather.csv"
SETTINGS = 6
TWICE = 0.3  # of the submissions are sent several times at once, with one key
PATIENCE = 300.0  # seconds in which a submission must be accepted
AGAIN = 0.5


class Stream:
    """Submits until all is accepted; a client repeats with the same key whatever has no good answer."""

    def __init__(self, service: Service, ledger: Ledger, seed: int) -> None:
        self._ledger, self._service = ledger, service
        self._random = random.Random(seed)  # noqa: S311 - a repeatable stream, no secret
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{service.port}",
            timeout=30,
            trust_env=False,
            limits=httpx.Limits(max_connections=64),
        )
        self.twins: dict[str, str] = {}  # setting -> sha256 of the weights
        self.settings: dict[str, Json] = {}

    def prepare(self) -> None:
        """Train each setting once while nothing disturbs it."""
        dataset = upload(self.http, SAMPLE, task="forecasting")
        mix = list(product(("rnn", "lstm", "gru"), (8, 16, 24), (3, 6, 10), (True, False)))
        for number, (cell, hidden, epochs, refit) in enumerate(self._random.sample(mix, SETTINGS)):
            name = f"{cell} {hidden} units, {epochs} epochs{', refit' if refit else ''}"
            self.settings[name] = {
                "task": "forecasting",
                "dataset": dataset,
                "model": "weather",
                "network": {"cell": cell, "hidden_size": hidden},
                "training": {"epochs": epochs, "batch_size": 32, "seed": number},
                "options": {"horizon": 7, "refit": refit},
            }
            job, seconds = train(self.http, self.settings[name])
            self.twins[name] = self.weights(job["id"])[0]
            print(f"twin: {name}: {seconds:.1f} s, {self.twins[name][:12]}", flush=True)

    def weights(self, job_id: str) -> list[str]:
        """The sha256 of the weights of each version that a job made."""
        with self._service.readers() as session:
            query = select(ModelVersion.artifact).where(ModelVersion.job_id == job_id)
            artifacts = session.scalars(query).all()
        store = self._service.storage
        return [
            hashlib.sha256(b"".join(store.read(f"{artifact}/model.safetensors"))).hexdigest()
            for artifact in artifacts
        ]

    def run(self, jobs: int, seconds: float, stop: threading.Event) -> None:
        """Submit so many jobs within this time; returns when all are accepted."""
        moments = sorted(self._random.uniform(0, seconds) for _ in range(jobs))
        begun = time.monotonic()
        with ThreadPoolExecutor(32) as pool:
            for number, moment in enumerate(moments):
                if stop.wait(max(0.0, begun + moment - time.monotonic())):
                    break
                setting = self._random.choice(list(self.settings))
                copies = self._random.randint(2, 4) if self._random.random() < TWICE else 1
                key = f"chaos-{number}"
                for _ in range(copies):
                    pool.submit(self._submit, number, setting, key)
                if copies > 1:
                    self._ledger.note("submit sent several times", time.time())

    def _submit(self, number: int, setting: str, key: str) -> None:
        body = self.settings[setting] | {"metadata": {"number": number}}
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            status, answer = 0, None
            with suppress(httpx.HTTPError):
                answer = self.http.post("/v1/jobs", json=body, headers={"Idempotency-Key": key})
                status = answer.status_code
            self._ledger.answered("submit", status)
            if answer is not None and status == 202:
                self._ledger.accept(number, str(checked(answer)["id"]), setting)
                return
            time.sleep(AGAIN)
        self._ledger.wrong.append(f"submission {number} was not accepted in {PATIENCE:g} s")

    def order(self, job_id: str, verb: str) -> int:
        """`cancel`, `pause` or `resume` a job; the answer's status, 0 when there was none."""
        status = 0
        with suppress(httpx.HTTPError):
            status = self.http.post(f"/v1/jobs/{job_id}/{verb}").status_code
        self._ledger.answered(verb, status)
        return status
