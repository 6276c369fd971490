"""OpenAI's interface, by OpenAI's own client and by hand."""

import asyncio
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from app.typedefs import Json
from tests.support.factories.speaking import events, publish, speaker, speaking, translator
from tests.support.fixtures.servers import Valkey, until
from tests.support.fixtures.service import Service, service

PATH = "/openai/v1/completions"


@pytest.fixture(scope="module")
def text_service(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, redis_server: Valkey
) -> Iterator[Service]:
    """A service with two models of text, one of translations, and a predictor."""
    directory = tmp_path_factory.mktemp("completions")
    (directory / "test.db").write_bytes(sqlite_template.read_bytes())
    url = f"sqlite:///{directory / 'test.db'}"
    with service(directory, url, redis_server.url) as made:
        speaker(directory / "poet")
        translator(directory / "interpreter")
        publish(made, directory / "poet", "poet", "generation")
        publish(made, directory / "poet", "bard", "generation")
        publish(made, directory / "interpreter", "interpreter", "translation")
        with speaking(made, directory):
            until(lambda: post(made, max_tokens=2).status_code == 200, what="the first answer")
            yield made


@pytest.fixture(scope="module")
def openai() -> Any:
    """The client's package, imported only where it is used: it is large."""
    return import_module("openai")


@pytest.fixture
def client(openai: Any, text_service: Service) -> Iterator[Any]:
    url = f"{str(text_service.http.base_url).rstrip('/')}/openai/v1"
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as made:
        yield made


def post(running: Service, **fields: Any) -> Any:
    return running.http.post(PATH, json={"model": "poet", "prompt": "The king", **fields})


def predicted(running: Service, prompt: str, **parameters: Any) -> Json:
    body = {"instances": [{"prompt": prompt}], "parameters": parameters}
    (result,) = running.http.post("/v1/models/poet/predict", json=body).json()["predictions"]
    return dict(result)


def test_the_client_gets_a_completion(openai: Any, text_service: Service, client: Any) -> None:
    result = client.completions.create(
        model="poet",
        prompt="The king",
        max_tokens=40,
        temperature=0.7,
        top_p=0.9,
        seed=5,
        stop=["zz"],
        user="me",
    )
    assert isinstance(result, openai.types.Completion)
    own = predicted(text_service, "The king", max_tokens=40, temperature=0.7, top_p=0.9, seed=5, stop=["zz"])
    assert (result.object, result.model) == ("text_completion", "poet")
    assert result.id.startswith("cmpl-")
    (choice,) = result.choices
    assert (choice.text, choice.finish_reason) == (own["text"], own["finish_reason"])
    assert (choice.index, choice.logprobs) == (0, None)
    assert result.usage is not None
    assert result.usage.prompt_tokens == len("The king")  # a token is a character
    assert result.usage.completion_tokens == own["tokens"]
    assert result.usage.total_tokens == len("The king") + own["tokens"]


def test_the_client_streams(client: Any) -> None:
    how: Any = {"model": "poet", "prompt": "The king", "max_tokens": 60, "seed": 5}
    whole = client.completions.create(**how)
    chunks = list(client.completions.create(**how, stream=True))
    assert len(chunks) > 1
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
    assert {chunk.object for chunk in chunks} == {"text_completion"}
    assert len({(chunk.id, chunk.created) for chunk in chunks}) == 1
    reasons = [chunk.choices[0].finish_reason for chunk in chunks]
    assert reasons[-1] == whole.choices[0].finish_reason
    assert set(reasons[:-1]) <= {None}
    assert all(chunk.usage is None for chunk in chunks)


def test_the_last_chunk_may_tell_the_usage(client: Any) -> None:
    how: Any = {"model": "poet", "prompt": ["a", "be"], "max_tokens": 20, "seed": 5, "n": 2}
    whole = client.completions.create(**how)
    *chunks, last = client.completions.create(**how, stream=True, stream_options={"include_usage": True})
    assert last.choices == []
    assert last.usage == whole.usage
    assert last.usage is not None
    assert last.usage.prompt_tokens == 3
    assert all(chunk.usage is None for chunk in chunks)


def test_the_asynchronous_client_does_both(openai: Any, text_service: Service) -> None:
    async def scenario() -> None:
        url = f"{str(text_service.http.base_url).rstrip('/')}/openai/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
            how: Any = {"model": "poet", "prompt": "of the", "max_tokens": 30, "seed": 1}
            whole = await client.completions.create(**how)
            text = ""
            async for chunk in await client.completions.create(**how, stream=True):
                text += chunk.choices[0].text
            assert text == whole.choices[0].text
            assert [model.id async for model in client.models.list()] == ["bard", "poet"]

    asyncio.run(scenario())


def test_several_prompts_have_several_completions_each(text_service: Service, client: Any) -> None:
    result = client.completions.create(model="poet", prompt=["The", "and "], n=3, max_tokens=12, seed=9)
    assert [choice.index for choice in result.choices] == list(range(6))
    texts = [choice.text for choice in result.choices]
    assert texts[0] == predicted(text_service, "The", max_tokens=12, seed=9)["text"]
    assert texts[3] == predicted(text_service, "and ", max_tokens=12, seed=9)["text"]
    assert len(set(texts[:3])) > 1
    again = client.completions.create(model="poet", prompt=["The", "and "], n=3, max_tokens=12, seed=9)
    assert [choice.text for choice in again.choices] == texts


def test_echo_puts_the_prompt_first(client: Any) -> None:
    how: Any = {"model": "poet", "prompt": ["The", "and"], "max_tokens": 8, "seed": 2, "echo": True}
    whole = client.completions.create(**how)
    assert [choice.text[:3] for choice in whole.choices] == ["The", "and"]
    texts = ["", ""]
    for chunk in client.completions.create(**how, stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert texts == [choice.text for choice in whole.choices]


def test_without_a_word_it_says_sixteen_tokens_at_most(text_service: Service) -> None:
    assert post(text_service).json()["usage"]["completion_tokens"] <= 16
    assert (
        post(text_service, max_tokens=None, n=None, stop=None, stream=None, temperature=None).status_code
        == 200
    )


def test_parameters_without_effect_are_accepted(text_service: Service) -> None:
    harmless = {
        "best_of": 1,
        "frequency_penalty": 0,
        "presence_penalty": 0.0,
        "logit_bias": {},
        "logprobs": None,
        "suffix": None,
        "user": "somebody",
    }
    assert post(text_service, **harmless).status_code == 200


BAD: dict[str, tuple[Json, str | None, str]] = {
    "tokens": ({"prompt": [1, 2]}, "prompt", "token"),
    "lists of tokens": ({"prompt": [[1, 2]]}, "prompt", "token"),
    "an object": ({"prompt": {}}, "prompt", "text"),
    "nothing": ({"prompt": []}, "prompt", "text"),
    "a suffix": ({"suffix": "end"}, "suffix", "not supported"),
    "log-probabilities": ({"logprobs": 2}, "logprobs", "not supported"),
    "the best of two": ({"best_of": 2}, "best_of", "1"),
    "a bias": ({"logit_bias": {"50256": -100}}, "logit_bias", "not supported"),
    "a penalty": ({"frequency_penalty": 0.5}, "frequency_penalty", "penalised"),
    "options without a stream": (
        {"stream": False, "stream_options": {"include_usage": True}},
        "stream_options",
        "stream",
    ),
    "an unknown field": ({"colour": "red"}, "colour", "unknown field"),
    "an unknown option": ({"stream": True, "stream_options": {"x": 1}}, "x", "unknown field"),
    "a temperature too high": ({"temperature": 3}, "temperature", "2"),
    "no tokens": ({"max_tokens": 0}, "max_tokens", "1"),
    "too many tokens": ({"max_tokens": 10**6}, "max_tokens", "4096"),
    "too many completions": ({"n": 65, "prompt": ["a", "b"]}, "n", "128"),
    "an empty stop": ({"stop": ""}, "stop", "1"),
    "a text for a number": ({"n": "2"}, "n", "int"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_not_done_here_is_refused_as_openai_would(
    text_service: Service, case: str, stream: bool
) -> None:
    fields, parameter, text = BAD[case]
    answer = post(text_service, **{"stream": stream, **fields})
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert text in error["message"]
    assert "$" not in error["message"]  # pointers of the inside
    if parameter is not None:
        assert error["param"] == parameter


def test_the_client_knows_the_errors(openai: Any, client: Any) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.completions.create(model="poet", prompt="a", best_of=3)
    assert refused.value.param == "best_of"
    for name in ("none", "interpreter"):
        with pytest.raises(openai.NotFoundError) as missing:
            client.completions.create(model=name, prompt="a")
        assert missing.value.code == "model_not_found"
        assert missing.value.request_id
    with pytest.raises(openai.NotFoundError):
        list(client.completions.create(model="none", prompt="a", stream=True))


def test_an_error_in_a_stream_reaches_the_client(openai: Any, client: Any) -> None:
    headers = {"X-Request-Timeout": "0.05"}
    how: Any = {"model": "poet", "prompt": "a", "max_tokens": 4096, "temperature": 0, "stream": True}
    with pytest.raises(openai.APIError, match="deadline"):
        list(client.completions.create(**how, extra_headers=headers))


def test_a_stream_ends_with_done(text_service: Service) -> None:
    answer = post(text_service, stream=True)
    assert answer.headers["content-type"] == "text/event-stream"
    message = events(answer.content)
    assert {name for name, _ in message} == {"message"}
    assert message[-1] == ("message", "[DONE]")


def test_the_models_are_those_that_complete(openai: Any, client: Any) -> None:
    result = client.models.list()
    assert [model.id for model in result] == ["bard", "poet"]
    one = client.models.retrieve("poet")
    assert (one.id, one.object, one.owned_by) == ("poet", "model", "recurra")
    assert one.created > 1_700_000_000
    for name in ("none", "interpreter"):
        with pytest.raises(openai.NotFoundError) as missing:
            client.models.retrieve(name)
        assert missing.value.code == "model_not_found"


def test_a_body_that_is_no_request_is_refused(text_service: Service) -> None:
    surrogate = b'{"model":"poet","prompt":"\\ud800"}'
    for body in (b"", b"{", b"[]", b'{"prompt":"a"}', b"\xff", b"[" * 100_000, surrogate):
        answer = text_service.http.post(PATH, content=body)
        assert answer.status_code == 400, body[:20]
        assert answer.json()["error"]["message"]


def test_unknown_paths_answer_in_the_same_form(text_service: Service) -> None:
    answer = text_service.http.get("/openai/v1/engines")
    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "invalid_request_error"
