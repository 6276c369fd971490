"""Files for the task `tagging` that cannot be used, each with the problem to be reported."""

import json
from typing import Any

from tests.app.malformed import Malformed
from tests.support.factories.tagged import entities, to_conll, to_jsonl

SENTENCES = entities(12)
GOOD = to_jsonl(SENTENCES)
COLUMNS = to_conll(SENTENCES, "\t")
NEXT = COLUMNS.count(b"\n") + 2  # the line after them, where another sentence begins


def conll(name: str, body: bytes, pointer: str, word: str, **fields: str) -> Malformed:
    return Malformed(f"conll {name}", "tags.conll", body, {"task": "tagging", **fields}, pointer, word)


def jsonl(name: str, body: bytes, pointer: str, word: str, **fields: str) -> Malformed:
    return Malformed(f"tags {name}", "tags.jsonl", body, {"task": "tagging", **fields}, pointer, word)


def lines(*records: object) -> bytes:
    return b"".join((r if isinstance(r, bytes) else json.dumps(r).encode()) + b"\n" for r in records)


def tagged(**fields: Any) -> dict[str, Any]:
    return {"tokens": ["Ann", "is", "here"], "tags": ["B-per", "O", "O"]} | fields


def with_tags(*tags: str) -> bytes:
    """The good file with another sentence in line 13."""
    return GOOD + lines({"tokens": [f"w{at}" for at in range(len(tags))], "tags": list(tags)})


def with_columns(*rows: str) -> bytes:
    """The good columns with another sentence, which begins in line `NEXT`."""
    return COLUMNS + b"\n" + "".join(row + "\n" for row in rows).encode()


def at(row: int) -> str:
    return f"/file/row/{row}/column/tags"


CONLL = [
    conll("empty", b"", "/file/row/1", "no sentences"),
    conll("blank lines only", b"\n \n\t\n", "/file/row/1", "no sentences"),
    conll("documents only", b"-DOCSTART- -X- O O\n\n-DOCSTART- -X- O O\n", "/file/row/1", "no sentences"),
    conll("a table", b"sentence,word,tag\n1,Ann,B-per\n", "/file/row/1", "one column"),
    conll("row too short", with_columns("is\tO", "here"), f"/file/row/{NEXT + 1}", "got 1"),
    conll("row too long", with_columns("is\tVBZ\tO"), f"/file/row/{NEXT}", "Expected 2 columns"),
    conll("spaces among tabs", with_columns("is O"), f"/file/row/{NEXT}", "separated by tabs"),
    conll("no comment", b"# Ann is O\n" + COLUMNS, "/file/row/2", "Expected 4 columns"),
    conll("token missing", with_columns("\tO"), f"/file/row/{NEXT}/column/tokens", "empty"),
    conll("tag missing", with_columns("is\tO", "here\t"), at(NEXT + 1), "empty"),
    conll("stray I", with_columns("is\tO", "Ann\tI-per"), at(NEXT + 1), "behind 'O'"),
    conll("I at the beginning", with_columns("Ann\tI-per"), at(NEXT), "beginning of a sentence"),
    conll("no blank lines", b"a\tA\nb\tB\n" * 2_501, "/file/row/1/column/tokens", "blank line"),
    conll("Latin-1", with_columns("is\tO") + b"caf\xe9\tO\n", f"/file/row/{NEXT + 1}", "0xE9"),
    conll("UTF-16", COLUMNS.decode().encode("utf-16"), "/file/row/1", "UTF-16"),
    conll("NUL", with_columns("a\0\tO"), f"/file/row/{NEXT}", "NUL"),
    conll("line of 65 MiB", COLUMNS + b"\n" + b"a" * (65 << 20), f"/file/row/{NEXT}", "64 MiB"),
    conll("token of 2,000 characters", with_columns("a" * 2_000 + "\tO"), "/column/tokens", "at most 1,000"),
    conll("zip", b"PK\x03\x04" + bytes(40), "/format", "jsonl, conll"),
    conll("declared as CSV", COLUMNS, "/format", "jsonl, conll", format="csv"),
    conll("declared as JSON Lines", COLUMNS, "/file/row/1", "JSON", format="jsonl"),
    conll("column named", COLUMNS, "/columns/tags", "no names", columns='{"tags":"ner"}'),
    conll("column too many", COLUMNS, "/columns/tags", "2 columns, not 3", columns='{"tags":"3"}'),
    conll("column of splits", COLUMNS, "/columns/split", "'split'", columns='{"split":"2"}'),
]
JSONL = [
    jsonl("empty", b"", "/file/row/1", "no sentences"),
    jsonl("blank lines only", b"\n\n\n", "/file/row/1", "no sentences"),
    jsonl("not JSON", lines(tagged(), b'{"tokens": ["a"'), "/file/row/2", "JSON"),
    jsonl("an array a line", lines(["Ann", "is"]), "/file/row/1", "an array"),
    jsonl("one array", json.dumps([tagged()]).encode(), "/file/row/1", "an array"),
    jsonl("pretty-printed", json.dumps(tagged(), indent=2).encode(), "/file/row/1", "JSON"),
    jsonl("columns", COLUMNS, "/file/row/1", "JSON"),
    jsonl("field twice", lines(b'{"tokens":["a"],"tags":["O"],"tags":["O"]}'), "/file/row/1", "twice"),
    jsonl("Latin-1", lines(tagged(), b'{"tokens":["caf\xe9"],"tags":["O"]}'), "/file/row/2", "0xE9"),
    jsonl("tokens missing", lines(tagged(), {"tags": ["O"]}), "/file/row/2/column/tokens", "no field"),
    jsonl("tags missing", lines(tagged(), {"tokens": ["a"]}), "/file/row/2/column/tags", "'tokens'"),
    jsonl("nothing in it", lines({}), "/file/row/1/column/tokens", "no field"),
    jsonl("a text for tokens", lines(tagged(tokens="Ann is here")), "/column/tokens", "a list of texts"),
    jsonl("null for tags", lines(tagged(), tagged(tags=None)), "/file/row/2/column/tags", "'None'"),
    jsonl("a tag too few", lines(tagged(), tagged(tags=["O", "O"])), at(2), "tags as tokens, 3, got 2"),
    jsonl("a tag too many", lines(tagged(), tagged(tags=["O"] * 4)), at(2), "tags as tokens, 3, got 4"),
    jsonl("tags for nothing", lines(tagged(tokens=[])), at(1), "tags as tokens, 0, got 3"),
    jsonl("no tokens", lines(tagged(), tagged(tokens=[], tags=[])), "/file/row/2/column/tokens", "no tokens"),
    jsonl(
        "token a number", lines(tagged(tokens=["a", 7, "b"])), "/file/row/1/column/tokens", "Token 2 is '7'"
    ),
    jsonl("token null", lines(tagged(tokens=["a", "b", None])), "/file/row/1/column/tokens", "Token 3"),
    jsonl("token nested", lines(tagged(tokens=[["a"], "b", "c"])), "/file/row/1/column/tokens", "Token 1"),
    jsonl(
        "token empty", lines(tagged(tokens=["a", "", "b"])), "/file/row/1/column/tokens", "Token 2 is empty"
    ),
    jsonl("token blank", lines(tagged(tokens=["a", " \u3000", "b"])), "/column/tokens", "Token 2 is empty"),
    jsonl("token half a pair", lines(tagged(tokens=["a", "\ud83d", "b"])), "/column/tokens", "surrogate"),
    jsonl("token with NUL", lines(tagged(tokens=["a", "\0", "b"])), "/column/tokens", "NUL"),
    jsonl("tag a number", lines(tagged(tags=[3, 0, 0])), at(1), "Tag 1 is '3', which is no text"),
    jsonl("tag true", lines(tagged(tags=["O", True, "O"])), at(1), "Tag 2"),
    jsonl("tag empty", lines(tagged(tags=["O", "O", ""])), at(1), "Tag 3 is empty"),
    jsonl("tag with NUL", lines(tagged(tags=["O", "O", "a\0"])), at(1), "NUL"),
    jsonl("tag too long", lines(tagged(tags=["O", "O", "a" * 101])), at(1), "at most 100"),
    jsonl(
        "a tag for each token",
        lines({"tokens": ["w"] * 4_097, "tags": list(map(str, range(4_097)))}),
        at(1),
        "more than 4,096",
    ),
    jsonl("stray I", with_tags("O", "I-per"), at(13), "token 2 ('w1') is behind 'O'"),
    jsonl("I of another type", with_tags("B-per", "I-loc"), at(13), "behind 'B-per'; 'B-loc' or 'I-loc'"),
    jsonl("I at the beginning", with_tags("I-loc", "O"), at(13), "beginning of a sentence"),
    jsonl("B without a type", with_tags("O", "B-"), at(13), "'B-'"),
    jsonl("I without a type", with_tags("B-per", "I"), at(13), "'I'"),
    jsonl("unknown letter", with_tags("O", "X-per"), at(13), "'X-per'"),
    jsonl("type without a letter", with_tags("O", "per"), at(13), "no tag of entities"),
    jsonl("E among BIO", with_tags("B-per", "E-per"), at(13), "the others are BIO"),
    jsonl(
        "entity not ended",
        GOOD.replace(b"B-", b"S-").replace(b"I-", b"S-")
        + with_tags("B-per", "O")[len(GOOD) :]
        + lines(*[tagged(tokens=["a", "b"], tags=["B-per", "E-per"])] * 3),
        at(13),
        "'E-per' behind it",
    ),
    jsonl("split unknown", lines(tagged(), tagged(split="dev")), "/file/row/2/column/split", "'dev'"),
    jsonl("split a number", lines(tagged(split=1)), "/file/row/1/column/split", "'1'"),
    jsonl(
        "sentence too long",
        lines({"tokens": ["w"] * 5_001, "tags": ["O"] * 5_001}),
        "/column/tokens",
        "5,001 tokens",
    ),
    jsonl("mapping of the unknown", GOOD, "/columns/words", "'words'", columns='{"words":"tokens"}'),
    jsonl("mapping to nothing", GOOD, "/columns/tags", "'ner_tags'", columns='{"tags":"ner_tags"}'),
]
MALFORMED = [*CONLL, *JSONL]
