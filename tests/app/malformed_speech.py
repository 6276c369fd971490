"""Archives for the task `speech` that cannot be used, each with the problem to be reported."""

from typing import Any

from tests.app.malformed import Malformed
from tests.support.factories.recordings import archive, muxed, tone, written

TONE = written(tone(1.0))
FILES = {f"{number}.wav": TONE for number in range(4)}
LINES = [{"audio": name, "text": "ab"} for name in FILES]
AUDIO, TEXT = "/file/row/2/column/audio", "/file/row/2/column/text"


def packed(name: str, body: bytes, pointer: str, word: str) -> Malformed:
    return Malformed(f"recordings {name}", "recordings.zip", body, {"task": "speech"}, pointer, word)


def recording(name: str, content: bytes, word: str) -> Malformed:
    """An archive whose second recording is this."""
    return packed(name, archive(FILES | {"1.wav": content}, LINES), AUDIO, word)


def line(name: str, pointer: str, word: str, **changes: Any) -> Malformed:
    """An archive with changes to the second line of its manifest."""
    return packed(name, archive(FILES, [LINES[0], LINES[1] | changes, *LINES[2:]]), pointer, word)


MALFORMED = [
    packed("without a manifest", archive(FILES, b""), "/file", "names no members"),
    recording("a picture", b"\x89PNG\r\n\x1a\n" + bytes(100), "it is a PNG image"),
    recording("cut", TONE[:30], "is damaged"),
    recording("only pictures", muxed(container="mp4", video=True), "has no audio track"),
    line("of another file", AUDIO, "no member 'b.wav'", audio="b.wav"),
    line("of a number", AUDIO, "which is no name", audio=7),
    line("with a long text", TEXT, "100,000 characters need 199,999 steps", text="a" * 100_000),
    line("with another field", "/file/row/2/column/speaker", "no field 'speaker'", speaker="x"),
    line("with half a character", TEXT, "surrogate", text="\ud800"),
]
