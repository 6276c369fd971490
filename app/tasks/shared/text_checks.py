"""Checks of a text that a user sent: in a file to train on, or in a request."""

from app.tasks.shared.table_cells import shorten
from app.validation.json_text import surrogate_reason

TEXT = "text"  # the field or column of a text
MAX_TEXT_CHARS = 100_000


def text_problem(value: object, max_chars: int = MAX_TEXT_CHARS) -> str | None:
    """What is wrong with a text, as the end of a sentence about it; None if nothing is."""
    if not isinstance(value, str):
        return f"is {shorten(value)}, which is no text."
    if not value.strip():
        return "is empty."
    if len(value) > max_chars:
        return f"has {len(value):,} characters; at most {max_chars:,} are read."
    if "\0" in value:
        return "has a NUL character."
    return surrogate_reason(value)
