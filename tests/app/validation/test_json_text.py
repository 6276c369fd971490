"""Why a body is no JSON: line, column and reason as a person would give them."""

import pytest

from app.errors import Problem
from app.validation.json_text import json_problem

LONE = "is no Unicode text: character {} is half of a surrogate pair."


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "the body is empty"),
        (b" \n", "the body is empty"),
        (b'{"a": 1,}', "line 1, column 9: Expecting property name enclosed in double quotes"),
        (b'{"a": 1\n "b": 2}', "line 2, column 2: Expecting ',' delimiter"),
        (b"{'a': 1}", "line 1, column 2: Expecting property name enclosed in double quotes"),
        (b'{"a": 1} x', "line 1, column 10: Extra data"),
        (b'{"NaN": "NaN",\n  "b": [NaN]}', "line 2, column 9: JSON has no NaN; a missing value is null"),
        (b"[-Infinity]", "line 1, column 2: JSON has no -Infinity; a missing value is null"),
        ('{"a":\n "grün'.encode("latin-1"), "line 2, column 5: the byte 0xfc is not UTF-8"),
        ("größe".encode() + b"\xff", "line 1, column 6: the byte 0xff is not UTF-8"),
        ("{}".encode("utf-16"), "it is UTF-16, and JSON is sent as UTF-8"),
        (b"\xef\xbb\xbf{}", "it begins with a byte order mark"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b"9" * 5000, "a number has too many digits"),
        (b"[1]", "what the parser said"),
    ],
)
def test_the_reason_says_where_and_why(body: bytes, detail: str) -> None:
    assert json_problem(body, "what the parser said") == Problem("", detail)


@pytest.mark.parametrize(
    ("body", "place", "detail"),
    [
        (rb'{"instances":[{"text":"bad \ud83d"}]}', "/instances/0/text", "The text " + LONE.format(4)),
        (rb'{"a":"\ud83d\ude00","b":["x","\ude00"]}', "/b/1", "The b " + LONE.format(0)),
        (rb'["\ud83d"]', "/0", "The body " + LONE.format(0)),
        (rb'{"a/b":{"\ud83d":1}}', "/a~1b", "The name of a field " + LONE.format(0)),
    ],
)
def test_half_a_surrogate_pair_is_pointed_at(body: bytes, place: str, detail: str) -> None:
    assert json_problem(body, "no reason") == Problem(place, detail)
