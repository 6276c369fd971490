"""Files for the task `music` that cannot be used, each with the problem to be reported."""

import json
from typing import Any

from tests.app.malformed import Malformed
from tests.support.factories import music

GOOD = music.chorale(1)
PAGE = b"<!doctype html>"
NO_MUSIC = music.archive({"a.txt": b"x"})


def lines(*records: Any) -> str:
    return "".join(record if isinstance(record, str) else json.dumps(record) + "\n" for record in records)


def mus(
    name: str, files: dict[str, bytes], pointer: str, word: str, manifest: str | None = None
) -> Malformed:
    body = music.archive({"a.mid": GOOD} | files, manifest)
    return Malformed(f"music {name}", "pieces.zip", body, {"task": "music"}, pointer, word)


def row(name: str, pointer: str, word: str, *records: Any) -> Malformed:
    """A manifest whose first line is good."""
    return mus(name, {"b.mid": GOOD}, pointer, word, lines({"midi": "a.mid"}, *records))


MALFORMED = [
    mus("web page", {"b.mid": PAGE}, "/file/member/b.mid", "is not MIDI"),
    mus("empty file", {"b.MIDI": b""}, "/file/member/b.MIDI", "is not MIDI"),
    mus("silence", {"b.mid": music.midi([[]])}, "/file/member/b.mid", "no notes"),
    mus("too large", {"b.mid": GOOD + bytes((1 << 25) + 1)}, "/file", "times its size"),
    mus("web page that is named", {"b.mid": PAGE}, "/file/row/2/column/midi", "HTML", lines(
        {"midi": "a.mid"}, {"midi": "b.mid"})),
    mus("manifest of nothing", {}, "/file/member/manifest.jsonl", "no members", "\n"),
    row("file missing", "/file/row/2/column/midi", "no member 'c.mid'", {"midi": "c.mid"}),
    row("path out of the archive", "/file/row/2/column/midi", "no member", {"midi": "../a.mid"}),
    row("address", "/file/row/2/column/midi", "no member", {"midi": "http://127.0.0.1:6379/"}),
    row("name missing", "/file/row/2/column/midi", "no field 'midi'", {"split": "train"}),
    row("name a number", "/file/row/2/column/midi", "'7'", {"midi": 7}),
    row("name empty", "/file/row/2/column/midi", "''", {"midi": ""}),
    row("field unknown", "/file/row/2/column/title", "no such field", {"midi": "b.mid", "title": "x"}),
    row("split unknown", "/file/row/2/column/split", "'dev'", {"midi": "b.mid", "split": "dev"}),
    row("split twice", "/file/row/3/column/split", "another split", {"midi": "b.mid", "split": "test"},
        {"midi": "b.mid", "split": "valid"}),
    row("not JSON", "/file/row/2", "JSON", '{"midi": a.mid}\n'),
    row("name no number", "/file/row/2/column/midi", "no name", '{"midi": NaN}\n'),
    mus("nothing to train on", {}, "/file/column/split", "No piece is for training", lines(
        {"midi": "a.mid", "split": "test"})),
    Malformed("music without files", "a.zip", NO_MUSIC, {"task": "music"}, "/file", ".mid"),
    Malformed("music bare", "a.mid", GOOD, {"task": "music"}, "/file", "zip archive"),
]  # fmt: skip
