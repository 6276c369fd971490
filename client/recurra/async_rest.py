"""The REST interface as methods over its JSON, for an event loop."""

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any, Self

import httpx

from recurra import operations
from recurra.connection import TIMEOUT_SECONDS, http_arguments, make_retries
from recurra.errors import Json
from recurra.operations import quoted
from recurra.protocol.async_driver import AsyncDriver
from recurra.protocol.steps import Call, UploadProgress


class AsyncRestClient:
    """Calls of one server, as its documentation names them; of one event loop.

    All methods raise `RecurraError`: `ServerNotFound`, `ConnectionLost`, or `RequestRefused` with a problem.
    Requests that are safe to repeat are sent again when the connection breaks or the service is busy.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float = TIMEOUT_SECONDS,
        retries: int = 4,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        http = httpx.AsyncClient(**http_arguments(url, api_key, timeout), transport=transport)
        self.url = str(http.base_url).rstrip("/")
        self.driver = AsyncDriver(http, make_retries(retries))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self.driver.http.aclose()

    def __repr__(self) -> str:
        return f"<Client of {self.url}>"

    async def send(self, method: str, path: str, **content: Any) -> httpx.Response:
        """Send one request with httpx's arguments; a status of 400 or more raises `RequestRefused`."""
        return await self.driver.run(operations.respond(Call(method, path, content)))

    async def get(self, path: str, **query: str | int) -> Json:
        """GET a JSON object."""
        return await self.driver.run(operations.get(path, query))

    async def pages(self, path: str, limit: int, **query: str | int) -> list[Json]:
        """GET the first `limit` entries of a list, page by page."""
        return await self.driver.run(operations.pages(path, limit, query))

    async def upload(
        self, path: Path, task: str, progress: UploadProgress | None = None, **fields: str
    ) -> Json:
        """Upload a file as a data set, streamed from disk; `progress` gets the bytes of each chunk."""
        return await self.driver.run(operations.upload(path, task, fields, progress))

    async def submit(self, job: Json) -> Json:
        """Queue a training job."""
        return await self.driver.run(operations.create("/v1/jobs", job))

    async def sweep(self, request: Json) -> Json:
        """Queue a sweep."""
        return await self.driver.run(operations.create("/v1/sweeps", request))

    async def act(self, job_id: str, verb: str) -> Json:
        """`cancel`, `pause` or `resume` a job."""
        return await self.driver.run(operations.act(job_id, verb))

    def watch(self, job_id: str) -> AsyncGenerator[Json]:
        """Yield the job now, and whenever it has changed, until its end; survives a restart of the server."""
        return self.driver.iterate(operations.watch(job_id))

    def events(self, job_id: str, after: int = 0) -> AsyncGenerator[Json]:
        """Yield each event of a job until its end; resumed where a connection broke."""
        return self.driver.iterate(operations.job_events(job_id, after))

    async def version(self, model: str, number: int | None = None) -> Json:
        """GET a version of a model, by default the newest."""
        return await self.driver.run(operations.version(model, number))

    async def task_of(self, model: str) -> str:
        """The name of a model's task."""
        return str((await self.get(quoted("models", model)))["task"])

    async def predict(
        self, model: str, instances: Sequence[Any], parameters: Json | None = None, **which: str | int
    ) -> Json:
        """Predict; `which` is `version=n` or `alias=a`, by default the alias `production`."""
        body = operations.prediction_body(instances, parameters or {})
        return await self.driver.run(operations.ask(quoted("models", model, "predict"), body, which))

    def stream(
        self, model: str, instance: Any, parameters: Json | None = None, **which: str | int
    ) -> AsyncGenerator[Json]:
        """Yield pieces `{"text": …}` of an answer as they are made, and at last the whole answer.

        The last piece has a `finish_reason`, the whole answer `predictions`.
        """
        return self.driver.iterate(operations.stream(model, [instance], parameters or {}, which))

    async def explain(self, model: str, body: Json, **which: str | int) -> Json:
        """Explain the one instance of a request's body; `which` as for `predict`."""
        return await self.driver.run(operations.ask(quoted("models", model, "explain"), body, which))

    async def explanation_svg(self, model: str, body: Json, **which: str | int) -> bytes:
        """The same as a picture."""
        query = {"format": "svg", **which}
        response = await self.send("POST", quoted("models", model, "explain"), params=query, json=body)
        return response.content

    async def promote(self, model: str, alias: str, target: Json) -> Json:
        """Point an alias at `{"version": n}` or `{"versions": {n: share}}`, with a `shadow` or a `guard`."""
        call = Call("PUT", quoted("models", model, "aliases", alias), {"json": target})
        return await self.driver.run(operations.call_json(call))

    async def batch(
        self, model: str, dataset: str, parameters: Json | None = None, **which: str | int
    ) -> Json:
        """Queue the prediction of a whole data set; `which` as for `predict`."""
        body = {"dataset": dataset, "parameters": parameters or {}}
        return await self.driver.run(
            operations.create(quoted("models", model, "batch-predictions"), body, which)
        )

    async def evaluate(self, model: str, request: Json) -> Json:
        """Queue the evaluation of versions on a data set."""
        return await self.driver.run(operations.create(quoted("models", model, "evaluations"), request))

    async def result(self, job_id: str, target: Path) -> int:
        """Save the lines of a batch prediction or an evaluation, whole or not at all; returns their bytes."""
        return await self.driver.run(operations.save(quoted("jobs", job_id, "result"), target))

    async def download(self, model: str, number: int, target: Path) -> int:
        """Save a version's archive, whole or not at all; returns the number of bytes."""
        path = quoted("models", model, "versions", number, "artifact")
        return await self.driver.run(operations.save(path, target))

    async def create_webhook(self, url: str, events: Sequence[str], description: str = "") -> Json:
        """Have events such as `job.succeeded` sent to a URL; `secret` signs them, and is told this once."""
        body = {"url": url, "events": list(events), "description": description}
        return await self.driver.run(operations.create("/v1/webhooks", body))

    async def test_webhook(self, webhook_id: str) -> Json:
        """Queue an event of the type `webhook.test`; returns its delivery."""
        call = Call("POST", quoted("webhooks", webhook_id, "test"))
        return await self.driver.run(operations.call_json(call))

    async def delete_webhook(self, webhook_id: str) -> None:
        """Send nothing more to a webhook, and delete it with its deliveries."""
        await self.driver.run(operations.respond(Call("DELETE", quoted("webhooks", webhook_id))))
