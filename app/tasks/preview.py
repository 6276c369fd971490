"""Examples of a data set as they were understood: in brief the first ones, or one as a whole."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypedDict

import orjson

from app.arrays import Array
from app.typedefs import Json

PREVIEW_FILE = "preview.json"  # what `encode_preview` returns, beside the stored arrays
MAX_PREVIEW_ROWS = 100
MAX_PREVIEW_BYTES = 4 << 20  # of all rows as JSON
MAX_CHAR_BYTES = 4  # of UTF-8


@dataclass(frozen=True)
class RowBounds:
    """How much of an example its row shows; what is longer is cut."""

    chars: int  # of a text
    steps: int  # of a series, a sequence or a sentence
    numbers: int  # of an example with many columns
    notes: int  # of a piece of music
    file_bytes: int  # of the file that an example is; 0 for rows without its content


BRIEF = RowBounds(chars=1_000, steps=100, numbers=2_000, notes=0, file_bytes=0)
WHOLE = RowBounds(chars=1 << 20, steps=100_000, numbers=1 << 18, notes=20_000, file_bytes=16 << 20)

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


def clip_text(encoded: Array, bounds: RowBounds) -> tuple[str, bool]:
    """The beginning of a text in UTF-8 (bytes,), and whether there is more of it."""
    head = encoded[: MAX_CHAR_BYTES * bounds.chars].tobytes()
    text = head.decode(errors="ignore")[: bounds.chars]
    return text, len(text.encode()) < len(encoded)


def shown_steps(total: int, columns: int, bounds: RowBounds) -> int:
    """How many of the steps of an example with so many numbers a step are shown."""
    return min(total, bounds.steps, max(1, bounds.numbers // max(columns, 1)))


def file_field(name: str, content: Callable[[], bytes], bounds: RowBounds) -> Json:
    """The field with the content of an example's file, where rows have it: None for one that is too large."""
    if not bounds.file_bytes:
        return {}
    whole = content()
    return {name: whole if len(whole) <= bounds.file_bytes else None}
