"""A client of the HTTP API, for the command line."""

import io
import json
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx

from app.states import TERMINAL
from app.typedefs import Json

Progress = Callable[[int], None]  # bytes since the last call

LONG_POLL_SECONDS = 30
MAX_PAGE_ENTRIES = 200
RECONNECT_SECONDS = 60.0  # for which a watched job is polled while the server does not answer


class ClientError(Exception):
    """The request failed: no connection, an unexpected response, or a refusal."""


class ServerNotFound(ClientError):
    """No server answers at the URL."""


@dataclass
class RequestRefused(ClientError):
    """A response with status 400 or more, as its problem document (RFC 9457)."""

    problem: Json

    def __str__(self) -> str:
        return str(self.problem.get("detail") or self.problem.get("title") or self.problem.get("status"))


class ProgressFile(io.FileIO):
    """A file that reports how many bytes are read from it."""

    def __init__(self, path: Path, progress: Progress) -> None:
        super().__init__(path)
        self._progress = progress

    def read(self, size: int | None = -1, /) -> bytes:
        """Read bytes, and report how many."""
        data = super().read(size) or b""
        self._progress(len(data))
        return data


class Client:
    """A connection to one server; its methods raise `ServerNotFound` or `RequestRefused`."""

    def __init__(
        self,
        url: str,
        transport: httpx.BaseTransport | None = None,
        timeout: float = 60.0,
        api_key: str | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self._http = httpx.Client(base_url=self.url, transport=transport, timeout=timeout, headers=headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def send(self, method: str, path: str, **content: Any) -> httpx.Response:
        """Send one request; a status of 400 or more raises `RequestRefused`."""
        try:
            response = self._http.request(method, path, **content)
        except httpx.ConnectError as error:
            raise ServerNotFound(self.url) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ClientError(f"{self.url}: {str(error) or type(error).__name__}") from error
        if response.status_code >= 400:
            raise RequestRefused(parse_problem(response))
        return response

    def get(self, path: str, **query: str | int) -> Json:
        """GET a JSON object."""
        return _json_object(self.send("GET", path, params=query))

    def pages(self, path: str, limit: int, **query: str | int) -> list[Json]:
        """GET the first `limit` entries of a list, page by page."""
        entries: list[Json] = []
        while len(entries) < limit:
            page = self.get(path, **query, limit=min(limit - len(entries), MAX_PAGE_ENTRIES))
            entries += page["data"]
            if not page["has_more"]:
                break
            query["cursor"] = page["next_cursor"]
        return entries

    def upload(self, path: Path, task: str, progress: Progress, **fields: str) -> Json:
        """Upload a data set, streamed from disk; `progress` is called with the bytes of each chunk."""
        with ProgressFile(path, progress) as file:
            response = self.send(
                "POST",
                "/v1/datasets",
                files={"file": (path.name, file)},
                data={"task": task, **fields},
                headers=idempotency_header(),
                timeout=httpx.Timeout(60.0, read=900.0),  # the server checks the whole file before it answers
            )
        return _json_object(response)

    def submit(self, job: Json) -> Json:
        """Queue a job."""
        return _json_object(self.send("POST", "/v1/jobs", json=job, headers=idempotency_header()))

    def sweep(self, request: Json) -> Json:
        """Queue a sweep."""
        return _json_object(self.send("POST", "/v1/sweeps", json=request, headers=idempotency_header()))

    def act(self, job_id: str, verb: str) -> Json:
        """`cancel`, `pause` or `resume` a job."""
        return _json_object(self.send("POST", f"/v1/jobs/{quote(job_id, safe='')}/{verb}"))

    def watch(self, job_id: str) -> Iterator[Json]:
        """Yield the job now, and whenever it has changed, until its end; survives a restart of the server."""
        path, last_response = f"/v1/jobs/{quote(job_id, safe='')}", time.monotonic()
        etag: str | None = None
        while True:
            sent = time.monotonic()
            headers = {} if etag is None else {"Prefer": f"wait={LONG_POLL_SECONDS}", "If-None-Match": etag}
            try:
                response = self.send("GET", path, headers=headers)
            except ClientError as error:
                unavailable = not isinstance(error, RequestRefused) or error.problem.get("status") == 503
                if not etag or not unavailable or time.monotonic() - last_response > RECONNECT_SECONDS:
                    raise
                time.sleep(1.0)
                continue
            last_response = time.monotonic()
            if response.status_code == 304:
                time.sleep(max(0.0, sent + 1.0 - last_response))  # for servers that do not hold a long poll
                continue
            etag, job = response.headers.get("ETag", ""), _json_object(response)
            yield job
            if job["status"] in TERMINAL:
                return

    def version(self, model: str, number: int | None = None) -> Json:
        """GET a version of a model, by default the newest."""
        path = f"/v1/models/{quote(model, safe='')}"
        number = number if number is not None else self.get(path)["latest_version"]
        return self.get(f"{path}/versions/{number}")

    def predict(self, model: str, instances: Sequence[Any], parameters: Json, **which: str | int) -> Json:
        """Predict; `which` is `version=n` or `alias=a`, by default the alias `production`."""
        body: Json = {"instances": list(instances)}
        if parameters:
            body["parameters"] = parameters
        path = f"/v1/models/{quote(model, safe='')}/predict"
        return _json_object(self.send("POST", path, params=which, json=body))

    def explain(self, model: str, body: Json, **which: str | int) -> Json:
        """Explain the one instance of a request's body; `which` as for `predict`."""
        return _json_object(self._explanation(model, body, **which))

    def explanation_svg(self, model: str, body: Json, **which: str | int) -> bytes:
        """The same as a picture."""
        return self._explanation(model, body, format="svg", **which).content

    def _explanation(self, model: str, body: Json, **query: str | int) -> httpx.Response:
        return self.send("POST", f"/v1/models/{quote(model, safe='')}/explain", params=query, json=body)

    def task_of(self, model: str) -> str:
        """The name of a model's task."""
        return str(self.get(f"/v1/models/{quote(model, safe='')}")["task"])

    def stream(
        self,
        model: str,
        instance: Any,
        parameters: Json,
        on_piece: Callable[[Json], None],
        **which: str | int,
    ) -> Json:
        """The whole answer, whose text goes to `on_piece` as it is generated.

        A piece is `{"text": …}`; the last one has a `finish_reason`.
        """
        body = {"instances": [instance], "parameters": {**parameters, "stream": True}}
        path, name = f"/v1/models/{quote(model, safe='')}/predict", ""
        with self._open_stream("POST", path, params=which, json=body) as response:
            for line in response.iter_lines():
                field, _, value = line.partition(": ")
                if field == "event":
                    name = value
                elif field == "data" and name == "error":
                    raise RequestRefused(json.loads(value))
                elif field == "data" and name == "done":
                    answer: Json = json.loads(value)
                    return answer
                elif field == "data" and not name:
                    on_piece(json.loads(value))
        raise ClientError(f"{self.url}: the response ended early")

    def promote(self, model: str, alias: str, target: Json) -> Json:
        """Point an alias at `{"version": n}` or `{"versions": {n: share}}`, with a `shadow` or a `guard`."""
        path = f"/v1/models/{quote(model, safe='')}/aliases/{quote(alias, safe='')}"
        return _json_object(self.send("PUT", path, json=target))

    def batch(self, model: str, dataset: str, parameters: Json, **which: str | int) -> Json:
        """Queue the prediction of a whole data set; `which` as for `predict`."""
        path = f"/v1/models/{quote(model, safe='')}/batch-predictions"
        body = {"dataset": dataset, "parameters": parameters}
        return _json_object(self.send("POST", path, params=which, json=body, headers=idempotency_header()))

    def evaluate(self, model: str, request: Json) -> Json:
        """Queue the evaluation of versions on a data set."""
        path = f"/v1/models/{quote(model, safe='')}/evaluations"
        return _json_object(self.send("POST", path, json=request, headers=idempotency_header()))

    def result(self, job_id: str, target: Path) -> int:
        """Save the lines of a batch prediction or an evaluation, whole or not at all; returns their bytes."""
        return self._save(f"/v1/jobs/{quote(job_id, safe='')}/result", target)

    def download(self, model: str, number: int, target: Path) -> int:
        """Save a version's archive, whole or not at all; returns the number of bytes."""
        return self._save(f"/v1/models/{quote(model, safe='')}/versions/{number}/artifact", target)

    def _save(self, path: str, target: Path) -> int:
        partial = target.with_name(f"{target.name}.part")
        with self._open_stream("GET", path) as response, partial.open("wb") as file:
            file.writelines(response.iter_bytes())
        partial.replace(target)
        return target.stat().st_size

    @contextmanager
    def _open_stream(self, method: str, path: str, **content: Any) -> Iterator[httpx.Response]:
        """A response whose body is read in chunks; raises as `send` does, also while the body is read."""
        try:
            with self._http.stream(method, path, **content) as response:
                if response.status_code >= 400:
                    response.read()
                    raise RequestRefused(parse_problem(response))
                yield response
        except httpx.ConnectError as error:
            raise ServerNotFound(self.url) from error
        except httpx.HTTPError as error:
            raise ClientError(f"{self.url}: {str(error) or type(error).__name__}") from error


def idempotency_header() -> dict[str, str]:
    """A header with a new key, by which a repeated POST is recognised."""
    return {"Idempotency-Key": uuid.uuid4().hex}


def parse_problem(response: httpx.Response) -> Json:
    """The problem document of a response; of a response without one, such as a proxy's, its text in one."""
    document = _parse_json(response)
    if document is not None and "status" in document:
        return document
    return {
        "title": response.reason_phrase,
        "status": response.status_code,
        "detail": response.text[:500],
        "errors": [],
    }


def _json_object(response: httpx.Response) -> Json:
    document = _parse_json(response)
    if document is None:
        raise ClientError(f"{response.url} did not answer JSON; is that a Recurra server?")
    return document


def _parse_json(response: httpx.Response) -> Json | None:
    """The response's JSON object; None for any other content."""
    try:
        document = response.json()
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
