"""Threads that are busy with one kind of work keep nobody else from an answer."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from app import thread_pools
from app.thread_pools import (
    COMPUTING,
    DECODING_MEDIA,
    MODEL_CHANGES,
    UPLOADED_PIECES,
    UPLOADS,
    ThreadPool,
)
from tests.support.fixtures.servers import until
from tests.support.fixtures.service import Service, monthly, problem


@contextmanager
def filled(pools: Sequence[ThreadPool]) -> Iterator[None]:
    """Pools in which no further call finds room, from another event loop."""
    go_on = threading.Event()

    async def fill() -> None:
        await asyncio.gather(*(pool.run(go_on.wait, 60) for pool in pools for _ in range(pool.capacity)))

    filling = threading.Thread(target=lambda: asyncio.run(fill()))
    filling.start()
    try:
        until(lambda: all(pool.full for pool in pools), what="full pools")
        yield
    finally:
        go_on.set()
        filling.join(60)
        until(lambda: all(pool.idle for pool in pools), what="idle pools")


def test_polls_and_readiness_do_not_wait_for_uploads_and_large_requests(on_sqlite: Service) -> None:
    job = on_sqlite.job()
    with filled([UPLOADS, UPLOADED_PIECES, COMPUTING, DECODING_MEDIA, MODEL_CHANGES]):
        assert on_sqlite.http.get("/healthz").status_code == 200
        assert on_sqlite.http.get(f"/v1/jobs/{job}").json()["id"] == job
        assert on_sqlite.http.get(f"/v1/jobs/{job}/events").status_code == 200
        assert on_sqlite.http.get("/readyz").json()["checks"]["database"] == "ok"
        assert on_sqlite.http.post("/v1/models/none/predict", json={"instances": []}).status_code == 404


@pytest.mark.parametrize("pool", [UPLOADS, UPLOADED_PIECES])
def test_what_finds_no_room_may_come_again(on_sqlite: Service, pool: ThreadPool) -> None:
    with filled([pool]):
        refused = on_sqlite.upload(monthly())
        body = problem(refused, 429)
    assert (body["type"], refused.headers["retry-after"]) == ("/problems/queue-full", "1")
    assert not list(on_sqlite.state.incoming.iterdir())
    assert on_sqlite.upload(monthly()).status_code == 201


def test_readiness_that_cannot_be_asked_is_none(on_sqlite: Service) -> None:
    with filled([thread_pools.READINESS]):
        answer = on_sqlite.http.get("/readyz")
    assert (answer.status_code, answer.json()["checks"]["database"]) == (503, "unavailable")
