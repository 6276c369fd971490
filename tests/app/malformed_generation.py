"""Files for the task `generation` that cannot be used, each with the problem to be reported."""

import json
from typing import Any

from tests.app.malformed import Malformed

LINE = "To be, or not to be, that is the question.\n"
TEXT = LINE * 40


def txt(name: str, body: bytes, pointer: str, word: str, **fields: str) -> Malformed:
    return Malformed(f"txt {name}", "play.txt", body, {"task": "generation", **fields}, pointer, word)


def jsonl(name: str, body: bytes, pointer: str, word: str, **fields: str) -> Malformed:
    return Malformed(f"texts {name}", "plays.jsonl", body, {"task": "generation", **fields}, pointer, word)


def lines(*records: object) -> bytes:
    return b"".join((r if isinstance(r, bytes) else json.dumps(r).encode()) + b"\n" for r in records)


def document(**fields: Any) -> dict[str, Any]:
    return {"text": TEXT} | fields


TXT = [
    txt("empty", b"", "/file/row/1", "no text"),
    txt("blank", b"\n \n\t\n" * 500, "/file/row/1", "no text"),
    txt("byte order mark only", b"\xef\xbb\xbf", "/file/row/1", "no text"),
    txt("Latin-1", (LINE * 3).encode() + b"Caf\xe9\n", "/file/row/4", "0xE9"),
    txt("cut off in a character", TEXT.encode() + "é".encode()[:1], "/file/row/41", "0xC3"),
    txt("UTF-16", TEXT.encode("utf-16"), "/file/row/1", "UTF-16"),
    txt("UTF-16 without a mark", TEXT.encode("utf-16-le"), "/file/row/1", "NUL"),
    txt("NUL", LINE.encode() + b"To be\x00\n", "/file/row/2", "NUL"),
    txt("surrogates", LINE.encode() + b"\xed\xa0\x80\n", "/file/row/2", "UTF-8"),
    txt("line of 65 MiB", LINE.encode() + b"a" * (65 << 20), "/file/row/2", "64 MiB"),
    txt("columns of a text", TEXT.encode(), "/columns/text", "no columns", columns='{"text":"body"}'),
    txt("zip", b"PK\x03\x04" + bytes(40), "/format", "txt, jsonl"),
    txt("gzip", b"\x1f\x8b\x08" + bytes(40), "/file", "damaged"),
    txt("declared as CSV", TEXT.encode(), "/format", "txt, jsonl", format="csv"),
    txt("declared as JSON Lines", TEXT.encode(), "/file/row/1", "JSON", format="jsonl"),
]
JSONL = [
    jsonl("empty", b"", "/file/row/1", "no documents"),
    jsonl("blank lines only", b"\n\n\n", "/file/row/1", "no documents"),
    jsonl("not JSON", lines(document(), b'{"text": "b", '), "/file/row/2", "JSON"),
    jsonl("a text a line", lines("To be", "or not"), "/file/row/1", "a text"),
    jsonl("an array", lines([document()]), "/file/row/1", "an array"),
    jsonl("pretty-printed", json.dumps(document(), indent=2).encode(), "/file/row/1", "JSON"),
    jsonl("cut off", lines(document(), document())[:-40], "/file/row/2", "JSON"),
    jsonl("field twice", lines(b'{"text":"a","text":"b"}'), "/file/row/1", "twice"),
    jsonl("Latin-1", lines(document(), b'{"text":"caf\xe9"}'), "/file/row/2", "0xE9"),
    jsonl("NUL byte", lines(document(), b'{"text":"\x00"}'), "/file/row/2", "NUL"),
    jsonl("NUL escaped", lines(document(), document(text="a\0b")), "/file/row/2/column/text", "NUL"),
    jsonl("half a pair", lines(document(text="ab\ud83d")), "/file/row/1/column/text", "surrogate"),
    jsonl("text missing", lines(document(), {"body": TEXT}), "/file/row/2/column/text", "'body'"),
    jsonl("nothing in it", lines({}), "/file/row/1/column/text", "no field"),
    jsonl("number for a text", lines(document(), document(text=7)), "/file/row/2/column/text", "'7'"),
    jsonl("null for a text", lines(document(text=None)), "/file/row/1/column/text", "'None'"),
    jsonl(
        "list for a text", lines(document(text=["To", "be"])), "/file/row/1/column/text", "Expected a text"
    ),
    jsonl("text empty", lines(document(), document(text="")), "/file/row/2/column/text", "empty"),
    jsonl("text blank", lines(document(text=" \n")), "/file/row/1/column/text", "empty"),
    jsonl("split unknown", lines(document(), document(split="dev")), "/file/row/2/column/split", "'dev'"),
    jsonl("split no text", lines(document(split=1)), "/file/row/1/column/split", "'1'"),
    jsonl("split false", lines(document(split=False)), "/file/row/1/column/split", "'False'"),
    jsonl("mapping of the unknown", lines(document()), "/columns/y", "'y'", columns='{"y":"text"}'),
    jsonl("mapping to nothing", lines(document()), "/column/text", "no field", columns='{"text":"body"}'),
]
MALFORMED = [*TXT, *JSONL]
