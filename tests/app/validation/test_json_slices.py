"""JSON in slices is the same JSON, and what is none stays none."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.validation import json_slices
from app.validation.json_slices import count_commas, has_too_many_values, parse_array, parse_message


@pytest.fixture(autouse=True)
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_slices, "SLICE_BYTES", 8)


def expected(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return "none"


def parsed(text: bytes) -> Any:
    try:
        return parse_array(text)
    except orjson.JSONDecodeError:
        return "none"


TEXTS = [
    "[]", "[ ]", "[1]", "[1,2]", "[1.5,-2e3,null,true,false]", "[ 1 , 2 ,\n3 , 4 , 5, 6 ]",
    "[1,2,3,4,5,6,7,8,9,]", "[1,2,3,4,5,,6,7,8,9]", "[1,2,3,4,5,            ,6]",
    "[1,2,3,4,5,              ]", "[,1,2,3,4,5,6,7]", "[1,2,3,4,5,6,7,8,9", "[1,2,3,4,5,6]7,8,9",
    "[1,2,3,4,5,6],7,8,9", "[1,2,3,4,5,6,7]]", "[1,2,3,4,5,6,7,8] x", "[[1,2],[3,4],[5,6],[7,8]]",
    "[[1,2] , [3,4] ,[5,6], [7,8] ]", "[[],[],[],[],[],[]]", "[[1,2],[3,4],[5,6],[7,8],]",
    "[[1,2],3,4,5,6,7,8,9,10]", "[1,2,3,4,[5,6],7,8,9]", "[[1,2],[3,4]],[[5,6],[7,8]]",
    "[[[1,2],[3,4]],[[5,6],[7,8]]]", "[[1],[[2],[3],[4]],[5]]", '["a","b,c","d]","e","f"]',
    '[{"a":1},{"a":2},{"a":3}]', "{}", '"a long enough text"', "12345678901", "[1,2,3,4,5,6,NaN,7]",
    "[[1,2],[3,4],[5,6],[NaN,8]]", "[1,2,3,4,5,6,0x1]", "", "[", "[[", "[[1,2",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_slices_are_read_as_the_whole(text: str) -> None:
    assert parsed(text.encode()) == expected(text.encode())


@given(
    st.lists(st.integers(-99, 99) | st.lists(st.integers(-9, 9), max_size=3) | st.none(), max_size=30),
    st.data(),
)
def test_any_list_and_any_damage(values: list[Any], data: st.DataObject) -> None:
    text = json.dumps(values, separators=data.draw(st.sampled_from([(",", ":"), (" , ", ":")])))
    assert parsed(text.encode()) == values
    place = data.draw(st.integers(0, len(text)))
    damaged = text[:place] + data.draw(st.sampled_from('[],. 1"')) + text[place + data.draw(st.booleans()) :]
    assert parsed(damaged.encode()) == expected(damaged.encode())


@pytest.mark.parametrize(
    "message",
    [
        {"inputs": [{"name": "a", "data": list(range(50))}, {"data": [[1, 2], [3, 4], [5, 6]]}], "id": "x"},
        {"id": "no inputs at all", "parameters": {"inputs": [1]}},
        {"inputs": "a text instead of a list"},
        {"inputs": ["a text", "another text"]},
        {"inputs": [], "further": "the list is empty"},
        ["inputs", "data", "more"],
        "inputs and data",
    ],
)
def test_a_message_in_parts_is_read_as_the_whole(message: Any) -> None:
    text = json.dumps(message).encode()
    assert parse_message(text, "inputs", "data") == message
    assert parse_message(memoryview(text), "inputs", "data") == message


@pytest.mark.parametrize(
    "text", ['{"inputs":[{"data":[1,2,3,4,,5]}]}', '{"inputs":[{"data":[1,2,3,4]}]', "{1}xxxxxxxxxxx"]
)
def test_a_damaged_message_is_refused(text: str) -> None:
    with pytest.raises(orjson.JSONDecodeError):
        parse_message(text.encode(), "inputs", "data")


def test_values_are_counted_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    assert count_commas(b"[1,2,3]") == 2
    monkeypatch.setattr(json_slices, "MAX_JSON_VALUES", 4)
    assert not has_too_many_values(b"[1,2,3,4]")
    assert has_too_many_values(b"[1,2,3,4,5]")
