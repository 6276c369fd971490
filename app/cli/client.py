"""A small client of the HTTP API, for the command line."""

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

from app.typedefs import Json

Progress = Callable[[int], None]  # bytes since the last call

TERMINAL = frozenset({"succeeded", "failed", "cancelled"})
WAIT_SECONDS = 30  # of one long poll
PATIENCE = 60.0  # a watched job outlives a restart of the server


class ClientError(Exception):
    """The server could not be asked, or said no."""


class NoServer(ClientError):
    """Nothing answers at the URL."""


@dataclass
class Refused(ClientError):
    """An answer of status 400 or more, as the problem document it carried (RFC 9457)."""

    problem: Json

    def __str__(self) -> str:
        return str(self.problem.get("detail") or self.problem.get("title") or self.problem.get("status"))


class _Told(io.FileIO):
    """A file that tells how much of it was read."""

    def __init__(self, path: Path, progress: Progress) -> None:
        super().__init__(path)
        self._progress = progress

    def read(self, size: int | None = -1, /) -> bytes:
        """Read and tell."""
        data = super().read(size) or b""
        self._progress(len(data))
        return data


class Client:
    """Talks JSON to one server; raises `NoServer` or `Refused`."""

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None, timeout: float = 60.0) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.Client(base_url=self.url, transport=transport, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def send(self, method: str, path: str, **content: Any) -> httpx.Response:
        """One request; a refusal raises `Refused` with its problem document."""
        try:
            answer = self._http.request(method, path, **content)
        except httpx.ConnectError as error:
            raise NoServer(self.url) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ClientError(f"{self.url}: {str(error) or type(error).__name__}") from error
        if answer.status_code >= 400:
            raise Refused(problem_of(answer))
        return answer

    def get(self, path: str, **query: str | int) -> Json:
        """A JSON document."""
        return _object(self.send("GET", path, params=query))

    def pages(self, path: str, limit: int, **query: str | int) -> list[Json]:
        """The first `limit` entries of a list, page by page."""
        found: list[Json] = []
        while len(found) < limit:
            page = self.get(path, **query, limit=min(limit - len(found), 200))
            found += page["data"]
            if not page["has_more"]:
                break
            query["cursor"] = page["next_cursor"]
        return found

    def upload(self, path: Path, task: str, progress: Progress, **fields: str) -> Json:
        """Upload a data set, streamed from disk; `progress` hears of each piece."""
        with _Told(path, progress) as file:
            answer = self.send(
                "POST",
                "/v1/datasets",
                files={"file": (path.name, file)},
                data={"task": task, **fields},
                headers=once(),
                timeout=httpx.Timeout(60.0, read=900.0),  # the server checks the whole file before it answers
            )
        return _object(answer)

    def submit(self, job: Json) -> Json:
        """Queue a job."""
        return _object(self.send("POST", "/v1/jobs", json=job, headers=once()))

    def sweep(self, asked: Json) -> Json:
        """Queue a sweep."""
        return _object(self.send("POST", "/v1/sweeps", json=asked, headers=once()))

    def act(self, job_id: str, verb: str) -> Json:
        """`cancel`, `pause` or `resume` a job."""
        return _object(self.send("POST", f"/v1/jobs/{quote(job_id, safe='')}/{verb}"))

    def watch(self, job_id: str) -> Iterator[Json]:
        """The job as it is, then each time it has changed, up to its end: polls that survive a restart."""
        path, heard = f"/v1/jobs/{quote(job_id, safe='')}", time.monotonic()
        etag: str | None = None
        while True:
            asked = time.monotonic()
            patient = {} if etag is None else {"Prefer": f"wait={WAIT_SECONDS}", "If-None-Match": etag}
            try:
                answer = self.send("GET", path, headers=patient)
            except ClientError as error:
                away = not isinstance(error, Refused) or error.problem.get("status") == 503
                if not etag or not away or time.monotonic() - heard > PATIENCE:
                    raise
                time.sleep(1.0)
                continue
            heard = time.monotonic()
            if answer.status_code == 304:
                time.sleep(max(0.0, asked + 1.0 - heard))  # a server that does not hold is not hammered
                continue
            etag, job = answer.headers.get("ETag", ""), _object(answer)
            yield job
            if job["status"] in TERMINAL:
                return

    def version(self, model: str, number: int | None = None) -> Json:
        """One version of a model; without a number the newest."""
        base = f"/v1/models/{quote(model, safe='')}"
        chosen = number if number is not None else self.get(base)["latest_version"]
        return self.get(f"{base}/versions/{chosen}")

    def predict(self, model: str, instances: Sequence[Any], parameters: Json, **which: str | int) -> Json:
        """Predict; `which` is `version=n` or `alias=a`, by default the alias `production`."""
        body: Json = {"instances": list(instances)}
        if parameters:
            body["parameters"] = parameters
        path = f"/v1/models/{quote(model, safe='')}/predict"
        return _object(self.send("POST", path, params=which, json=body))

    def task_of(self, model: str) -> str:
        """What a model's task is called."""
        return str(self.get(f"/v1/models/{quote(model, safe='')}")["task"])

    def stream(self, model: str, instance: Any, parameters: Json, **which: str | int) -> Iterator[Json]:
        """Text of one instance as it is found, `{"text": …}`; the last piece has a `finish_reason`."""
        body = {"instances": [instance], "parameters": {**parameters, "stream": True}}
        path, name = f"/v1/models/{quote(model, safe='')}/predict", ""
        with self._streamed("POST", path, params=which, json=body) as answer:
            for line in answer.iter_lines():
                field, _, value = line.partition(": ")
                if field == "event":
                    name = value
                elif field == "data" and name == "error":
                    raise Refused(json.loads(value))
                elif field == "data" and not name:
                    yield json.loads(value)
        if name != "done":
            raise ClientError(f"{self.url}: the answer broke off")

    def promote(self, model: str, alias: str, target: Json) -> Json:
        """Point an alias at `{"version": n}` or `{"versions": {n: share}}`, with or without a `shadow`."""
        path = f"/v1/models/{quote(model, safe='')}/aliases/{quote(alias, safe='')}"
        return _object(self.send("PUT", path, json=target))

    def batch(self, model: str, dataset: str, parameters: Json, **which: str | int) -> Json:
        """Queue the prediction of a whole data set; `which` as for `predict`."""
        path = f"/v1/models/{quote(model, safe='')}/batch-predictions"
        body = {"dataset": dataset, "parameters": parameters}
        return _object(self.send("POST", path, params=which, json=body, headers=once()))

    def result(self, job_id: str, target: Path) -> int:
        """Save what a batch prediction made, whole or not at all; gives its bytes."""
        return self._save(f"/v1/jobs/{quote(job_id, safe='')}/result", target)

    def download(self, model: str, number: int, target: Path) -> int:
        """Save a version's archive, whole or not at all; gives its bytes."""
        return self._save(f"/v1/models/{quote(model, safe='')}/versions/{number}/artifact", target)

    def _save(self, path: str, target: Path) -> int:
        part = target.with_name(f"{target.name}.part")
        with self._streamed("GET", path) as answer, part.open("wb") as file:
            file.writelines(answer.iter_bytes())
        part.replace(target)
        return target.stat().st_size

    @contextmanager
    def _streamed(self, method: str, path: str, **content: Any) -> Iterator[httpx.Response]:
        """An answer that is read as it comes; raises as `send` does, also while it is read."""
        try:
            with self._http.stream(method, path, **content) as answer:
                if answer.status_code >= 400:
                    answer.read()
                    raise Refused(problem_of(answer))
                yield answer
        except httpx.ConnectError as error:
            raise NoServer(self.url) from error
        except httpx.HTTPError as error:
            raise ClientError(f"{self.url}: {str(error) or type(error).__name__}") from error


def once() -> dict[str, str]:
    """The header that makes a repeated POST harmless."""
    return {"Idempotency-Key": uuid.uuid4().hex}


def problem_of(answer: httpx.Response) -> Json:
    """The problem document of an answer; one is made up when something else than our server answered."""
    try:
        found = answer.json()
    except ValueError:
        found = None
    if isinstance(found, dict) and "status" in found:
        return found
    return {
        "title": answer.reason_phrase,
        "status": answer.status_code,
        "detail": answer.text[:500],
        "errors": [],
    }


def _object(answer: httpx.Response) -> Json:
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ClientError(f"{answer.url} did not answer JSON; is that a Recurra server?")
    return found
