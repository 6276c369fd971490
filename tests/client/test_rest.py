"""The client's side of the contract, against a transport that plays the server."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from recurra import Client, ConnectionLost, InvalidInput, RecurraError, RequestRefused, ServerNotFound

Handler = Callable[[httpx.Request], httpx.Response]


def against(handler: Handler) -> Client:
    return Client("http://server", transport=httpx.MockTransport(handler), retries=0)


def job(status: str, **fields: Any) -> dict[str, Any]:
    return {"id": "job_1", "model": "demand", "status": status, **fields}


def test_an_upload_streams_the_file_and_reports_its_progress(tmp_path: Path) -> None:
    path = tmp_path / "series.csv"
    path.write_bytes(b"x" * 200_000)
    observed: list[httpx.Request] = []
    message: list[int] = []

    def server(request: httpx.Request) -> httpx.Response:
        request.read()
        observed.append(request)
        return httpx.Response(201, json={"id": "ds_1"})

    with against(server) as client:
        assert client.upload(path, "forecasting", message.append, name="demand")["id"] == "ds_1"
    (request,) = observed
    assert request.headers["content-type"].startswith("multipart/form-data")
    assert int(request.headers["content-length"]) == len(request.content)
    assert b'name="task"\r\n\r\nforecasting' in request.content
    assert b'name="name"\r\n\r\ndemand' in request.content
    assert b'filename="series.csv"' in request.content
    assert sum(message) == 200_000
    assert len(message) > 2
    assert len(request.headers["idempotency-key"]) == 32


def test_a_refusal_carries_the_problem() -> None:
    problem = {
        "status": 422,
        "detail": "no",
        "errors": [{"pointer": "/options/horizon", "detail": "missing"}],
    }
    with (
        against(lambda _: httpx.Response(422, json=problem)) as client,
        pytest.raises(RequestRefused) as caught,
    ):
        client.submit({})
    assert caught.value.problem == problem
    assert str(caught.value) == "no (422)\n  /options/horizon: missing"


def test_an_error_of_something_else_becomes_a_problem() -> None:
    def proxy(_: httpx.Request) -> httpx.Response:
        return httpx.Response(502, text="<html>bad gateway</html>")

    with against(proxy) as client, pytest.raises(RequestRefused) as caught:
        client.get("/v1/jobs")
    assert caught.value.problem["status"] == 502
    assert "bad gateway" in str(caught.value)


def test_what_is_no_json_is_not_sent() -> None:
    with against(lambda _: httpx.Response(200)) as client:
        for value in (float("inf"), object()):
            with pytest.raises(InvalidInput, match="cannot be written as JSON"):
                client.predict("m", [{"values": [value]}])


def test_a_missing_server_is_an_error_of_its_own() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    def drop(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("", request=request)

    with against(refuse) as client, pytest.raises(ServerNotFound) as caught:
        client.get("/v1/jobs")
    text = "There is no server at http://server; start one with `recurra up`, or set RECURRA_URL"
    assert str(caught.value) == text
    with against(drop) as client, pytest.raises(ConnectionLost, match="ReadTimeout"):
        client.get("/v1/jobs")
    with (
        against(lambda _: httpx.Response(200, text="hello")) as client,
        pytest.raises(RecurraError, match="Recurra"),
    ):
        client.get("/v1/jobs")


def test_lists_are_read_page_by_page() -> None:
    requested: list[dict[str, str]] = []

    def server(request: httpx.Request) -> httpx.Response:
        query = dict(request.url.params)
        requested.append(query)
        start, limit = int(query.get("cursor", 0)), int(query["limit"])
        data = [{"n": n} for n in range(start, min(start + limit, 430))]
        more = start + limit < 430
        page = {"data": data, "has_more": more, "next_cursor": str(start + limit) if more else None}
        return httpx.Response(200, json=page)

    with against(server) as client:
        assert [row["n"] for row in client.pages("/v1/jobs", 450, status="failed")] == list(range(430))
        assert len(client.pages("/v1/jobs", 5)) == 5
    assert [query["limit"] for query in requested] == ["200", "200", "50", "5"]
    assert all(query["status"] == "failed" for query in requested[:3])


def test_watching_polls_with_the_validator_until_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [
        httpx.Response(200, json=job("queued"), headers={"ETag": '"1"'}),
        httpx.Response(304),
        httpx.Response(200, json=job("running"), headers={"ETag": '"2"'}),
        httpx.Response(503, json={"status": 503, "title": "Unavailable"}),
        httpx.Response(200, json=job("succeeded"), headers={"ETag": '"3"'}),
    ]
    requested: list[httpx.Headers] = []
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)

    def server(request: httpx.Request) -> httpx.Response:
        requested.append(request.headers)
        return answers[len(requested) - 1]

    with against(server) as client:
        assert [observed["status"] for observed in client.watch("job_1")] == [
            "queued",
            "running",
            "succeeded",
        ]
    assert [headers.get("if-none-match") for headers in requested] == [None, '"1"', '"1"', '"2"', '"2"']
    waits = [headers.get("prefer") for headers in requested]
    assert waits == [None, *["wait=30"] * 4]  # what is there is shown at once
    assert len(pauses) == 2  # after a 304 that came at once, and while the server was away


def test_watching_survives_a_restart_but_not_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    calls: list[None] = []

    def server(request: httpx.Request) -> httpx.Response:
        calls.append(None)
        if len(calls) == 1:
            return httpx.Response(200, json=job("running"), headers={"ETag": '"1"'})
        raise httpx.ConnectError("refused", request=request)

    with against(server) as client, pytest.raises(ServerNotFound):
        list(client.watch("job_1"))
    assert 60 <= now[0] <= 63


def test_watching_an_unknown_job_fails_at_once() -> None:
    with against(lambda _: httpx.Response(404, json={"status": 404, "detail": "no such job"})) as client:  # noqa: SIM117
        with pytest.raises(RequestRefused, match="no such job"):
            list(client.watch("job_2"))


def test_predictions_name_a_version_or_nothing() -> None:
    observed: list[tuple[str, dict[str, Any]]] = []

    def server(request: httpx.Request) -> httpx.Response:
        observed.append((request.url.raw_path.decode(), json.loads(request.content)))
        return httpx.Response(200, json={"predictions": []})

    with against(server) as client:
        client.predict("de mand", [{"values": [1]}], {})
        client.predict("demand", [{"values": [1]}], {"horizon": 2}, version=3)
    assert observed == [
        ("/v1/models/de%20mand/predict", {"instances": [{"values": [1]}]}),
        (
            "/v1/models/demand/predict?version=3",
            {"instances": [{"values": [1]}], "parameters": {"horizon": 2}},
        ),
    ]


def test_a_download_is_whole_or_not_there(tmp_path: Path) -> None:
    target = tmp_path / "demand.zip"
    with against(lambda _: httpx.Response(200, content=b"PK" * 500)) as client:
        assert client.download("demand", 1, target) == 1000
    assert target.read_bytes() == b"PK" * 500
    missing = tmp_path / "missing.zip"
    with against(lambda _: httpx.Response(404, json={"status": 404, "detail": "none"})) as client:  # noqa: SIM117
        with pytest.raises(RequestRefused, match="none"):
            client.download("demand", 9, missing)
    assert not missing.exists()


def test_the_newest_version_is_the_default() -> None:
    def server(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/models/demand":
            return httpx.Response(200, json={"latest_version": 4})
        return httpx.Response(200, json={"version": int(request.url.path.rpartition("/")[2])})

    with against(server) as client:
        assert client.version("demand")["version"] == 4
        assert client.version("demand", 2)["version"] == 2


def events(*lines: str) -> Handler:
    content = "".join(f"{line}\n\n" for line in lines).encode()
    return lambda _: httpx.Response(200, content=content, headers={"content-type": "text/event-stream"})


def test_a_streamed_text_comes_piece_by_piece() -> None:
    pieces = [{"index": 0, "text": "Once "}, {"index": 0, "text": "", "finish_reason": "stop", "tokens": 1}]
    observed: list[dict[str, Any]] = []
    answer = events(*(f"data: {json.dumps(piece)}" for piece in pieces), 'event: done\ndata: {"version": 1}')

    def server(request: httpx.Request) -> httpx.Response:
        observed.append(json.loads(request.content) | {"query": str(request.url.query, "ascii")})
        return answer(request)

    with against(server) as client:
        received = list(client.stream("tale", {"prompt": "x"}, {"seed": 1}, version=2))
        assert received == [*pieces, {"version": 1}]
    assert observed == [
        {
            "instances": [{"prompt": "x"}],
            "parameters": {"seed": 1, "stream": True},
            "query": "version=2",
        }
    ]


def test_a_stream_that_fails_says_why() -> None:
    problem = {"status": 504, "detail": "too late", "errors": []}
    broken = events('data: {"index": 0, "text": "On"}', f"event: error\ndata: {json.dumps(problem)}")
    with against(broken) as client, pytest.raises(RequestRefused, match="too late"):
        list(client.stream("tale", {"prompt": "x"}, {}))
    with against(events('data: {"index": 0, "text": "On"}')) as client:  # noqa: SIM117
        with pytest.raises(RecurraError, match="ended early"):
            list(client.stream("tale", {"prompt": "x"}, {}))
    refused = httpx.Response(422, json={"status": 422, "detail": "no prompt"})
    with against(lambda _: refused) as client, pytest.raises(RequestRefused, match="no prompt"):
        list(client.stream("tale", {}))


def test_the_task_of_a_model_is_requested() -> None:
    with against(lambda request: httpx.Response(200, json={"task": request.url.path[1:]})) as client:
        assert client.task_of("tale") == "v1/models/tale"


def test_a_url_without_a_scheme_is_of_http() -> None:
    assert Client("127.0.0.1:8230").url == "http://127.0.0.1:8230"
    assert Client("https://server/").url == "https://server"
