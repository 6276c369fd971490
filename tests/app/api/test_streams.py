"""Answers that begin before they are whole, over HTTP with a real predictor."""

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.typedefs import Json
from tests.support.factories.speaking import events, publish, speaker, speaking, tagger, translator
from tests.support.fixtures.servers import Valkey, until
from tests.support.fixtures.service import Service, problem, service

PREDICT = "/v1/models/poet/predict"
PROMPT = "The king and"


@pytest.fixture(scope="module")
def text_service(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, redis_server: Valkey
) -> Iterator[Service]:
    """A service with models of each kind, and a predictor."""
    directory = tmp_path_factory.mktemp("streams")
    (directory / "test.db").write_bytes(sqlite_template.read_bytes())
    url = f"sqlite:///{directory / 'test.db'}"
    with service(directory, url, redis_server.url) as made:
        speaker(directory / "poet")
        translator(directory / "interpreter")
        tagger(directory / "grammarian")
        publish(made, directory / "poet", "poet", "generation")
        publish(made, directory / "interpreter", "interpreter", "translation")
        with speaking(made, directory):
            until(lambda: ask(made, max_tokens=2).status_code == 200, what="the first answer")
            yield made


def ask(running: Service, *prompts: str, seconds: str | None = None, **parameters: Any) -> httpx.Response:
    body = {"instances": [{"prompt": one} for one in prompts or (PROMPT,)], "parameters": parameters}
    headers = {} if seconds is None else {"X-Request-Timeout": seconds}
    return running.http.post(PREDICT, json=body, headers=headers)


def streamed(running: Service, *prompts: str, **parameters: Any) -> list[tuple[str, Any]]:
    answer = ask(running, *prompts, stream=True, **parameters)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-request-id"]
    assert "content-length" not in answer.headers
    return events(answer.content)


def test_a_stream_says_what_an_answer_says(text_service: Service) -> None:
    how: Json = {"max_tokens": 60, "seed": 5, "temperature": 0.8, "top_p": 0.9}
    prompts = ["The king", "", "queen of the "]
    whole = ask(text_service, *prompts, **how).json()
    *message, (name, done) = streamed(text_service, *prompts, **how)
    assert (name, done) == ("done", whole)
    texts, ends = ["", "", ""], dict[int, Json]()
    for kind, one in message:
        assert kind == "message"
        assert one["index"] not in ends
        if "finish_reason" in one:
            assert one["text"] == ""
            ends[one["index"]] = one
        else:
            assert one.keys() == {"index", "text"}
            assert one["text"]
            texts[one["index"]] += one["text"]
    for pointer, prediction in enumerate(whole["predictions"]):
        assert texts[pointer] == prediction["text"]
        assert ends[pointer]["finish_reason"] == prediction["finish_reason"]
        assert ends[pointer]["tokens"] == prediction["tokens"]


@pytest.mark.parametrize("stop", ["e", ["ng", "th"], "zzz"])
def test_a_stop_string_is_never_sent(text_service: Service, stop: Any) -> None:
    how: Json = {"max_tokens": 300, "seed": 3, "stop": stop}
    (prediction,) = ask(text_service, **how).json()["predictions"]
    *message, _ = streamed(text_service, **how)
    assert "".join(one["text"] for _, one in message) == prediction["text"]
    for one in [stop] if isinstance(stop, str) else stop:
        assert one not in prediction["text"]
    assert message[-1][1]["finish_reason"] == prediction["finish_reason"]


def test_the_first_words_come_long_before_the_last(text_service: Service) -> None:
    body = {"instances": [{"prompt": PROMPT}], "parameters": {"max_tokens": 4000, "top_k": 1, "stream": True}}
    begun = time.monotonic()
    with text_service.http.stream("POST", PREDICT, json=body) as answer:
        chunks = answer.iter_raw()
        first = next(chunks)
        early = time.monotonic() - begun
        rest = b"".join(chunks)
        late = time.monotonic() - begun
    assert first.startswith(b'data: {"index":0,"text":')
    assert rest.rstrip().endswith(b"}")
    assert early < late / 3


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/models/none/predict", {"instances": [{"prompt": "a"}], "parameters": {"stream": True}}, 404),
        (PREDICT, {"instances": [{"prompt": 1}], "parameters": {"stream": True}}, 422),
        (PREDICT, {"instances": [{"prompt": "a"}], "parameters": {"stream": "yes"}}, 422),
        (PREDICT, {"instances": [{"prompt": "a"}], "parameters": {"stream": True, "top_p": 2}}, 422),
        (
            "/v1/models/interpreter/predict",
            {"instances": [{"text": "a"}], "parameters": {"stream": True}},
            422,
        ),
    ],
)
def test_what_is_wrong_before_the_first_byte_is_an_answer_of_its_own(
    text_service: Service, path: str, body: Json, status: int
) -> None:
    problem(text_service.http.post(path, json=body), status)


def test_a_deadline_before_the_first_word_is_an_answer_of_its_own(on_sqlite: Service, tmp_path: Path) -> None:
    speaker(tmp_path / "poet")
    publish(on_sqlite, tmp_path / "poet", "poet", "generation")
    assert problem(ask(on_sqlite, stream=True), 503)["type"] == "/problems/unavailable"


def test_an_error_after_the_first_word_is_the_last_event(text_service: Service) -> None:
    answer = ask(text_service, max_tokens=4096, top_k=1, stream=True, seconds="0.05")
    if answer.status_code == 504:  # too slow a machine for any word
        problem(answer, 504)
        return
    *message, (name, text) = events(answer.content)
    assert answer.status_code == 200
    assert message
    assert name == "error"
    assert (text["type"], text["status"]) == ("/problems/deadline-passed", 504)
    assert text["request_id"] == answer.headers["x-request-id"]


def test_who_hangs_up_is_computed_for_no_longer(text_service: Service) -> None:
    body = json.dumps(
        {"instances": [{"prompt": PROMPT}], "parameters": {"max_tokens": 4096, "top_k": 1, "stream": True}}
    ).encode()
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    address = (text_service.http.base_url.host, text_service.http.base_url.port)
    with closing(socket.create_connection(address)) as client:
        client.sendall(head + body)
        assert client.recv(4096).startswith(b"HTTP/1.1 200")
        assert text_service.state.lane.waiting_rows == 1
    until(
        lambda: text_service.state.lane.waiting_rows == 0, what="the end of what nobody waits for", seconds=3
    )
    assert ask(text_service, max_tokens=2).status_code == 200


def test_many_streams_side_by_side(text_service: Service) -> None:
    async def scenario() -> list[str]:
        async with httpx.AsyncClient(base_url=text_service.http.base_url, timeout=60) as client:
            bodies = [
                {
                    "instances": [{"prompt": PROMPT}],
                    "parameters": {"max_tokens": 50, "seed": seed, "stream": True},
                }
                for seed in range(20)
            ]
            answers = await asyncio.gather(*(client.post(PREDICT, json=body) for body in bodies))
        return [events(answer.content)[-1][1]["predictions"][0]["text"] for answer in answers]

    for seed, text in enumerate(asyncio.run(scenario())):
        assert ask(text_service, max_tokens=50, seed=seed).json()["predictions"][0]["text"] == text


def test_a_stream_is_counted_as_an_answer(text_service: Service) -> None:
    meter = text_service.state.predictions.metrics.of_version("poet", 1)
    before, failed = meter.inferences, meter.failures
    streamed(text_service, "a", "b", max_tokens=5)
    assert meter.inferences == before + 2
    ask(text_service, max_tokens=4096, top_k=1, stream=True, seconds="0.05")
    assert meter.failures == failed + 1


def inferred(running: Service, path: str, *inputs: Json, **fields: Any) -> httpx.Response:
    return running.http.post(f"/v2/models/{path}/infer", json={"inputs": list(inputs), **fields})


def test_the_graph_of_a_model_of_text_gives_what_may_follow(text_service: Service) -> None:
    result = text_service.http.get("/v2/models/poet:network").json()
    assert [(one["name"], one["datatype"], one["shape"]) for one in result["inputs"]] == [
        ("inputs", "INT64", [-1, -1, 1]),
        ("lengths", "INT64", [-1]),
    ]
    tensor = {"name": "inputs", "datatype": "INT64", "shape": [2, 3, 1], "data": [3, 4, 5, 3, 6, 0]}
    lengths = {"name": "lengths", "datatype": "INT64", "shape": [2], "data": [3, 2]}
    answer = inferred(text_service, "poet:network", tensor, lengths)
    assert answer.status_code == 200, answer.text
    (output,) = answer.json()["outputs"]
    assert output["shape"] == [2, result["outputs"][0]["shape"][1]]
    beyond = {**tensor, "data": [3, 4, 5, 3, 9999, 0]}
    refused = inferred(text_service, "poet:network", beyond)
    assert refused.status_code == 400
    assert "element [1, 1, 0] is 9999" in refused.json()["error"]


def test_a_graph_that_is_decoded_as_a_whole_is_not_there(text_service: Service) -> None:
    for answer in (
        text_service.http.get("/v2/models/interpreter:network"),
        inferred(
            text_service,
            "interpreter:network",
            {"name": "inputs", "datatype": "INT64", "shape": [1, 1, 1], "data": [4]},
        ),
    ):
        assert answer.status_code == 404
        assert "ask interpreter instead" in answer.json()["error"]


def test_a_prompt_is_a_tensor_too(text_service: Service) -> None:
    prompt = {"name": "prompt", "datatype": "BYTES", "shape": [2], "data": ["The king", ""]}
    how: Any = {"max_tokens": 9, "seed": 4}
    answer = inferred(text_service, "poet", prompt, parameters=how)
    assert answer.status_code == 200, answer.text
    message = {one["name"]: one["data"] for one in answer.json()["outputs"]}
    expected = ask(text_service, "The king", "", **how).json()["predictions"]
    assert message["text"] == [one["text"] for one in expected]
    assert message["tokens"] == [one["tokens"] for one in expected]
    refused = inferred(text_service, "poet", prompt, parameters={"stream": True})
    assert (refused.status_code, "stream" in refused.json()["error"]) == (400, True)
