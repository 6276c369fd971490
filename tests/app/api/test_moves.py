"""Moves between API processes: when a move is answered, every process answers with the new version."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from app.infrastructure import notices
from app.infrastructure.artifacts import digest_stored
from app.lanes import Reply, ReplyStatus, Request, Tensor
from app.prediction.codec import Codec
from app.services.jobs import leases
from app.services.lookup_cache import MAX_AGE_SECONDS
from app.services.models.versions import TrainingOutcome
from app.tasks.forecasting.options import ForecastingOptions
from app.tasks.forecasting.task import TASK
from tests.support.factories.networks import lstm, store
from tests.support.factories.series import series_set, waves
from tests.support.fakes.lanes import fake_predictor
from tests.support.fixtures.servers import Valkey, until, valkey
from tests.support.fixtures.service import Service, problem, service

PLAN = TASK.plan(series_set(waves(4, 60)).arrays(), ForecastingOptions(horizon=4), 0)
PRODUCTION = "/v1/models/demand/aliases/production"
CODEC = Codec(TASK, PLAN.state)
MOVES = 50


def flat(request: Request) -> Reply:
    zeros = [Tensor.of(np.zeros(PLAN.outputs, np.float32)) for _ in request.instances]
    return Reply(request.id, ReplyStatus.OK, zeros, 0.001, 0.002)


def publish(running: Service, directory: Path) -> int:
    lease = running.claim(running.job())
    prefix = f"artifacts/{lease.job_id}/{lease.attempt}"
    for path in sorted(store(directory, lstm(), state=PLAN.state).iterdir()):
        running.state.storage.put(f"{prefix}/{path.name}", path)
    sha256 = digest_stored(running.state.storage, prefix)
    with running.state.sessions.begin() as session:
        version = leases.succeed(session, lease, TrainingOutcome(prefix, 12, 345, sha256, {}, {}))
    assert version is not None
    return version


def ask(running: Service | httpx.Client, query: str = "") -> httpx.Response:
    client = running.http if isinstance(running, Service) else running
    return client.post(f"/v1/models/demand/predict{query}", json={"instances": [{"values": [1.0, 2.0]}]})


def answered(running: Service, query: str = "") -> int:
    answer = ask(running, query)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["version"])


def move(running: Service, **body: Any) -> None:
    answer = running.http.put(PRODUCTION, json=body)
    assert answer.status_code == 200, answer.text


@pytest.fixture
def both(
    running: Service, redis_server: Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Service, Service]]:
    """Two API processes, as far as one test process can have them, with three versions and a predictor."""
    monkeypatch.setattr(notices, "TIMEOUT_SECONDS", 30.0)  # a busy machine acknowledges late
    for number in (1, 2, 3):
        publish(running, tmp_path / str(number))
    there = service(tmp_path, running.settings.database_url, redis_server.url)
    with there as other, fake_predictor(redis_server.url, running.settings.lane, flat, CODEC):
        until(lambda: ask(running).status_code == 200, what="the first answer")
        assert (answered(running), answered(other)) == (1, 1)
        yield running, other


def test_right_after_a_move_no_process_answers_with_the_old_version(both: tuple[Service, Service]) -> None:
    for number in range(MOVES):
        mover, other = both if number % 2 else reversed(both)
        version = 2 - number % 2
        move(mover, version=version)
        assert [answered(other), answered(mover)] == [version] * 2, number


def test_a_move_under_traffic_fails_nobody_and_mixes_nothing(both: tuple[Service, Service]) -> None:
    stop, wrong, observed = threading.Event(), list[str](), Counter[int]()
    moved = 1  # the target of the newest move that was answered
    moving = threading.Lock()

    def hammer(running: Service) -> None:
        with httpx.Client(base_url=running.http.base_url, timeout=120) as client:
            while not stop.is_set():
                sure = moving.acquire(blocking=False)  # while it is held here, no move begins
                expected, answer = moved, ask(client)
                if sure:
                    moving.release()
                version = answer.json().get("version")
                observed[version] += 1
                if answer.status_code != 200 or (sure and version != expected):
                    wrong.append(f"{answer.status_code} {version} {expected}")

    threads = [threading.Thread(target=hammer, args=(running,)) for running in both for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(20):
        with moving:
            move(both[number % 2], version=2 - number % 2)
            moved = 2 - number % 2
        before = sum(observed.values())
        until(lambda before=before: sum(observed.values()) > before + 4, what="traffic")
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert observed.keys() == {1, 2}


def test_shares_hold_in_every_process_from_the_move_on(both: tuple[Service, Service]) -> None:
    here, other = both
    move(here, versions={"1": 0.5, "2": 0.5})
    for running in both:
        result = Counter(answered(running) for _ in range(60))
        assert result.keys() == {1, 2}
        assert min(result.values()) >= 8  # one run in a hundred million has fewer
        assert {answered(running, "?version=3"), answered(running, "?alias=production")} <= {1, 2, 3}
    move(other, version=3, shadow=1)
    assert {answered(running) for running in both for _ in range(10)} == {3}


def test_what_was_deleted_is_gone_everywhere(both: tuple[Service, Service]) -> None:
    here, other = both
    canary = "/v1/models/demand/aliases/canary"
    for _ in range(5):
        assert here.http.put(canary, json={"version": 2}).status_code == 200
        assert answered(other, "?alias=canary") == 2
        assert here.http.delete(canary).status_code == 204
        problem(ask(other, "?alias=canary"), 404)
    assert answered(other, "?version=3") == 3
    assert here.http.delete("/v1/models/demand/versions/3").status_code == 204
    problem(ask(other, "?version=3"), 404)


def test_without_redis_a_move_succeeds_at_once_and_holds_a_second_later(
    tmp_path: Path, database_url: str
) -> None:
    with (
        valkey() as fragile,
        service(tmp_path, database_url, fragile.url) as here,
        service(tmp_path, database_url, fragile.url) as other,
    ):
        for number in (1, 2):
            publish(here, tmp_path / str(number))
        with fake_predictor(fragile.url, here.settings.lane, flat, CODEC) as fake:
            until(lambda: ask(other).status_code == 200, what="the first answer")
            fake.go.clear()
            fragile.kill()
            begun = time.monotonic()
            move(here, version=2)
            assert time.monotonic() - begun < 1
            assert here.http.get(PRODUCTION).json()["version"] == 2
            problem(ask(other), 503)  # for which Redis is needed as well
            until(lambda: time.monotonic() - begun > MAX_AGE_SECONDS, what="the end of what is fresh")
            fragile.start()
            fake.go.set()
            fake.announce()
            until(lambda: ask(other).status_code == 200, what="an answer")
            assert answered(other) == 2
            move(other, version=1)
            until(lambda: here.state.notices.notices.connected, what="the connection")
            move(other, version=2)
            assert answered(here) == 2
