import json
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from app.errors import Invalid
from app.tasks.tagging.inference import Instance, Passage, answer, read_passage
from app.tasks.tagging.tag_schemes import SCHEMES, TagSet

PLAIN = {"scheme": "plain", "answers": "plain", "tags": ["NN", "VB"]}


def state(scheme: str, answers: str, *kinds: str) -> dict[str, Any]:
    return {"scheme": scheme, "answers": answers, "tags": TagSet.full(SCHEMES[scheme], kinds).names}


def answered(told: dict[str, Any], passage: Passage, tags: list[str]) -> Any:
    numbers = np.array([told["tags"].index(tag) for tag in tags])
    return json.loads(json.dumps(answer(told, passage, numbers), allow_nan=False))


def test_a_text_is_cut_in_words_with_their_places() -> None:
    passage = read_passage(Instance(text="  Dr. O'Neil-Smith\u3000visits 日本,\n☂!"))
    assert passage.tokens == ["Dr", ".", "O'Neil-Smith", "visits", "日本", ",", "☂", "!"]
    assert [passage.text[begin:end] for begin, end in passage.spans] == passage.tokens


def test_marks_stay_with_their_letters() -> None:
    text = "Cafe\u0301 हिन्दी"
    passage = read_passage(Instance(text=text))
    assert passage.tokens == text.split()
    assert passage.spans == [(0, 5), (6, 12)]


def test_tokens_are_joined_by_single_spaces() -> None:
    passage = read_passage(Instance(tokens=["New", "York", "10 000", "."]))
    assert passage.text == "New York 10 000 ."
    assert passage.tokens == ["New", "York", "10 000", "."]
    assert [passage.text[begin:end] for begin, end in passage.spans] == passage.tokens


@given(st.text(max_size=60))
def test_every_sign_that_is_no_space_is_in_a_token(text: str) -> None:
    try:
        passage = read_passage(Instance(text=text))
    except Invalid:
        assert "\0" in text or not text.strip() or any(0xD800 <= ord(sign) < 0xE000 for sign in text)
        return
    assert "".join(passage.tokens) == "".join(text.split())


@pytest.mark.parametrize(
    ("told", "pointer", "word"),
    [
        ({}, "", "either"),
        ({"tokens": ["a"], "text": "a"}, "", "either"),
        ({"tokens": ["a", " "]}, "/tokens/1", "empty"),
        ({"tokens": ["a", "b\0"]}, "/tokens/1", "NUL"),
        ({"tokens": ["\ud83d"]}, "/tokens/0", "surrogate"),
        ({"text": " \n"}, "/text", "empty"),
        ({"text": "a\0"}, "/text", "NUL"),
        ({"text": "\ud83d"}, "/text", "surrogate"),
        ({"text": "a " * 5_001}, "/text", "5,001 words"),
        ({"text": "a" * 1_001}, "/text", "1,001 characters"),
    ],
)
def test_what_cannot_be_tagged_is_refused(told: dict[str, Any], pointer: str, word: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_passage(Instance(**told))
    [problem] = caught.value.problems
    assert problem.pointer == pointer
    assert word in problem.detail


@pytest.mark.parametrize(
    "told",
    [
        {"tokens": []},
        {"tokens": [""]},
        {"tokens": "a b"},
        {"tokens": [1]},
        {"tokens": ["a"] * 5_001},
        {"text": ""},
        {"text": "a" * 100_001},
        {"words": ["a"]},
    ],
)
def test_what_is_no_instance_is_refused_before(told: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(told, Instance)


def test_five_thousand_words_are_read_at_once() -> None:
    assert len(read_passage(Instance(text="a " * 5_000)).tokens) == 5_000


def test_other_tags_are_told_as_they_are() -> None:
    passage = read_passage(Instance(text="Time flies"))
    assert answered(PLAIN, passage, ["NN", "VB"]) == {
        "tokens": ["Time", "flies"],
        "tags": ["NN", "VB"],
        "entities": [],
    }


def test_entities_have_places_in_the_text() -> None:
    text = "Ben  Okri left New\nYork, N.Y."
    passage = read_passage(Instance(text=text))
    tags = ["B-per", "E-per", "O", "B-loc", "E-loc", "O", "S-loc", "O", "O", "O"]
    found = answered(state("bioes", "bio", "loc", "per"), passage, tags)
    assert found["entities"] == [
        {"type": "per", "text": "Ben  Okri", "start": 0, "end": 9},
        {"type": "loc", "text": "New\nYork", "start": 15, "end": 23},
        {"type": "loc", "text": "N", "start": 25, "end": 26},
    ]
    assert found["tags"] == ["B-per", "I-per", "O", "B-loc", "I-loc", "O", "B-loc", "O", "O", "O"]
    assert all(text[one["start"] : one["end"]] == one["text"] for one in found["entities"])


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
    passage = read_passage(Instance(tokens=list("abcde")))
    given_ = (
        tags
        if scheme == answers
        else {
            "bio": ["B-x", "I-x", "I-x", "B-x", "O"],
            "bioes": ["B-x", "I-x", "E-x", "S-x", "O"],
        }[scheme]
    )
    assert answered(state(scheme, answers, "x"), passage, given_)["tags"] == tags


@given(st.lists(st.integers(0, 8), min_size=1, max_size=10))
def test_what_does_not_fit_together_is_read_as_by_seqeval(numbers: list[int]) -> None:
    told = state("bioes", "bio", "a", "b")
    tags = [told["tags"][number] for number in numbers]
    passage = read_passage(Instance(tokens=[f"w{at}" for at in range(len(tags))]))
    found = answered(told, passage, tags)
    expected = get_entities(tags)
    assert [(one["type"], one["text"]) for one in found["entities"]] == [
        (kind, " ".join(passage.tokens[first : last + 1])) for kind, first, last in expected
    ]
    assert get_entities(found["tags"]) == expected  # and told as tags that do fit


def test_entities_without_a_type_have_a_name() -> None:
    found = answered(state("bioes", "bio", ""), read_passage(Instance(tokens=["a", "b"])), ["B", "E"])
    assert found == {
        "tokens": ["a", "b"],
        "tags": ["B", "I"],
        "entities": [{"type": "_", "text": "a b", "start": 0, "end": 3}],
    }
