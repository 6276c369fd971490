"""Large JSON parsed in slices: a parser holds the interpreter's lock, which others get between two slices."""

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import orjson

SLICE_BYTES = 1 << 18  # that are parsed at once: about a millisecond
MAX_JSON_VALUES = 1 << 22  # of one request; more belong into binary tensors or a data set
COMMA = ord(",")

_split_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_split_objects = msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode


def has_too_many_values(text: bytes | memoryview) -> bool:
    """Whether JSON has more commas than values are allowed; others can run while they are counted."""
    return len(text) > MAX_JSON_VALUES and count_commas(text) >= MAX_JSON_VALUES


def count_commas(text: bytes | memoryview) -> int:
    """The commas in a text, those in strings included."""
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == COMMA))


def parse_message(text: bytes | memoryview, objects: str, array: str) -> Any:
    """JSON as `orjson.loads` reads it.

    In a large object the field `objects` is a list of objects, whose fields `array` are parsed in slices.
    Raises `orjson.JSONDecodeError`.
    """
    if len(text) <= SLICE_BYTES:
        return orjson.loads(text)
    try:
        fields = _split_object(text)
        entries = _split_objects(fields.pop(objects))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError):
        return orjson.loads(text)
    message = {name: orjson.loads(bytes(raw)) for name, raw in fields.items()}
    message[objects] = [
        {name: (parse_array if name == array else orjson.loads)(bytes(raw)) for name, raw in entry.items()}
        for entry in entries
    ]
    return message


def parse_array(text: bytes) -> Any:
    """JSON as `orjson.loads` reads it; a long array of numbers, or of arrays of numbers, slice by slice.

    Raises `orjson.JSONDecodeError`.
    """
    depth = _depth(text)
    if len(text) <= SLICE_BYTES or depth is None:
        return orjson.loads(text)
    values = list[Any]()
    for piece in _slices(text, depth):
        try:
            some = orjson.loads(piece)
        except orjson.JSONDecodeError:
            some = None
        if not some:  # no JSON, as where two commas are side by side, or nested more deeply further on
            return orjson.loads(text)
        values += some
    return values


def _depth(text: bytes) -> int | None:
    """How deep the arrays of numbers in a text are nested, 1 or 2; None for all else."""
    if text[:1] != b"[" or b'"' in text or b"{" in text:
        return None
    if text.find(b"[", 1) < 0:
        return 1
    return 2 if text[1:64].lstrip().startswith(b"[") else None


def _slices(text: bytes, depth: int) -> Iterator[bytes]:
    """Arrays of some of the elements each, in order."""
    begin = 1
    while (cut := _cut(text, begin + SLICE_BYTES, depth)) >= 0:
        yield b"[" + text[begin:cut] + b"]"
        begin = cut + 1
    yield b"[" + text[begin:]


def _cut(text: bytes, begin: int, depth: int) -> int:
    """The place of a comma between two elements, at `begin` or later; -1 if there is none."""
    if depth == 2:
        begin = text.find(b"]", begin)
    return -1 if begin < 0 else text.find(b",", begin)
