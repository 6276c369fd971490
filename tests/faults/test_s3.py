"""Hosts that share a real S3 server and no disk: what one stores the others find, whatever S3 does."""

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from app.identifiers import new_id
from app.services.maintenance import cleanup, storage_checks
from app.services.maintenance.backup import back_up
from app.states import Status
from tests.faults.fleet import Fleet, fleet, training, upload
from tests.faults.jobs.harness import PATIENCE, QUICK, STEADY
from tests.faults.proxy import Proxy
from tests.support.fixtures.s3 import S3Server
from tests.support.fixtures.servers import until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

MAX_ANSWER_SECONDS = 45.0  # of a request that needs a store that is away
MAX_OTHER_SECONDS = 5.0  # of one that does not, on a machine that does other work too
SLOW_SECONDS = 0.15  # that every piece to and from the store takes longer


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[Proxy]:
    with Proxy(("127.0.0.1", s3.port)) as made:
        yield made


@pytest.fixture
def hosts(tmp_path: Path, s3: S3Server, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    with fleet(tmp_path, s3, proxy) as made:
        yield made


def made(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    return str(answer.json()["id"])


def sound(hosts: Fleet) -> None:
    """Everything that a row names is in the store, undamaged."""
    stack = hosts.stack
    assert storage_checks.damaged_versions(stack.sessions, stack.storage) == []
    assert storage_checks.damaged_checkpoints(stack.sessions, stack.storage) == []


def test_two_of_each_do_everything_without_a_shared_disk(hosts: Fleet, tmp_path: Path) -> None:
    stack = hosts.stack
    first, second = hosts.start_api(), hosts.start_api()
    workers = [hosts.start_worker("train") for _ in range(2)]
    servers = [hosts.start_worker("serve") for _ in range(2)]

    dataset = made(upload(first), 201)
    assert second.get(f"/v1/datasets/{dataset}").json()["sha256"]
    assert second.get(f"/v1/datasets/{dataset}/content").status_code == 200

    job = made(second.post("/v1/jobs", json=training(dataset, STEADY)), 202)
    reached = stack.until_checkpoint(job)
    victim = next(worker for worker in workers if worker.training())
    victim.signal_all(signal.SIGKILL)
    assert stack.wait(job).attempt == 2
    stack.went_on(job, reached)

    answers = [hosts.until_predicted(api)["predictions"] for api in (first, second)]
    assert answers[0] == answers[1]
    servers[0].signal_all(signal.SIGKILL)
    assert hosts.until_predicted(first)["predictions"] == answers[0]

    batch = {"dataset": dataset, "parameters": {"horizon": 7}}
    batch_id = made(first.post("/v1/models/weather/batch-predictions", json=batch), 202)
    stack.wait(batch_id)
    results = [api.get(f"/v1/jobs/{batch_id}/result") for api in (first, second)]
    assert results[0].content == results[1].content
    assert results[0].content.count(b"\n") >= 1

    search = {"search": {"network.hidden_size": [4, 8]}, "max_trials": 2, "seeds": 1}
    body = training(dataset, QUICK, "swept", network={}, **search)
    sweep = made(second.post("/v1/sweeps", json=body), 202)
    stack.wait(sweep)
    assert hosts.until_predicted(second, "swept")["predictions"]

    report = hosts.doctor()
    assert report["sound"], report
    assert back_up(stack.engine, stack.storage, tmp_path / "backup").problems == []

    orphan = f"datasets/{new_id('ds')}/content"
    stack.storage.write(orphan, b"an upload that was cut off")
    cleanup.clean_up(stack.sessions, stack.storage, tmp_path / "nothing", -1.0)
    assert stack.storage.keys(orphan.rpartition("/")[0]) == []
    sound(hosts)
    assert first.delete("/v1/models/swept/aliases/production").status_code == 204
    assert first.delete("/v1/models/swept/versions/1").status_code == 204
    assert first.delete("/v1/models/swept").status_code == 204
    with stack.readers() as session:
        until(lambda: not cleanup.find_orphans(session, stack.storage, -1.0), 20, "the deletion of a model")
    hosts.start_worker("serve")
    assert hosts.until_predicted(second)["predictions"] == answers[0]


def test_a_slow_store_costs_time_and_nothing_else(hosts: Fleet, proxy: Proxy) -> None:
    api = hosts.start_api()
    hosts.start_worker("train")
    hosts.start_worker("serve")
    proxy.latency(SLOW_SECONDS, SLOW_SECONDS)
    dataset = made(upload(api), 201)
    job = made(api.post("/v1/jobs", json=training(dataset, QUICK)), 202)
    hosts.stack.wait(job)
    hosts.until_predicted(api)
    begun = time.monotonic()
    assert hosts.predict(api).status_code == 200
    assert time.monotonic() - begun < MAX_OTHER_SECONDS
    sound(hosts)


def test_a_store_that_refuses_connections_is_said_to_be_away(hosts: Fleet, proxy: Proxy) -> None:
    """Uploads get 503; forecasts, polls and the training that runs go on, and its result is stored later."""
    stack, api = hosts.stack, hosts.start_api()
    hosts.start_worker("train")
    hosts.start_worker("serve")
    dataset = made(upload(api), 201)
    stack.wait(made(api.post("/v1/jobs", json=training(dataset, QUICK)), 202))
    hosts.until_predicted(api)
    job = made(api.post("/v1/jobs", json=training(dataset, STEADY, "later")), 202)
    stack.until_checkpoint(job)
    proxy.refuse()
    with ThreadPoolExecutor(1) as pool:
        begun = time.monotonic()
        refused = pool.submit(upload, api, duplicate=True)
        for path in (f"/v1/jobs/{job}", "/healthz", "/v1/datasets"):
            asked_at = time.monotonic()
            assert api.get(path).status_code == 200
            assert time.monotonic() - asked_at < MAX_OTHER_SECONDS
        assert hosts.predict(api).status_code == 200
        answer = refused.result()
        assert time.monotonic() - begun < MAX_ANSWER_SECONDS
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True), answer.text
    proxy.heal()
    stack.wait(job)
    assert stack.job(job).crashes == 0
    assert made(upload(api), 200) == dataset  # the same content is there already
    hosts.until_predicted(api, "later")
    sound(hosts)


@pytest.mark.parametrize("fault", ["answers cut off", "acknowledgements lost", "connections reset"])
def test_what_is_half_read_or_half_written_is_not_believed(hosts: Fleet, proxy: Proxy, fault: str) -> None:
    stack, api = hosts.stack, hosts.start_api()
    hosts.start_worker("train")
    dataset = made(upload(api), 201)
    job = made(api.post("/v1/jobs", json=training(dataset, STEADY)), 202)
    stack.until_checkpoint(job)
    faults = 0
    while stack.job(job).status in {Status.QUEUED, Status.RUNNING} and faults < 12:
        faults += 1
        if fault == "answers cut off":
            proxy.cut_after(200 * faults)
        elif fault == "acknowledgements lost":
            proxy.lose_answer(b"PUT /")
        else:
            proxy.reset()
        time.sleep(0.2)  # the fault's time, not a wait for anything
        proxy.cut_after(None)
    proxy.heal()
    assert stack.wait(job).crashes == 0
    hosts.start_worker("serve")
    proxy.cut_after(2000)  # less than any file of the version; the rest may be asked for piece by piece
    answer = hosts.predict(api)
    assert answer.status_code in {200, 503, 504}, answer.text
    proxy.heal()
    hosts.until_predicted(api)
    sound(hosts)
    report = hosts.doctor()
    assert report["sound"], report


def test_a_store_that_hangs_keeps_nobody_who_does_not_need_it(
    hosts: Fleet, proxy: Proxy, s3: S3Server
) -> None:
    stack, api = hosts.stack, hosts.start_api()
    hosts.start_worker("train")
    hosts.start_worker("serve")
    dataset = made(upload(api), 201)
    stack.wait(made(api.post("/v1/jobs", json=training(dataset, QUICK)), 202))
    hosts.until_predicted(api)
    proxy.black_hole()
    try:
        for path in ("/healthz", "/v1/jobs", "/v1/models"):
            begun = time.monotonic()
            assert api.get(path).status_code == 200
            assert time.monotonic() - begun < MAX_OTHER_SECONDS
        assert hosts.predict(api).status_code == 200
        job = made(api.post("/v1/jobs", json=training(dataset, QUICK, "later")), 202)
        begun = time.monotonic()
        answer = upload(api, duplicate=True)
        assert answer.status_code == 503, answer.text
        assert time.monotonic() - begun < MAX_ANSWER_SECONDS
    finally:
        proxy.heal()
    stack.wait(job, seconds=2 * PATIENCE)
    sound(hosts)
