"""Files for the task `translation` that cannot be used, each with the problem to be reported."""

import json
from typing import Any

from tests.app.malformed import Malformed
from tests.support.factories.bilingual import sentences
from tests.support.factories.bilingual import tsv as table

PAIRS = sentences(12)
GOOD = table(PAIRS)
LINES = GOOD.splitlines(keepends=True)
LONG = "la " * 34_000


def tsv(name: str, body: bytes, pointer: str, word: str, **fields: str) -> Malformed:
    return Malformed(f"tsv {name}", "pairs.tsv", body, {"task": "translation", **fields}, pointer, word)


def jsonl(name: str, body: bytes, pointer: str, word: str, **fields: str) -> Malformed:
    return Malformed(f"pairs {name}", "pairs.jsonl", body, {"task": "translation", **fields}, pointer, word)


def changed(row: int, line: bytes) -> bytes:
    """The good table with another line at a row."""
    return b"".join([*LINES[: row - 1], line + b"\n", *LINES[row:]])


def lines(*records: object) -> bytes:
    return b"".join((r if isinstance(r, bytes) else json.dumps(r).encode()) + b"\n" for r in records)


def pair(**fields: Any) -> dict[str, Any]:
    return {"source": "The dog.", "target": "El perro."} | fields


TSV = [
    tsv("empty", b"", "/file/row/1", "empty"),
    tsv("blank lines only", b"\n\n", "/file/row/", "empty"),
    tsv("header only", LINES[0], "/file/row/1", "no rows"),
    tsv("without a header", b"".join(LINES[1:]), "/file/row/1/column/source", "'source'"),
    tsv("target misnamed", GOOD.replace(b"target", b"goal", 1), "/file/row/1/column/target", "goal"),
    tsv("column twice", GOOD.replace(b"target", b"source", 1), "/file/row/1/column/source", "2 times"),
    tsv("commas", GOOD.replace(b"\t", b","), "/file/row/1", "','"),
    tsv("row too short", changed(5, b"The dog."), "/file/row/5", "Expected 2 fields, got 1"),
    tsv("row too long", changed(5, b"The\tdog\tel perro"), "/file/row/5", "got 3"),
    tsv("source empty", changed(3, b"\tEl perro."), "/file/row/3/column/source", "empty"),
    tsv("target empty", changed(3, b"The dog.\t"), "/file/row/3/column/target", "empty"),
    tsv("target blank", changed(3, b"The dog.\t  "), "/file/row/3/column/target", "empty"),
    tsv(
        "target of no-break spaces",
        changed(3, "The dog.\t\xa0\u2003".encode()),
        "/file/row/3/column/target",
        "empty",
    ),
    tsv("text too long", changed(4, f"The\t{LONG}".encode()), "/file/row/4/column/target", "at most 100,000"),
    tsv(
        "split unknown",
        table(PAIRS, ["train"] * 10 + ["dev", "test"]),
        "/file/row/12/column/split",
        "'dev'",
    ),
    tsv("Latin-1", changed(6, b"The bird.\tEl p\xe1jaro."), "/file/row/6", "0xE1"),
    tsv("UTF-16", GOOD.decode().encode("utf-16"), "/file/row/1", "UTF-16"),
    tsv("NUL", changed(6, b"The bird.\tEl\0pez."), "/file/row/6", "NUL"),
    tsv("line of 65 MiB", changed(4, b"The dog.\t" + b"a" * (65 << 20)), "/file/row/4", "64 MiB"),
    tsv("field of 2 MiB", changed(4, b"The dog.\t" + b"a" * (2 << 20)), "/file/row/4", "1 MiB"),
    tsv("zip", b"PK\x03\x04" + bytes(40), "/format", "tsv, jsonl"),
    tsv("declared as CSV", GOOD, "/format", "tsv, jsonl", format="csv"),
    tsv("declared as JSON Lines", GOOD, "/file/row/1", "JSON", format="jsonl"),
    tsv("mapping to nothing", GOOD, "/columns/source", "'en'", columns='{"source":"en"}'),
    tsv("mapping of the unknown", GOOD, "/columns/en", "'en'", columns='{"en":"source"}'),
    tsv(
        "mapping twice",
        GOOD,
        "/columns/target",
        "more than one",
        columns='{"source":"source","target":"source"}',
    ),
]
JSONL = [
    jsonl("empty", b"", "/file/row/1", "no rows", format="jsonl"),
    jsonl("not JSON", lines(pair(), b'{"source": "a", '), "/file/row/2", "JSON"),
    jsonl("an array a line", lines(["The dog.", "El perro."]), "/file/row/1", "an array"),
    jsonl("cut off", lines(pair(), pair())[:-10], "/file/row/2", "JSON"),
    jsonl("field twice", lines(b'{"source":"a","target":"b","source":"c"}'), "/file/row/1", "twice"),
    jsonl("Latin-1", lines(pair(), b'{"source":"a","target":"caf\xe9"}'), "/file/row/2", "0xE9"),
    jsonl("source missing", lines(pair(), {"target": "a"}), "/file/row/2/column/source", "missing"),
    jsonl("target missing", lines(pair(), {"source": "a"}), "/file/row/2/column/target", "missing"),
    jsonl("languages for names", lines({"en": "a", "es": "b"}), "/file/row/1/column/source", "no field"),
    jsonl("source null", lines(pair(source=None)), "/file/row/1/column/source", "missing"),
    jsonl("source empty", lines(pair(), pair(source=" \n")), "/file/row/2/column/source", "empty"),
    jsonl("target a number", lines(pair(), pair(target=7)), "/file/row/2/column/target", "'7'"),
    jsonl("target true", lines(pair(target=True)), "/file/row/1/column/target", "'True'"),
    jsonl("target NaN", lines(pair(target=float("nan"))), "/file/row/1/column/target", "'nan'"),
    jsonl("tokens for a text", lines(pair(source=["The", "dog"])), "/file/row/1/column/source", "no text"),
    jsonl("two targets", lines(pair(target={"es": "a"})), "/file/row/1/column/target", "no text"),
    jsonl("half a pair", lines(pair(target="ab\ud83d")), "/file/row/1/column/target", "character 2"),
    jsonl("NUL escaped", lines(pair(source="a\0b")), "/file/row/1/column/source", "NUL"),
    jsonl("split unknown", lines(pair(), pair(split="dev")), "/file/row/2/column/split", "'dev'"),
    jsonl("split a number", lines(pair(split=0)), "/file/row/1/column/split", "'0'"),
    jsonl("mapping to nothing", lines(pair()), "/columns/source", "'en'", columns='{"source":"en"}'),
]
MALFORMED = [*TSV, *JSONL]
