"""The preview of a data set: its first examples as they were understood. What is long in one is cut."""

from collections.abc import Callable
from typing import Literal, NamedTuple, TypedDict

import orjson

from app.arrays import Array
from app.typedefs import Json

PREVIEW_FILE = "preview.json"  # what `encode_preview` returns, beside the stored arrays
MAX_PREVIEW_ROWS = 100
MAX_PREVIEW_BYTES = 4 << 20  # of all rows as JSON
MAX_PREVIEW_CHARS = 1_000  # of a text
MAX_PREVIEW_STEPS = 100  # of a series, a sequence or a sentence
MAX_PREVIEW_NUMBERS = 2_000  # of an example with many columns
MAX_CHAR_BYTES = 4  # of UTF-8

SplitName = Literal["train", "valid", "test"]


class PreviewRow(TypedDict):
    """What every row of a preview has; a task's own type adds its fields."""

    truncated: bool  # whether something in it is shown in part only


class SplitPreviewRow(PreviewRow):
    """A row of a task whose examples belong to one split each, None: the file names none."""

    split: SplitName | None


class PreviewRows(NamedTuple):
    """All examples of a data set as rows of a preview; each is made when it is requested."""

    total: int
    row: Callable[[int], Json]


def encode_preview(rows: PreviewRows) -> bytes:
    """JSON with the number of `examples`, and the first of them as `rows`: the first one, and what fits."""
    encoded: list[bytes] = []
    size = 0
    for index in range(min(rows.total, MAX_PREVIEW_ROWS)):
        row = orjson.dumps(rows.row(index))
        size += len(row)
        if encoded and size > MAX_PREVIEW_BYTES:
            break
        encoded.append(row)
    return b'{"examples":%d,"rows":[%s]}' % (rows.total, b",".join(encoded))


def clip_text(encoded: Array) -> tuple[str, bool]:
    """The beginning of a text in UTF-8 (bytes,), and whether there is more of it."""
    head = encoded[: MAX_CHAR_BYTES * MAX_PREVIEW_CHARS].tobytes()
    text = head.decode(errors="ignore")[:MAX_PREVIEW_CHARS]
    return text, len(text.encode()) < len(encoded)


def shown_steps(total: int, columns: int) -> int:
    """How many of the steps of an example with so many numbers a step are shown."""
    return min(total, MAX_PREVIEW_STEPS, max(1, MAX_PREVIEW_NUMBERS // max(columns, 1)))
