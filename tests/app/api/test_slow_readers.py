"""A client that does not read its answer holds nothing that others need."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import QueuePool

from tests.support.fixtures.servers import until
from tests.support.fixtures.service import Service

Message = dict[str, Any]


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/datasets", "/v1/models", "/v1/workers"])
def test_no_connection_is_held_while_an_answer_is_sent(path: str, on_sqlite: Service) -> None:
    pool: QueuePool = on_sqlite.state.readers.kw["bind"].pool
    bodies: list[bytes] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            # Others of the process may hold one, but not for as long as this client takes to read.
            until(lambda: pool.checkedout() == 0, what="a pool that has all its connections")
            bodies.append(message["body"])

    scope: Message = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []}
    scope |= {"http_version": "1.1", "scheme": "http", "root_path": "", "server": None, "client": None}
    asyncio.run(on_sqlite.app(scope, receive, send))  # type: ignore[arg-type]
    assert b'"data"' in b"".join(bodies)
