import json
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Invalid
from app.tasks.tagging.inference import TaggingInstance, TokenizedText, make_prediction, tokenize_instance
from app.tasks.tagging.tag_schemes import SCHEMES, TagSet

PLAIN = {"scheme": "plain", "answers": "plain", "tags": ["NN", "VB"]}


def state_of(scheme: str, answers: str, *kinds: str) -> dict[str, Any]:
    return {"scheme": scheme, "answers": answers, "tags": TagSet.complete(SCHEMES[scheme], kinds).names}


def predicted(state: dict[str, Any], text: TokenizedText, tags: list[str]) -> Any:
    numbers = np.array([state["tags"].index(tag) for tag in tags])
    return json.loads(json.dumps(make_prediction(state, text, numbers), allow_nan=False))


def test_a_text_is_split_into_words_with_their_spans() -> None:
    tokenized = tokenize_instance(TaggingInstance(text="  Dr. O'Neil-Smith\u3000visits 日本,\n☂!"))
    assert tokenized.tokens == ["Dr", ".", "O'Neil-Smith", "visits", "日本", ",", "☂", "!"]
    assert [tokenized.text[begin:end] for begin, end in tokenized.spans] == tokenized.tokens


def test_marks_stay_with_their_letters() -> None:
    text = "Cafe\u0301 हिन्दी"
    tokenized = tokenize_instance(TaggingInstance(text=text))
    assert tokenized.tokens == text.split()
    assert tokenized.spans == [(0, 5), (6, 12)]


def test_tokens_are_joined_by_single_spaces() -> None:
    tokenized = tokenize_instance(TaggingInstance(tokens=["New", "York", "10 000", "."]))
    assert tokenized.text == "New York 10 000 ."
    assert tokenized.tokens == ["New", "York", "10 000", "."]
    assert [tokenized.text[begin:end] for begin, end in tokenized.spans] == tokenized.tokens


@given(st.text(max_size=60))
def test_every_sign_that_is_no_space_is_in_a_token(text: str) -> None:
    try:
        tokenized = tokenize_instance(TaggingInstance(text=text))
    except Invalid:
        assert "\0" in text or not text.strip() or any(0xD800 <= ord(sign) < 0xE000 for sign in text)
        return
    assert "".join(tokenized.tokens) == "".join(text.split())


@pytest.mark.parametrize(
    ("fields", "pointer", "word"),
    [
        ({}, "", "either"),
        ({"tokens": ["a"], "text": "a"}, "", "either"),
        ({"tokens": ["a", " "]}, "/tokens/1", "empty"),
        ({"tokens": ["a", "b\0"]}, "/tokens/1", "NUL"),
        ({"tokens": ["\ud83d"]}, "/tokens/0", "surrogate"),
        ({"text": "a\0"}, "/text", "NUL"),
        ({"text": "\ud83d"}, "/text", "surrogate"),
        ({"text": "a " * 5_001}, "/text", "5,001 words"),
        ({"text": "a" * 1_001}, "/text", "1,001 characters"),
    ],
)
def test_what_cannot_be_tagged_is_refused(fields: dict[str, Any], pointer: str, word: str) -> None:
    with pytest.raises(Invalid) as caught:
        tokenize_instance(TaggingInstance(**fields))
    [problem] = caught.value.problems
    assert problem.pointer == pointer
    assert word in problem.detail


@pytest.mark.parametrize("fields", [{"tokens": []}, {"text": ""}, {"text": " \n"}, {"text": "\x1e"}])
@pytest.mark.parametrize("scheme", ["plain", "bio"])
def test_without_words_there_are_no_tags(fields: dict[str, Any], scheme: str) -> None:
    state = {"scheme": scheme, "answers": scheme, "tags": ["O", "B-a"]}
    prediction = make_prediction(state, tokenize_instance(TaggingInstance(**fields)), np.array([1]))
    assert prediction == {"tokens": [], "tags": [], "entities": []}


@pytest.mark.parametrize(
    "fields",
    [
        {"tokens": [""]},
        {"tokens": "a b"},
        {"tokens": [1]},
        {"tokens": ["a"] * 5_001},
        {"text": "a" * 100_001},
        {"words": ["a"]},
    ],
)
def test_what_is_no_instance_is_refused_before(fields: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(fields, TaggingInstance)


def test_five_thousand_words_are_read_at_once() -> None:
    assert len(tokenize_instance(TaggingInstance(text="a " * 5_000)).tokens) == 5_000


def test_plain_tags_are_answered_as_they_are() -> None:
    tokenized = tokenize_instance(TaggingInstance(text="Time flies"))
    assert predicted(PLAIN, tokenized, ["NN", "VB"]) == {
        "tokens": ["Time", "flies"],
        "tags": ["NN", "VB"],
        "entities": [],
    }


def test_entities_have_spans_in_the_text() -> None:
    text = "Ben  Okri left New\nYork, N.Y."
    tokenized = tokenize_instance(TaggingInstance(text=text))
    tags = ["B-per", "E-per", "O", "B-loc", "E-loc", "O", "S-loc", "O", "O", "O"]
    prediction = predicted(state_of("bioes", "bio", "loc", "per"), tokenized, tags)
    assert prediction["entities"] == [
        {"type": "per", "text": "Ben  Okri", "start": 0, "end": 9},
        {"type": "loc", "text": "New\nYork", "start": 15, "end": 23},
        {"type": "loc", "text": "N", "start": 25, "end": 26},
    ]
    assert prediction["tags"] == ["B-per", "I-per", "O", "B-loc", "I-loc", "O", "B-loc", "O", "O", "O"]
    assert all(text[one["start"] : one["end"]] == one["text"] for one in prediction["entities"])


@pytest.mark.parametrize(
    ("answers", "tags"),
    [
        ("bio", ["B-x", "I-x", "I-x", "B-x", "O"]),
        ("bioes", ["B-x", "I-x", "E-x", "S-x", "O"]),
        ("bilou", ["B-x", "I-x", "L-x", "U-x", "O"]),
        ("bmes", ["B-x", "M-x", "E-x", "S-x", "O"]),
    ],
)
@pytest.mark.parametrize("scheme", ["bio", "bioes"])
def test_tags_are_answered_in_the_scheme_of_the_file(scheme: str, answers: str, tags: list[str]) -> None:
    tokenized = tokenize_instance(TaggingInstance(tokens=list("abcde")))
    learned = (
        tags
        if scheme == answers
        else {
            "bio": ["B-x", "I-x", "I-x", "B-x", "O"],
            "bioes": ["B-x", "I-x", "E-x", "S-x", "O"],
        }[scheme]
    )
    assert predicted(state_of(scheme, answers, "x"), tokenized, learned)["tags"] == tags


@given(st.lists(st.integers(0, 8), min_size=1, max_size=10))
def test_what_does_not_fit_together_is_read_as_by_seqeval(seqeval: Any, numbers: list[int]) -> None:
    state = state_of("bioes", "bio", "a", "b")
    tags = [state["tags"][number] for number in numbers]
    tokenized = tokenize_instance(TaggingInstance(tokens=[f"w{at}" for at in range(len(tags))]))
    prediction = predicted(state, tokenized, tags)
    entities_of = seqeval.metrics.sequence_labeling.get_entities
    expected = entities_of(tags)
    assert [(one["type"], one["text"]) for one in prediction["entities"]] == [
        (kind, " ".join(tokenized.tokens[first : last + 1])) for kind, first, last in expected
    ]
    assert entities_of(prediction["tags"]) == expected  # and answered as tags that do fit


def test_entities_without_a_type_have_a_name() -> None:
    prediction = predicted(
        state_of("bioes", "bio", ""), tokenize_instance(TaggingInstance(tokens=["a", "b"])), ["B", "E"]
    )
    assert prediction == {
        "tokens": ["a", "b"],
        "tags": ["B", "I"],
        "entities": [{"type": "_", "text": "a b", "start": 0, "end": 3}],
    }
