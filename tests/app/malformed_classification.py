"""Files for the task `classification` that cannot be used, each with the problem to be reported."""

from typing import Any

from tests.app.malformed import Malformed
from tests.support.factories.labels import curves, jsonl, snippets

TEXTS, CURVES = snippets(16), curves(16)
TASK = {"task": "classification"}
STEP, NOT_FINITE = [1.0, 2.0, 3.0], "Step 2 has a reading that is not finite, or too large"


def csv(name: str, body: bytes, pointer: str, word: str) -> Malformed:
    return Malformed(f"labels {name}", "labels.csv", body, TASK, pointer, word)


def of(name: str, records: list[dict[str, Any]], pointer: str, word: str) -> Malformed:
    return Malformed(f"labelled {name}", "labels.jsonl", jsonl(records), TASK, pointer, word)


def text(row: int, **fields: Any) -> list[dict[str, Any]]:
    """The good texts with one of them changed."""
    return [*TEXTS[: row - 1], TEXTS[row - 1] | fields, *TEXTS[row:]]


def curve(row: int, **fields: Any) -> list[dict[str, Any]]:
    return [*CURVES[: row - 1], CURVES[row - 1] | fields, *CURVES[row:]]


MALFORMED = [
    csv("empty", b"", "/file/row/1", "empty"),
    csv("header only", b"text,label\n", "/file/row/1", "no"),
    csv("no label column", b"text,mood\nfine,good\n", "/file/row/1/column/label", "mood"),
    csv("no text column", b"words,label\nfine,good\n", "/file/row/1/column/text", "words"),
    csv("label empty", b"text,label\nfine,good\nbad,\n", "/file/row/3/column/label", "empty"),
    csv("text empty", b"text,label\nfine,good\n,bad\n", "/file/row/3/column/text", "empty"),
    csv("row too short", b"text,label\nfine,good\nbad\n", "/file/row/3", "Expected 2 fields"),
    csv("not UTF-8", b"text,label\ncaf\xe9,good\n", "/file/row/2", "UTF-8"),
    csv("unknown split", b"text,label,split\nfine,good,dev\n", "/file/row/2/column/split", "train, valid"),
    csv("a quote not closed", b'text,label\n"fine,good\nbad,bad\n', "/file/row/", "quote"),
    Malformed("labels bytes", "labels.csv", b"text,label\nfi\0ne,good\n", TASK, "/file/row/2", "NUL"),
    of("nothing", [], "/file/row/1", "empty"),
    of("text missing", text(3, text=None), "/file/row/3", "neither a text nor values"),
    of("text blank", text(3, text="  "), "/file/row/3/column/text", "empty"),
    of("text a number", text(3, text=4), "/file/row/3/column/text", "no text"),
    of("text a list", text(3, text=["a"]), "/file/row/3/column/text", "no text"),
    of("half a surrogate", text(3, text="a \ud800"), "/file/row/3/column/text", "surrogate"),
    of("text too long", text(3, text="la " * 40_000), "/file/row/3/column/text", "at most"),
    of("label missing", text(3, label=None), "/file/row/3/column/label", "missing"),
    of("label a fraction", text(3, label=0.5), "/file/row/3/column/label", "no text"),
    of("label a list", text(3, label=["pos"]), "/file/row/3/column/label", "no text"),
    of("split a number", text(3, split=1), "/file/row/3/column/split", "train, valid or test"),
    of("both kinds in one", text(3, values=[[1.0]]), "/file/row/3/column/text", "both"),
    of("kinds mixed", [*TEXTS[:5], *CURVES[:5]], "/file/row/6/column/values", "mixed"),
    of("values a number", curve(3, values=7), "/file/row/3/column/values", "no list of steps"),
    of("values empty", curve(3, values=[]), "/file/row/3/column/values", "no list of steps"),
    of("values flat", curve(3, values=[1.0, 2.0]), "/file/row/3/column/values", "Step 1"),
    of("a step empty", curve(3, values=[[]]), "/file/row/3/column/values", "Step 1"),
    of("a channel less", curve(3, values=[[1.0] * 3, [1.0] * 2]), "/file/row/3/column/values", "has 2"),
    of("a channel more than before", curve(3, values=[[1.0] * 4]), "/file/row/3/column/values", "expected 3"),
    of("a reading as text", curve(3, values=[[1.0, "2", 3.0]]), "/file/row/3/column/values", "no number"),
    of("a reading missing", curve(3, values=[[1.0, None, 3.0]]), "/file/row/3/column/values", "no number"),
    of("a truth value", curve(3, values=[[1.0, True, 3.0]]), "/file/row/3/column/values", "no number"),
    of("not a number", curve(3, values=[STEP, [float("nan")] * 3]), "/file/row/3/column/values", NOT_FINITE),
    of("too large", curve(3, values=[STEP, [1.0, 1e300, 3.0]]), "/file/row/3/column/values", NOT_FINITE),
    of("beyond all floats", curve(3, values=[STEP, [10**400] * 3]), "/file/row/3/column/values", NOT_FINITE),
    Malformed("labels not JSON", "labels.jsonl", jsonl(TEXTS[:2]) + b"{\n", TASK, "/file/row/3", "JSON"),
]  # fmt: skip
